//! Speaking to a running daemon's admin port.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde_json::Value;

use super::exit::Exit;
use super::output::{self, Copied, Escape, Failure};
use super::table::{self, Column};
use crate::limits::{CLAIM_BYTES, SECRET_BYTES, WAIT_MAX_MS};
use crate::secret::Secret;

/// The admin port when neither `--server` nor `DUEBOX_SERVER` says.
const SERVER: &str = "http://127.0.0.1:7280";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the daemon may be silent: the longest wait of a claim and then some.
const SILENCE: Duration = Duration::from_millis(WAIT_MAX_MS + 30_000);
/// Largest answer that is taken into memory; the largest the daemon gives is a claim's, and JSON
/// may double it.
const ANSWER: usize = 4 * CLAIM_BYTES;

/// Where the daemon is, and how its answer is shown.
#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// The daemon's admin port [default: $DUEBOX_SERVER or http://127.0.0.1:7280]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    server: Option<String>,
    /// A file with the admin token [default: the token in $DUEBOX_TOKEN, if any]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<PathBuf>,
    /// Print the daemon's answer as JSON
    #[arg(long, global = true, help_heading = "Connection")]
    json: bool,
}

/// A client of one daemon.
pub(super) struct Client {
    server: Url,
    token: Option<Secret>,
    json: bool,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// Query parameters: those without a value are left out.
pub(super) type Query<'a> = &'a [(&'a str, Option<String>)];

impl Connect {
    /// Prepares a client; nothing is sent yet.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let from_environment = std::env::var("DUEBOX_SERVER").ok();
        let server = self.server.clone().or(from_environment).unwrap_or_else(|| SERVER.to_owned());
        let server = parse_server(&server)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if server.scheme() == "http" {
            // Spares the look-up of certificates, and the error of a machine that has none.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        let http = builder.build().map_err(|why| Failure::fault(chain(&why)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| Failure::fault(why.to_string()))?;
        Ok(Client { server, token: self.token()?, json: self.json, http, runtime })
    }

    fn token(&self) -> Result<Option<Secret>, Failure> {
        let Some(path) = &self.token_file else {
            let token = std::env::var("DUEBOX_TOKEN").ok().filter(|token| !token.is_empty());
            return Ok(token.map(Secret::new));
        };
        let mut text = String::new();
        let bound = u64::try_from(SECRET_BYTES).unwrap_or(u64::MAX);
        let read =
            std::fs::File::open(path).and_then(|file| file.take(bound).read_to_string(&mut text));
        read.map_err(|why| Failure::usage(format!("--token-file {}: {why}", path.display())))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(Failure::usage(format!("--token-file {} is empty", path.display())));
        }
        Ok(Some(Secret::new(text)))
    }
}

fn parse_server(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| {
        Failure::usage("the server must be an http:// or https:// address")
            .hint(format!("for example --server {SERVER}"))
    })
}

impl Client {
    /// Reads something.
    pub(super) fn get(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failure> {
        self.ask(self.request(Method::GET, path, query))
    }

    /// Writes something.
    pub(super) fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.ask(self.request(Method::POST, path, &[]).json(body))
    }

