//! One keep-alive connection to the daemon.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Outcome;
use crate::wire::{self, Chunks, Framing};

/// Longest wait for an answer. A claim waits for 20 seconds on its own.
const ANSWER: Duration = Duration::from_secs(120);
/// What is read at a time.
const READ_BYTES: usize = 32 * 1024;

/// A connection. One request at a time; any answer but a 2xx is an error.
pub(crate) struct Client {
    stream: TcpStream,
    addr: SocketAddr,
    input: Vec<u8>,
    output: Vec<u8>,
    body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(addr: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (input, output, body) = (Vec::with_capacity(READ_BYTES), Vec::new(), Vec::new());
        Ok(Self { stream, addr, input, output, body })
    }

    /// Asks and returns the status with the answer's text. Only a 2xx is no error.
    pub(crate) async fn post(&mut self, target: &str, body: &str) -> Outcome<(u16, &str)> {
        self.call("POST", target, body).await
    }

    /// Looks at something.
    pub(crate) async fn get(&mut self, target: &str) -> Outcome<&str> {
        Ok(self.call("GET", target, "").await?.1)
    }

    async fn call(&mut self, method: &str, target: &str, body: &str) -> Outcome<(u16, &str)> {
        let status = self.ask(method, target, body).await?;
        let text = std::str::from_utf8(&self.body)?;
        if !(200..300).contains(&status) {
            let start: String = text.chars().take(400).collect();
            return Err(format!("{method} {target} was answered {status}: {start}").into());
        }
        Ok((status, text))
    }

    /// Asks and returns whatever status there is.
    pub(crate) async fn ask(&mut self, method: &str, target: &str, body: &str) -> Outcome<u16> {
        self.begin(method, target);
        write!(
            self.output,
            "content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        self.output.extend_from_slice(body.as_bytes());
        timeout(ANSWER, async {
            self.stream.write_all(&self.output).await?;
            self.answer().await
        })
        .await
        .map_err(|_| format!("{method} {target}: no answer in {} s", ANSWER.as_secs()))?
    }

    /// Posts a body whose length is not known before: `fill` adds the next piece to the buffer and
    /// leaves it empty when there is no more.
    pub(crate) async fn stream(
        &mut self,
        target: &str,
        mut fill: impl FnMut(&mut Vec<u8>),
    ) -> Outcome<(u16, &str)> {
        self.begin("POST", target);
        self.output.extend_from_slice(
            b"content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        let mut piece = Vec::new();
        loop {
            piece.clear();
            fill(&mut piece);
            // An empty piece is the last chunk: it ends the body.
            write!(self.output, "{:x}\r\n", piece.len())?;
            self.output.extend_from_slice(&piece);
            self.output.extend_from_slice(b"\r\n");
            let written = timeout(ANSWER, self.stream.write_all(&self.output)).await;
            let written = written.map_err(|_| "the daemon has stopped reading the stream")?;
            self.output.clear();
            // A peer that refuses in the middle has answered already: its words say more than a
            // broken pipe.
            if piece.is_empty() || written.is_err() {
                break;
            }
        }
        let status =
            timeout(ANSWER, self.answer()).await.map_err(|_| "no answer to a stream")??;
        let text = std::str::from_utf8(&self.body)?;
        match status {
            200..300 => Ok((status, text)),
            _ => Err(format!("POST {target} was answered {status}: {text}").into()),
        }
    }

    fn begin(&mut self, method: &str, target: &str) {
        self.output.clear();
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.addr);
        self.output.extend_from_slice(head.as_bytes());
    }

    /// Reads one answer: its body is then in `self.body`.
    async fn answer(&mut self) -> Outcome<u16> {
        self.body.clear();
        let head = loop {
            if let Some(head) = wire::head(&self.input)? {
                break head;
            }
            self.read().await?;
        };
        let status = wire::status(&self.input)?;
        self.input.drain(..head.bytes);
        match head.framing {
            Framing::Silent => {}
            Framing::Length(length) => {
                while self.input.len() < length {
                    self.read().await?;
                }
                self.body.extend(self.input.drain(..length));
            }
            Framing::Chunked => loop {
                match wire::dechunk(&self.input, &mut self.body)? {
                    Chunks::Whole(taken) => {
                        self.input.drain(..taken);
                        break;
                    }
                    Chunks::More(taken) => {
                        self.input.drain(..taken);
                        self.read().await?;
                    }
                }
            },
        }
        if !self.input.is_empty() {
            return Err("bytes after the end of an answer".into());
        }
        Ok(status)
    }

    async fn read(&mut self) -> Outcome<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err("the daemon hung up".into()),
            _ => Ok(()),
        }
    }
}

/// Runs `work` on that many connections at once and collects what each came to. The first error
/// ends all of them.
pub(crate) async fn each<F, T>(
    addr: SocketAddr,
    connections: usize,
    mut work: impl FnMut(Client) -> F,
) -> Outcome<Vec<T>>
where
    F: Future<Output = Outcome<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut set = JoinSet::new();
    for _ in 0..connections {
        set.spawn(work(Client::connect(addr).await?));
    }
    let mut done = Vec::with_capacity(connections);
    while let Some(one) = set.join_next().await {
        done.push(one??);
    }
    Ok(done)
}
