//! A hostile neighbour of the admin port: heavy bodies, many connections, guesses.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::Home;
use crate::binary::support::http::Http;
use crate::binary::support::{PATIENCE, until};

/// Bodies of 8 MiB: legal for the routes that take so much, and far too much for the others.
fn heavy() -> Vec<(&'static str, String)> {
    let fill = |open: &str, item: &str, close: &str| {
        let count = (8 * 1024 * 1024 - open.len() - close.len() - 8) / (item.len() + 1);
        format!("{open}{}{item}{close}", format!("{item},").repeat(count - 1))
    };
    vec![
        ("/v1/notices/1/resend", fill("{\"states\":[", "0", "]}")),
        ("/v1/dead/redrive", fill("{\"tasks\":[", "0", "]}")),
        ("/v1/tasks/settle", fill("{\"items\":[", "0", "]}")),
        ("/v1/tasks/settle", fill("{\"items\":[", "{}", "]}")),
        ("/v1/tasks", fill("[", "0", "]")),
        ("/v1/tasks", fill("[", "{}", "]")),
        ("/v1/tasks", fill("{\"type\":\"a\",\"payload\":[", "{\"\":0}", "]}")),
        ("/v1/notices", fill("{\"data\":[", "{\"\":0}", "]}")),
        ("/v1/notices", format!("{{{}\"x\":0}}", "\"k\":0,".repeat(1_300_000))),
        ("/v1/tasks/claim", format!("{{\"{}\":0}}", "k".repeat(8_000_000))),
    ]
}

fn peak_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn send(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A client that writes first and reads afterwards hears why it was refused.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn heavy_bodies_in_fours_stay_within_the_units_memory() {
    let (http, home) = (Http::new(), Home::new("", ""));
    let daemon = Daemon::start(&home, &http);
    let address = daemon.url.strip_prefix("http://").unwrap().to_owned();
    for (path, body) in heavy() {
        let four: Vec<_> = (0..4)
            .map(|_| {
                let (address, body) = (address.clone(), body.clone());
                std::thread::spawn(move || send(&address, path, &body))
            })
            .collect();
        // Probes are answered meanwhile; the bound is wide, since tests share two cores.
        let began = Instant::now();
        assert_eq!(http.get(&daemon.at("/healthz")).status, 200);
        assert!(began.elapsed() < Duration::from_secs(3), "{path}: {:?}", began.elapsed());
        for one in four {
            let answer = one.join().unwrap();
            let status = answer.get(9..12).unwrap_or("none").to_owned();
            assert!(
                ["400", "413", "422", "503"].contains(&status.as_str()),
                "{path}: {answer:.300}"
            );
            assert!(answer.len() < 64 * 1024, "{path}: an answer of {} bytes", answer.len());
        }
        let peak = peak_kib(&daemon);
        assert!(peak < 1024 * 1024, "{path}: {peak} KiB");
    }
    daemon.stop(PATIENCE);
}

#[test]
fn silent_connections_lock_nobody_out() {
    let http = Http::new();
    let home = Home::with(
        "data_dir = \"data\"\n[admin]\nlisten = \"127.0.0.1:0\"\nmax_connections = 20\n\
         token = \"the-token-of-this-test\"\n[storage]\nmin_free_disk = \"0MiB\"\n\
         allow_network_fs = true\n",
    );
    let daemon = Daemon::start(&home, &http);
    let address = daemon.url.strip_prefix("http://").unwrap().to_owned();
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let fresh = || Http::new();
    until("they are all taken", PATIENCE, || {
        let others = fresh().try_get(&daemon.at("/v1/tasks"))?;
        (others.status == 503 && others.code() == "too_many_connections").then_some(())
    });
    assert_eq!(fresh().get(&daemon.at("/healthz")).status, 200);
    assert_eq!(fresh().get(&daemon.at("/readyz")).status, 200);
    let operator = fresh().get_as("the-token-of-this-test", &daemon.at("/v1/tasks"));
    assert_eq!(operator.status, 200, "{}", operator.text);
    let refused = daemon.metric(&fresh(), "duebox_http_refused_total");
    assert!(refused.is_some_and(|count| count > 0.0), "{refused:?}");
    home.logged("admin.full");
    // Who says nothing goes after some seconds, and then there is room again.
    until("there is room again", PATIENCE, || {
        (fresh().get(&daemon.at("/v1/tasks")).status == 401).then_some(())
    });
    drop(silent);
}

#[test]
fn wrong_tokens_are_told_counted_and_slowed() {
    let http = Http::new();
    let home = Home::with(
        "data_dir = \"data\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         token = \"the-token-of-this-test\"\n[storage]\nmin_free_disk = \"0MiB\"\n\
         allow_network_fs = true\n",
    );
    let daemon = Daemon::start(&home, &http);
    let missing = http.get(&daemon.at("/v1/tasks"));
    assert!(missing.text.contains("send the admin token"), "{}", missing.text);
    let began = Instant::now();
    for guess in 0..14 {
        let wrong = http.get_as(&format!("guess-{guess}"), &daemon.at("/v1/tasks"));
        assert_eq!(wrong.status, 401);
        assert!(wrong.text.contains("not accepted") && !wrong.text.contains("guess"));
    }
    assert!(began.elapsed() > Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!(daemon.metric(&http, "duebox_http_unauthorized_total"), Some(15.0));
    home.logged("auth.refused");
    assert!(!home.log().contains("guess"));
    let right = http.post_as("the-token-of-this-test", &daemon.at("/v1/backup"), &json!({}));
    assert_eq!(right.status, 200);
    home.logged("was answered 200");
}