    /// Writes something once, however often it is sent under this key.
    pub(super) fn submit(
        &self,
        path: &[&str],
        body: &Value,
        key: Option<&str>,
    ) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path, &[]).json(body);
        self.ask(match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        })
    }

    /// Writes lines of JSON.
    pub(super) fn post_lines(
        &self,
        path: &[&str],
        query: Query<'_>,
        lines: String,
    ) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path, query);
        self.ask(request.header(header::CONTENT_TYPE, "application/x-ndjson").body(lines))
    }

    /// Removes something.
    pub(super) fn delete(&self, path: &[&str]) -> Result<Value, Failure> {
        self.ask(self.request(Method::DELETE, path, &[]))
    }

    /// Reads something whose text matters as it came.
    pub(super) fn get_text(&self, path: &[&str], query: Query<'_>) -> Result<String, Failure> {
        self.ask_text(self.request(Method::GET, path, query))
    }

    /// Writes JSON text as it is, and reads the answer as it came.
    pub(super) fn post_text(
        &self,
        path: &[&str],
        body: String,
        key: Option<&str>,
    ) -> Result<String, Failure> {
        let request = self.request(Method::POST, path, &[]);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        self.ask_text(match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        })
    }

    /// Reads something that also answers, with the same shape, when it says no.
    pub(super) fn look(&self, path: &[&str]) -> Result<(u16, Value), Failure> {
        self.runtime.block_on(async {
            let response = self.send(self.request(Method::GET, path, &[])).await?;
            let status = response.status().as_u16();
            let text = self.text(response).await?;
            Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
        })
    }

    /// Copies a long answer to standard output as it comes, or so that it harms no terminal.
    pub(super) fn copy(
        &self,
        path: &[&str],
        query: Query<'_>,
        accept: &str,
        escape: Escape,
    ) -> Result<(), Failure> {
        let request = self.request(Method::GET, path, query).header(header::ACCEPT, accept);
        self.runtime.block_on(async {
            let mut response = self.send(request).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await);
            }
            let mut out = Copied::new(escape);
            while let Some(chunk) = response.chunk().await.map_err(|why| self.broken(&why))? {
                out.write(&chunk)?;
            }
            Ok(out.end()?)
        })
    }

    /// Shows a list: the answer itself with `--json`, else a table of its rows.
    pub(super) fn show_list(&self, answer: &Value, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return show_json(answer);
        }
        let rows = rows(answer);
        output::print(&table::table(rows, columns))?;
        if let Some(cursor) = answer.get("cursor").and_then(Value::as_str) {
            output::say("hint", &format!("there is more; go on with --cursor {cursor}"));
        }
        Ok(())
    }

    /// Shows one record: the answer itself with `--json`, else its facts.
    pub(super) fn show_one(&self, answer: &Value, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return show_json(answer);
        }
        output::print(&table::facts(answer, columns))
    }

    /// Whether the answer is wanted as it came.
    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    fn request(&self, method: Method, path: &[&str], query: Query<'_>) -> RequestBuilder {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    fn ask(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let text = self.ask_text(request)?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|_| self.stranger())
    }

    fn ask_text(&self, request: RequestBuilder) -> Result<String, Failure> {
        self.runtime.block_on(async {
            let response = self.send(request).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await);
            }
            self.text(response).await
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|why| self.broken(&why))
    }

    async fn text(&self, mut response: Response) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|why| self.broken(&why))? {
            if ANSWER < bytes.len() + chunk.len() {
                return Err(Failure::fault("the answer is too large; ask for less with --limit"));
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| self.stranger())
    }

    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status().as_u16();
        match self.text(response).await {
            Ok(text) => refused(status, &serde_json::from_str(&text).unwrap_or(Value::Null)),
            Err(failure) => failure,
        }
    }

    fn broken(&self, why: &reqwest::Error) -> Failure {
        let place = self.server.origin().ascii_serialization();
        let told = Failure::fault(format!("{place}: {}", chain(why)));
        if why.is_connect() {
            let told = told.ends_with(Exit::Unreachable);
            return told.hint("is the daemon running there? name another with --server");
        }
        told.ends_with(Exit::Unreachable)
            .hint("whether the request was carried out is not known; look before you repeat it")
    }

    pub(super) fn stranger(&self) -> Failure {
        let place = self.server.origin().ascii_serialization();
        Failure::fault(format!("{place} answered something that is not duebox's"))
            .hint("name the admin port with --server")
    }
}

/// Turns `application/problem+json` into lines.
fn refused(status: u16, problem: &Value) -> Failure {
    let part = |name: &str| problem.get(name).and_then(Value::as_str);
    let code = part("code").map_or_else(|| status.to_string(), str::to_owned);
    let detail = part("detail").or(part("title")).unwrap_or("refused without a reason");
    let mut errors = vec![format!("{detail} ({code})")];
    for one in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
        errors.push(format!("{}: {}", text("pointer"), text("detail")));
    }
    let told = Failure::Told { exit: Exit::Fault, errors, hints: Vec::new() };
    match status {
        401 | 403 => told
            .ends_with(Exit::NotAllowed)
            .hint("give the admin token with --token-file or $DUEBOX_TOKEN"),
        503 => told.ends_with(Exit::NotReady),
        _ => told,
    }
}

