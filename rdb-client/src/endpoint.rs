use std::fmt;
use std::io;
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::codegen::http::Uri;

/// The port of a node that was not told another.
const DEFAULT_PORT: u16 = 7440;

/// Where a node listens: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As it stands in a URI: an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `host`, `host:port` or `http://host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = |message: &str| {
            Error::new(ErrorKind::InvalidArgument, message).with("endpoint", text.escape_debug())
        };
        let uri: Uri = text.trim().parse().map_err(|_| invalid("endpoint is not host:port"))?;
        match uri.scheme_str() {
            None | Some("http") => {}
            Some("https") => return Err(invalid("endpoint asks for TLS, which is not supported yet")),
            Some(_) => return Err(invalid("endpoint has an unknown scheme; known is http")),
        }
        if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
            return Err(invalid("endpoint has a path"));
        }
        let authority = uri.authority().ok_or_else(|| invalid("endpoint is not host:port"))?;
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => DEFAULT_PORT,
            // A user name before the host, or a port that is no number, lands here too.
            _ => authority.port_u16().ok_or_else(|| invalid("endpoint is not host:port"))?,
        };
        if host.is_empty() || port == 0 || authority.as_str().contains('@') {
            return Err(invalid("endpoint is not host:port"));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The address as a URI, as gRPC's `:authority` wants it.
    pub(crate) fn uri(&self) -> Result<Uri> {
        format!("http://{self}").parse().map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, "endpoint is not host:port")
                .with("endpoint", self)
                .because(error)
        })
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await?;
        // Requests are small and someone waits for each.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Connects to the first endpoint that answers, in order, all within `limit`. One that does not answer
/// takes no more than its share of the time, so that those behind it get their turn.
pub(crate) async fn dial(endpoints: &[Endpoint], limit: Duration) -> io::Result<TcpStream> {
    let started = Instant::now();
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "there is no endpoint");
    for (place, endpoint) in endpoints.iter().enumerate() {
        let left = u32::try_from(endpoints.len() - place).unwrap_or(u32::MAX);
        let share = limit.saturating_sub(started.elapsed()) / left;
        let error = match timeout(share, endpoint.dial()).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        };
        failure = io::Error::new(error.kind(), format!("{endpoint}: {error}"));
    }
    Err(failure)
}

/// Whether the answer to HTTP/2's greeting is HTTP/2's; an error where none comes.
pub(crate) async fn speaks_http2(endpoints: &[Endpoint], limit: Duration) -> io::Result<bool> {
    /// The preface, and settings without any.
    const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    /// Length, type, flags and stream.
    const FRAME_HEAD: usize = 9;
    const TYPE: usize = 3;
    const SETTINGS: u8 = 4;
    let mut stream = dial(endpoints, limit).await?;
    stream.write_all(GREETING).await?;
    let mut head = [0; FRAME_HEAD];
    stream.read_exact(&mut head).await?;
    Ok(head[TYPE] == SETTINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_come_with_scheme_and_port_or_without() {
        for (text, expected) in [
            ("127.0.0.1:7440", "127.0.0.1:7440"),
            ("http://127.0.0.1:7441", "127.0.0.1:7441"),
            ("http://db.example:80/", "db.example:80"),
            (" db.example ", "db.example:7440"),
            ("[::1]:9", "[::1]:9"),
            ("http://[::1]", "[::1]:7440"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            ":7440",
            "a b",
            "host:port",
            "host:",
            "host:0",
            "host:70000",
            "user@host:1",
            "https://host:1",
            "ftp://host:1",
            "http://host:1/path",
            "http://host:1/?q",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[tokio::test]
    async fn the_second_endpoint_is_tried_when_the_first_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoints = [&closed, &listener]
            .map(|listener| Endpoint::parse(&listener.local_addr().unwrap().to_string()).unwrap());
        drop(closed);
        let stream = dial(&endpoints, Duration::from_secs(5)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_failed_dial_names_the_endpoint() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = dial(&[Endpoint::parse(&address).unwrap()], Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().starts_with(&address), "{error}");
    }
}
