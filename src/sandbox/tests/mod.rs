//! The sandbox over loopback, called as the daemon calls it.

#![allow(clippy::unwrap_used)]

mod accounts;
mod control;
mod faults;
mod sends;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{DEFAULT_TEMPLATE, Options, ServeSummary};

const SEND: &str = "/cgi-bin/message/template/send";
const APPIDS: [&str; 2] = ["wx0000000000000001", "wx0000000000000002"];

struct Running {
    base: String,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<ServeSummary>,
}

async fn start(options: Options) -> Running {
    // Another test may have installed it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let served = tokio::spawn(super::serve(listener, options, shutdown));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Running { base, client, stop, served }
}

impl Running {
    async fn get(&self, path: &str) -> Value {
        let sent = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        sent.json().await.unwrap()
    }

    async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<Value> {
        let call = self.client.post(format!("{}{path}", self.base)).json(body);
        call.send().await?.json().await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.try_post(path, &body).await.unwrap()
    }

    async fn stable(&self, account: usize, force: bool) -> String {
        let body = json!({
            "grant_type": "client_credential",
            "appid": APPIDS[account],
            "secret": format!("sandbox-secret-{}", account + 1),
            "force_refresh": force,
        });
        let answer = self.post("/cgi-bin/stable_token", body).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn classic(&self) -> String {
        let path = format!(
            "/cgi-bin/token?grant_type=client_credential&appid={}&secret=sandbox-secret-1",
            APPIDS[0]
        );
        self.get(&path).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn try_send(&self, token: &str, body: &Value) -> reqwest::Result<Value> {
        self.try_post(&format!("{SEND}?access_token={token}"), body).await
    }

    async fn send(&self, token: &str, body: &Value) -> Value {
        self.try_send(token, body).await.unwrap()
    }

    async fn code(&self, token: &str, body: &Value) -> i64 {
        self.send(token, body).await["errcode"].as_i64().unwrap()
    }

    async fn ledger(&self) -> Value {
        self.get("/_sandbox/ledger").await
    }

    async fn advance(&self, ms: u64) {
        self.post("/_sandbox/clock", json!({ "advance_ms": ms })).await;
    }

    async fn stop(self) -> ServeSummary {
        self.stop.send(()).unwrap();
        self.served.await.unwrap()
    }
}

fn message(openid: &str, client_msg_id: &str, thing: &str) -> Value {
    json!({
        "touser": openid,
        "template_id": DEFAULT_TEMPLATE,
        "client_msg_id": client_msg_id,
        "data": { "thing1": { "value": thing }, "time2": { "value": "2026-11-23 09:00" } },
    })
}