/// The rows of a list's answer, whatever the list is called.
pub(super) fn rows(answer: &Value) -> &[Value] {
    let list = match answer {
        Value::Array(rows) => Some(rows),
        Value::Object(fields) => fields
            .get("items")
            .and_then(Value::as_array)
            .or_else(|| fields.values().find_map(Value::as_array)),
        _ => None,
    };
    list.map_or(&[], Vec::as_slice)
}

fn show_json(answer: &Value) -> Result<(), Failure> {
    output::print_json(&format!("{answer:#}\n"))
}

/// An error with its causes. The address is left out: it was said before.
fn chain(why: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(why);
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    if why.is_timeout() { "no answer in time".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use serde_json::json;

    use super::*;

    /// A server that answers one request and hands over the request's head.
    fn one_answer(status: &str, body: &str) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            stream.write_all(answer.as_bytes()).unwrap();
            head
        });
        (client(&server), served)
    }

    fn client(server: &str) -> Client {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "canary\n").unwrap();
        let token_file = Some(file.path().to_path_buf());
        let connect = Connect { server: Some(server.to_owned()), token_file, json: false };
        connect.client().unwrap()
    }

    #[test]
    fn paths_queries_and_the_token_are_sent_as_they_should() {
        let (client, served) = one_answer("200 OK", "{\"items\":[]}");
        let query = [("state", Some("a&b".to_owned())), ("cursor", None)];
        let answer = client.get(&["v1", "notices", "7/../8"], &query).unwrap();
        assert_eq!(answer, json!({"items": []}));
        let head = served.join().unwrap();
        assert_eq!(head[0], "GET /v1/notices/7%2F..%2F8?state=a%26b HTTP/1.1");
        assert!(head.iter().any(|line| line == "authorization: Bearer canary"), "{head:?}");
    }

    #[test]
    fn a_refusal_is_told_and_a_stranger_is_recognised() {
        let (client, served) = one_answer("404 Not Found", "{\"detail\":\"no such notice\"}");
        let told = format!("{:?}", client.get(&["v1"], &[]).unwrap_err());
        assert!(told.contains("no such notice (404)"), "{told}");
        served.join().unwrap();

        let (client, served) = one_answer("200 OK", "<html>");
        let told = format!("{:?}", client.get(&["v1"], &[]).unwrap_err());
        assert!(told.contains("not duebox's"), "{told}");
        served.join().unwrap();
    }

    #[test]
    fn a_daemon_that_is_not_there_is_hinted_at() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let told = format!("{:?}", client(&format!("http://{free}")).get(&[], &[]).unwrap_err());
        assert!(told.contains("refused") && told.contains("--server"), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }

    #[test]
    fn a_problem_becomes_lines_with_pointers() {
        let problem = json!({"title": "T", "code": "field_too_long", "detail": "one field",
            "errors": [{"pointer": "/data/thing1", "detail": "21 of 20 characters"}]});
        let Failure::Told { exit, errors, hints } = refused(422, &problem) else { panic!() };
        assert_eq!(exit, Exit::Fault);
        assert_eq!(errors, ["one field (field_too_long)", "/data/thing1: 21 of 20 characters"]);
        assert!(hints.is_empty());
    }

    #[test]
    fn a_missing_token_is_hinted_at_and_a_bare_status_is_told() {
        let Failure::Told { errors, hints, .. } = refused(401, &Value::Null) else { panic!() };
        assert_eq!(errors, ["refused without a reason (401)"]);
        assert!(hints[0].contains("--token-file"));
    }

    #[test]
    fn rows_are_found_under_any_name() {
        for answer in [json!([1]), json!({"items": [1]}), json!({"a": 0, "tasks": [1]})] {
            assert_eq!(rows(&answer), [json!(1)], "{answer}");
        }
        assert!(rows(&json!({"items": []})).is_empty());
    }

    #[test]
    fn only_http_addresses_are_servers() {
        assert!(parse_server("http://127.0.0.1:7280").is_ok());
        for bad in ["127.0.0.1:7280", "unix:/run/x", ""] {
            assert!(parse_server(bad).is_err(), "{bad}");
        }
    }
}
