//! Connections that end without cutting off their last answer.
//!
//! A client that is refused early is often still sending. Closing then throws away what it has not
//! read: the system answers its bytes with a reset. So the port first says that nothing more comes,
//! and then goes on reading, and dropping what it reads, for a bounded while.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Most bytes that are read and dropped at the end.
const DROP_BYTES: usize = 16 * 1024 * 1024;
/// How long a client may go on sending.
const DROP_WITHIN: Duration = Duration::from_secs(5);
/// How long it may say nothing meanwhile.
const SILENT: Duration = Duration::from_secs(1);

/// A connection whose shutdown is polite.
pub(super) struct Lingering {
    stream: TcpStream,
    end: Option<End>,
}

/// A shutdown under way.
struct End {
    dropped: usize,
    until: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, end: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let end = this.end.get_or_insert_with(|| End {
            dropped: 0,
            until: Instant::now() + DROP_WITHIN,
            silence: Box::pin(tokio::time::sleep(SILENT)),
        });
        let mut room = [0; 8 * 1024];
        while end.dropped < DROP_BYTES && Instant::now() < end.until {
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    end.dropped += buffer.filled().len();
                    end.silence.as_mut().reset(Instant::now() + SILENT);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return end.silence.as_mut().poll(context).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}
