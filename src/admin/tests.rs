//! The port over loopback, with a real mailbox over a store in memory.
#![allow(clippy::unwrap_used)]

mod calls;
mod hostile;
mod limits;
mod streams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{
    AccountAct, Actions, BoxFuture, NoCallbacks, Ports, Readiness, Role, Settings, Status, serve,
};
use crate::api::answers::{AccountDone, Backup};
use crate::engine::refusal::{Code, Refusal};
use crate::engine::{Engine, Identity, Mode};
use crate::kv::memory::MemoryKv;
use crate::kv::{Fault, Write};
use crate::mailbox::{Journal, Mailbox, Writer};
use crate::model::retry::RetryPolicy;
use crate::model::rules::{Rules, TemplateRule, TenantRule};
use crate::store::Store;
use crate::time::{Clock, SystemClock};

struct Forget;

impl Journal for Forget {
    fn append(&mut self, _number: u64, _writes: &[Write]) -> Result<(), Fault> {
        Ok(())
    }
}

struct Daemon(Role);

impl Status for Daemon {
    fn ready(&self) -> Readiness {
        let ready = self.0 == Role::Leader;
        let reasons = if ready { Vec::new() } else { vec!["another process leads".to_owned()] };
        Readiness { ready, role: self.0, reasons, lease: json!({"holder": "here"}) }
    }
}

impl Actions for Daemon {
    fn backup(&self) -> BoxFuture<'_, Result<Backup, Refusal>> {
        Box::pin(async {
            let (image, path) = ("image-7".to_owned(), "images/image-7".to_owned());
            Ok(Backup { image, path, commit: 7, rows: 2, bytes: 90, took_ms: 1 })
        })
    }

    fn release(&self, _: bool) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async { Err(Refusal::new(Code::WrongState, "this daemon is not held")) })
    }

    fn account(
        &self,
        tenant: String,
        _: AccountAct,
    ) -> BoxFuture<'_, Result<AccountDone, Refusal>> {
        Box::pin(async move { Ok(AccountDone::of(&tenant)) })
    }
}

fn rules() -> Rules {
    let template = TemplateRule { id: "T1".into(), ..TemplateRule::default() };
    let tenant = TenantRule {
        concurrency: 1_000,
        rate: 0,
        templates: BTreeMap::from([("new_task".to_owned(), template)]),
        retry: RetryPolicy::tasks(),
        ..TenantRule::default()
    };
    Rules { tenants: BTreeMap::from([("acme".to_owned(), tenant)]), ..Rules::default() }
}

/// A running port.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    writer: Option<Writer>,
}

fn writer() -> Writer {
    let store = Store::new(Arc::new(MemoryKv::new()), 0);
    let identity = Identity { term: 1, worker: "test".into() };

    let engine = Engine::open(store, rules(), identity, Mode::Working, SystemClock.now()).unwrap();
    Writer::start(engine, Forget, Arc::new(SystemClock), Arc::default(), || true).unwrap()
}

async fn start_with(settings: Settings, role: Role, writer: Option<Writer>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mailbox: Option<Mailbox> = writer.as_ref().map(|writer| writer.mailbox.clone());
    let ports = Ports {
        mailbox,
        status: Arc::new(Daemon(role)),
        actions: Arc::new(Daemon(role)),
        callbacks: Arc::new(NoCallbacks),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, ports, settings, async {
        let _ = stopped.await;
    }));
    Running { address, stop, served, writer }
}

async fn start() -> Running {
    start_with(Settings::default(), Role::Leader, Some(writer())).await
}

/// An answer as it came.
#[derive(Debug)]
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or("").to_owned()
    }
}

impl Running {
    /// Sends raw bytes and reads until the port closes the connection.
    async fn raw(&self, bytes: &[u8]) -> Got {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let all = String::from_utf8(all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {all:?}"));
        let status = head[9..12].parse().unwrap();
        let head = head.to_ascii_lowercase();
        let chunked = head.contains("transfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Got { status, head, body }
    }

    async fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Got {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
             {headers}\r\n{body}",
            self.address,
            body.len()
        );
        self.raw(request.as_bytes()).await
    }

    async fn get(&self, target: &str) -> Got {
        self.send("GET", target, "", "").await
    }

    async fn post(&self, target: &str, body: &Json) -> Got {
        self.send("POST", target, "Content-Type: application/json\r\n", &body.to_string()).await
    }

    /// Stops the port; all connections are gone when it returns, and the writer can end.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
        if let Some(writer) = self.writer {
            tokio::task::spawn_blocking(|| writer.stop().unwrap()).await.unwrap();
        }
    }
}

fn unchunk(mut body: &str) -> String {
    let mut all = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        all.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    all
}

fn notice(audience: Json) -> Json {
    json!({
        "tenant": "acme", "template": "new_task", "title": "Job 4711",
        "data": {"thing1": "Boiler check"}, "audience": audience,
        "send_at": "2099-01-01T00:00:00Z",
    })
}
