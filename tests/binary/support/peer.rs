//! Another program that the daemon asks over HTTP: it answers as a test says, one request a connection.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

/// What it was asked.
pub(crate) struct Asked {
    /// Request line and headers.
    pub(crate) head: String,
    /// The body; empty without one.
    pub(crate) body: Vec<u8>,
}

/// What it answers.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
}

/// Serves on a free port for as long as the test's process lives; gives the address, without a path.
pub(crate) fn serve(mut answer: impl FnMut(Asked) -> Answered + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
            });
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).unwrap();
            let Answered { status, kind, body } = answer(Asked { head, body });
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            );
        }
    });
    address
}
