use std::fmt;
use std::io;

use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;

use crate::tls::TlsConfig;

/// The port of a node that was not told another.
pub(crate) const DEFAULT_PORT: u16 = 7440;

/// Where a server listens: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As it stands in a URI: an IPv6 address in brackets.
    host: String,
    port: u16,
    /// What the scheme says of TLS; none where there is no scheme.
    secure: Option<bool>,
}

impl Endpoint {
    /// Reads `host`, `host:port`, `http://host:port` or `https://host:port`.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self> {
        let invalid = |message: &str| {
            Error::new(ErrorKind::InvalidArgument, message).with("endpoint", text.escape_debug())
        };
        let uri: Uri = text.trim().parse().map_err(|_| invalid("endpoint is not host:port"))?;
        let secure = match uri.scheme_str() {
            None => None,
            Some("http") => Some(false),
            Some("https") => Some(true),
            Some(_) => return Err(invalid("endpoint has an unknown scheme; known are http and https")),
        };
        if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
            return Err(invalid("endpoint has a path"));
        }
        let authority = uri.authority().ok_or_else(|| invalid("endpoint is not host:port"))?;
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => default_port,
            // A user name before the host, or a port that is no number, lands here too.
            _ => authority.port_u16().ok_or_else(|| invalid("endpoint is not host:port"))?,
        };
        if host.is_empty() || port == 0 || authority.as_str().contains('@') {
            return Err(invalid("endpoint is not host:port"));
        }
        Ok(Self { host: host.to_owned(), port, secure })
    }

    /// The address as a URI, as gRPC's `:scheme` and `:authority` want it.
    pub(crate) fn uri(&self, scheme: &str) -> Result<Uri> {
        format!("{scheme}://{self}").parse().map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, "endpoint is not host:port")
                .with("endpoint", self)
                .because(error)
        })
    }

    /// The name or address alone, without brackets.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it says `https://`.
    pub(crate) fn is_https(&self) -> bool {
        self.secure == Some(true)
    }

    /// Refuses to be reached otherwise than its scheme says: whoever says `https://` is not dialled in plain text.
    pub(crate) fn check_scheme(&self, is_secure: bool) -> Result<()> {
        let message = match (self.secure, is_secure) {
            (Some(true), false) => "node's address says https://, but TLS is not asked for",
            (Some(false), true) => "node's address says http://, which is without TLS, but TLS is asked for",
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidArgument, message).with("endpoint", self))
    }

    pub(crate) async fn dial(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.host(), self.port)).await?;
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

/// Endpoints, separated by commas.
pub(crate) struct Names<'a>(pub(crate) &'a [Endpoint]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, endpoint) in self.0.iter().enumerate() {
            write!(f, "{}{endpoint}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Reads the endpoints of one server, and settles whether they are reached by TLS: they are where TLS is
/// configured or one of them says `https://`. One that says `http://` then contradicts.
pub(crate) fn parse_all(
    texts: &[String],
    default_port: u16,
    tls: Option<TlsConfig>,
) -> Result<(Vec<Endpoint>, Option<TlsConfig>)> {
    let endpoints: Vec<_> =
        texts.iter().map(|text| Endpoint::parse(text, default_port)).collect::<Result<_>>()?;
    let by_scheme = endpoints.iter().any(|endpoint| endpoint.secure == Some(true));
    let tls = tls.or_else(|| by_scheme.then(TlsConfig::default));
    let plain = endpoints.iter().find(|endpoint| endpoint.secure == Some(false));
    match plain {
        Some(plain) if tls.is_some() => {
            let message = "endpoint says http://, which is without TLS, but TLS is asked for";
            Err(Error::new(ErrorKind::InvalidArgument, message).with("endpoint", plain))
        }
        _ => Ok((endpoints, tls)),
    }
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
            ("https://db.example", "db.example:7440"),
            ("[::1]:9", "[::1]:9"),
            ("http://[::1]", "[::1]:7440"),
        ] {
            assert_eq!(Endpoint::parse(text, DEFAULT_PORT).unwrap().to_string(), expected, "{text}");
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
            "ftp://host:1",
            "http://host:1/path",
            "http://host:1/?q",
        ] {
            let error = Endpoint::parse(text, DEFAULT_PORT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn tls_is_used_where_it_is_configured_or_a_scheme_says_so() {
        let tls = || Some(TlsConfig::default());
        for (texts, configured, expected) in [
            (&["a"][..], None, Some(false)),
            (&["http://a", "b"], None, Some(false)),
            (&["a"], tls(), Some(true)),
            (&["https://a"], None, Some(true)),
            (&["b", "https://a"], tls(), Some(true)),
            (&["http://a"], tls(), None),
            (&["http://a", "https://b"], None, None),
        ] {
            let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
            match parse_all(&texts, DEFAULT_PORT, configured) {
                Ok((_, tls)) => assert_eq!(Some(tls.is_some()), expected, "{texts:?}"),
                Err(error) => {
                    assert_eq!((error.kind(), expected), (ErrorKind::InvalidArgument, None), "{texts:?}");
                }
            }
        }
    }
}
