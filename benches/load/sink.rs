//! A provider that takes everything: the other end of the deliveries, as cheap as possible.
//!
//! One thread, one runtime. It answers the token and the send call at once or after a fixed time,
//! and remembers which recipients it has seen, so that a run can prove that nobody got it twice.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::Outcome;
use crate::recipients;
use crate::wire::{self, Framing};

const TOKEN: &str = "/cgi-bin/stable_token";
const SEND: &str = "/cgi-bin/message/template/send";
/// Connections that are served at once; a daemon opens about as many as it has requests in flight.
const CONNECTIONS: usize = 2_048;

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Messages taken.
    pub(crate) sends: AtomicU64,
    /// Tokens handed out.
    pub(crate) tokens: AtomicU64,
    /// Messages to a recipient that had one already.
    pub(crate) doubles: AtomicU64,
    /// Calls that are neither, and messages to nobody known.
    pub(crate) strange: AtomicU64,
    /// Connections taken.
    pub(crate) connections: AtomicU64,
    /// One bit for each recipient.
    seen: Mutex<Vec<u64>>,
}

impl Ledger {
    fn note(&self, body: &[u8]) {
        self.sends.fetch_add(1, Ordering::Relaxed);
        let number = recipients::number_in(body);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let word = number.and_then(|number| seen.get_mut(number / 64).zip(Some(number % 64)));
        match word {
            Some((word, bit)) if *word & (1 << bit) == 0 => *word |= 1 << bit,
            Some(_) => drop(self.doubles.fetch_add(1, Ordering::Relaxed)),
            None => drop(self.strange.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Fails unless exactly `count` recipients have had exactly one message each.
    pub(crate) fn verify(&self, count: u64) -> Outcome<()> {
        let sends = self.sends.load(Ordering::Relaxed);
        let doubles = self.doubles.load(Ordering::Relaxed);
        let strange = self.strange.load(Ordering::Relaxed);
        if (sends, doubles, strange) == (count, 0, 0) {
            return Ok(());
        }
        Err(format!("{sends} of {count} messages arrived, {doubles} twice, {strange} odd").into())
    }
}

/// The running sink. Ends when dropped.
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// What came in.
    pub(crate) ledger: Arc<Ledger>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Starts on a free port, for recipients numbered below `recipients`.
    pub(crate) fn start(recipients: usize, latency: Duration) -> Outcome<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let seen = Mutex::new(vec![0; recipients.div_ceil(64)]);
        let ledger = Arc::new(Ledger { seen, ..Ledger::default() });
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = ledger.clone();
        let thread = std::thread::Builder::new().name("sink".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = accept(listener, shared, latency) => {
                        if let Err(error) = ended {
                            eprintln!("load: the sink has failed: {error}");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { addr, ledger, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    ledger: Arc<Ledger>,
    latency: Duration,
) -> Outcome<()> {
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let permit = room.clone().acquire_owned().await?;
        let (stream, _) = listener.accept().await?;
        ledger.connections.fetch_add(1, Ordering::Relaxed);
        let ledger = ledger.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, &ledger, latency).await {
                ledger.strange.fetch_add(1, Ordering::Relaxed);
                eprintln!("load: a connection of the sink has failed: {error}");
            }
            drop(permit);
        });
    }
}

async fn serve(mut stream: TcpStream, ledger: &Ledger, latency: Duration) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(4096);
    let mut output = Vec::with_capacity(512);
    let mut body = Vec::new();
    loop {
        let Some((head, length)) = request(&input)? else {
            let read = stream.read_buf(&mut input).await;
            match read {
                // A client may hang up between requests, and a killed one in the middle of one.
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => continue,
            }
        };
        let text = &input[head.bytes..head.bytes + length];
        output.clear();
        body.clear();
        let status = answer(&input[..head.bytes], text, ledger, &mut body)?;
        write!(output, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n")?;
        write!(output, "content-length: {}\r\n\r\n", body.len())?;
        output.extend_from_slice(&body);
        input.drain(..head.bytes + length);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if stream.write_all(&output).await.is_err() || head.closes {
            return Ok(());
        }
    }
}

/// One request, if all of it is there: its head and the length of its body.
fn request(input: &[u8]) -> Outcome<Option<(wire::Head, usize)>> {
    let Some(head) = wire::head(input)? else { return Ok(None) };
    let length = match head.framing {
        Framing::Length(length) => length,
        Framing::Silent => 0,
        Framing::Chunked => return Err("a chunked request".into()),
    };
    Ok((input.len() >= head.bytes + length).then_some((head, length)))
}

fn answer(head: &[u8], text: &[u8], ledger: &Ledger, body: &mut Vec<u8>) -> Outcome<&'static str> {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path == SEND.as_bytes() {
        ledger.note(text);
        let number = 3_000_000_000 + ledger.sends.load(Ordering::Relaxed);
        write!(body, r#"{{"errcode":0,"errmsg":"ok","msgid":{number}}}"#)?;
        Ok("200 OK")
    } else if path == TOKEN.as_bytes() {
        ledger.tokens.fetch_add(1, Ordering::Relaxed);
        write!(body, r#"{{"access_token":"TOKEN_OF_THE_LOAD_SINK","expires_in":7200}}"#)?;
        Ok("200 OK")
    } else {
        ledger.strange.fetch_add(1, Ordering::Relaxed);
        Ok("404 Not Found")
    }
}
