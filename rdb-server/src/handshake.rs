use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::transport::Transport;

/// The first byte of whoever begins with TLS.
const TLS_HANDSHAKE: u8 = 22;
/// The fatal alerts "unexpected message" and "protocol version", in the form that every TLS client understands.
const UNEXPECTED_MESSAGE: &[u8] = &[21, 3, 3, 0, 2, 2, 10];
const PROTOCOL_VERSION: &[u8] = &[21, 3, 3, 0, 2, 2, 70];
/// What a client may still be sending when it is refused.
const MAX_REST_BYTES: u64 = 64 << 10;
/// How long to wait for a refused client to take notice.
const MAX_REST_TIME: Duration = Duration::from_secs(1);

/// Why a connection did not begin.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It went away, having said nothing of use.
    Left,
    /// It took too long.
    TimedOut,
    /// It spoke plain text to an address that has TLS.
    PlainToTls,
    /// It spoke TLS to an address that has none.
    TlsToPlain,
    /// It and the server came to no agreement.
    Tls(std::io::Error),
    /// It spoke something else than HTTP/2.
    NotHttp2,
}

impl Failure {
    /// The label `reason` of metrics.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::TimedOut => "timeout",
            Self::PlainToTls => "plain_to_tls",
            Self::TlsToPlain => "tls_to_plain",
            Self::Tls(_) => "tls",
            Self::NotHttp2 => "not_http2",
        }
    }

    pub(crate) const REASONS: [&'static str; 6] =
        ["left", "timeout", "plain_to_tls", "tls_to_plain", "tls", "not_http2"];
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => write!(formatter, "client left"),
            Self::TimedOut => write!(formatter, "client took too long"),
            Self::PlainToTls => write!(formatter, "client spoke plain text, and this address has TLS"),
            Self::TlsToPlain => write!(formatter, "client spoke TLS, and this address has none"),
            Self::Tls(error) => write!(formatter, "TLS handshake failed: {error}"),
            Self::NotHttp2 => write!(formatter, "client did not speak HTTP/2"),
        }
    }
}

/// Begins a connection, with TLS where there is a configuration for it.
pub(crate) async fn begin(
    mut stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
) -> Result<Transport, Failure> {
    let mut first = [0];
    if !matches!(stream.peek(&mut first).await, Ok(1)) {
        return Err(Failure::Left);
    }
    let speaks_tls = first == [TLS_HANDSHAKE];
    let Some(config) = tls else {
        if speaks_tls {
            refuse(&mut stream, PROTOCOL_VERSION).await;
            return Err(Failure::TlsToPlain);
        }
        return Ok(Transport::plain(stream));
    };
    if !speaks_tls {
        refuse(&mut stream, UNEXPECTED_MESSAGE).await;
        return Err(Failure::PlainToTls);
    }
    match TlsAcceptor::from(config).accept(stream).into_fallible().await {
        Ok(stream) => Ok(Transport::tls(stream)),
        Err((error, mut stream)) => {
            // The alert is sent already.
            refuse(&mut stream, &[]).await;
            Err(Failure::Tls(error))
        }
    }
}

/// Says a last word and closes. What the client has sent is read first: closed with bytes unread, the
/// connection would be reset, and the word be lost.
async fn refuse(stream: &mut TcpStream, word: &[u8]) {
    let closing = async {
        stream.write_all(word).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_REST_BYTES), &mut tokio::io::sink()).await
    };
    // Whether the client hears it is up to the client.
    let _ = timeout(MAX_REST_TIME, closing).await;
}
