use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::handshake;

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream of an HTTP/2 frame.
const HEAD: usize = 9;
const HEAD_TYPE: usize = 3;
const SETTINGS: u8 = 4;

/// The first byte of a TLS alert.
const ALERT: u8 = 0x15;

/// Bytes in both directions, in plain or by TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection whose other side has answered as an HTTP/2 server.
///
/// The answer is awaited before any request can be sent. So what is no node, or refuses our certificate,
/// which by TLS 1.3 comes to light only now, never got a request: it was certainly not applied (C10).
pub(crate) struct Stream {
    io: Box<dyn Io>,
    /// What the server said so far, and how much of it was read.
    head: [u8; HEAD],
    read: usize,
    /// How much of the preface HTTP/2's machinery has still to say, for nothing.
    unsaid: usize,
}

impl Stream {
    /// Greets the server as HTTP/2 does, and waits for its answer.
    pub(crate) async fn greet(mut io: Box<dyn Io>, secure: bool) -> Result<Self> {
        let said = async {
            io.write_all(PREFACE).await?;
            io.flush().await
        };
        let said = said.await;
        let mut head = [0; HEAD];
        let mut filled = 0;
        while filled < HEAD {
            let count = match io.read(&mut head[filled..]).await {
                Ok(count) => count,
                Err(error) => return Err(handshake::failed(&error, "connection broke as it was made")),
            };
            filled += count;
            match (count, head[0]) {
                (1.., 0) => {}
                (1.., ALERT) if !secure => {
                    let message = "server wants TLS: use https://, or say which authorities to trust";
                    return Err(Error::new(ErrorKind::InvalidArgument, message));
                }
                (1.., _) => return Err(no_http2()),
                (0, _) => {
                    let message = match (&said, secure) {
                        (Err(error), _) => {
                            return Err(handshake::failed(error, "connection broke as it was made"));
                        }
                        (Ok(()), true) => "server closed the connection instead of an answer",
                        (Ok(()), false) => {
                            "server closed the connection instead of an answer; perhaps it wants TLS"
                        }
                    };
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
            }
        }
        match head[HEAD_TYPE] {
            SETTINGS => Ok(Self { io, head, read: 0, unsaid: PREFACE.len() }),
            _ => Err(no_http2()),
        }
    }
}

/// Something else than a node.
fn no_http2() -> Error {
    Error::new(ErrorKind::Unsupported, "server does not speak HTTP/2")
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read < HEAD {
            let count = buffer.remaining().min(HEAD - this.read);
            buffer.put_slice(&this.head[this.read..this.read + count]);
            this.read += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let count = this.unsaid.min(bytes.len());
        if count > 0 {
            let place = PREFACE.len() - this.unsaid;
            if bytes[..count] != PREFACE[place..place + count] {
                return Poll::Ready(Err(io::Error::other("a connection did not begin with the preface")));
            }
            this.unsaid -= count;
            return Poll::Ready(Ok(count));
        }
        Pin::new(&mut this.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.unsaid > 0 {
            let first = slices.iter().find(|slice| !slice.is_empty());
            let count = ready!(self.as_mut().poll_write(cx, first.map_or(&[], |slice| slice)));
            return Poll::Ready(count);
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
