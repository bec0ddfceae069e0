//! What a failed handshake means, in words that say what to do.

use std::io;

use rdb_engine_api::{Error, ErrorKind};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::civil::rfc3339;

/// A connection that was never ready for a request: nothing was applied (C10). `otherwise` is said of what
/// has nothing to do with TLS.
pub(crate) fn failed(error: &io::Error, otherwise: &str) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(error) => because_of_tls(error),
        None => unavailable(otherwise).because(error.to_string()),
    }
}

/// Whether a handshake may have failed because the server does not speak TLS: it ended the connection, or, as a
/// node in plain text does, said in TLS's own words that it has no version of it.
pub(crate) fn may_be_plain(error: &io::Error) -> bool {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(error) => matches!(error, TlsError::AlertReceived(AlertDescription::ProtocolVersion)),
        None => matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset),
    }
}

fn because_of_tls(error: &TlsError) -> Error {
    match error {
        TlsError::InvalidCertificate(reason) => bad_certificate(reason),
        TlsError::AlertReceived(alert) => refused(*alert),
        TlsError::InvalidMessage(_) => no_tls(),
        TlsError::NoApplicationProtocol => no_http2(),
        other => unavailable("cannot agree on TLS with the server").because(other.to_string()),
    }
}

fn bad_certificate(reason: &CertificateError) -> Error {
    match reason {
        CertificateError::ExpiredContext { not_after, .. } => {
            expired().with("expired", rfc3339(not_after.as_secs().saturating_mul(1_000)))
        }
        CertificateError::Expired => expired(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            not_yet().with("valid_from", rfc3339(not_before.as_secs().saturating_mul(1_000)))
        }
        CertificateError::NotValidYet => not_yet(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = match presented.is_empty() {
                true => "none".to_owned(),
                false => presented.iter().map(|name| plain_name(name)).collect::<Vec<_>>().join(","),
            };
            unavailable("server's certificate is for other names: dial one of them, or set the server name")
                .with("expected", expected.to_str())
                .with("names", names)
        }
        CertificateError::UnknownIssuer => unavailable(
            "server's certificate comes from an authority that is not trusted here: give the authority's \
             certificate",
        ),
        other => unavailable("server's certificate is not acceptable").because(other.to_string()),
    }
}

/// rustls shows a name as the certificate's own structure has it: `DnsName("localhost")`.
fn plain_name(name: &str) -> &str {
    match (name.split_once('('), name.strip_suffix(')')) {
        (Some((kind, _)), Some(rest)) => rest[kind.len() + 1..].trim_matches('"'),
        _ => name,
    }
}

fn expired() -> Error {
    unavailable("server's certificate has expired: it needs a new one")
}

fn not_yet() -> Error {
    unavailable("server's certificate is not valid yet: check the clocks")
}

fn refused(alert: AlertDescription) -> Error {
    match alert {
        AlertDescription::CertificateRequired => {
            unavailable("server wants a client certificate: give one, with its key")
        }
        AlertDescription::CertificateExpired => {
            unavailable("server refuses the client certificate: it has expired")
        }
        AlertDescription::UnknownCA => {
            unavailable("server refuses the client certificate: it does not trust its authority")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            unavailable("server refuses the client certificate").with("alert", format_args!("{alert:?}"))
        }
        AlertDescription::UnrecognisedName => unavailable("server does not go by that name"),
        AlertDescription::NoApplicationProtocol => no_http2(),
        other => unavailable("server refuses the TLS handshake").with("alert", format_args!("{other:?}")),
    }
}

/// A server in plain text.
pub(crate) fn no_tls() -> Error {
    let message = "server does not speak TLS: use http://, or leave out what asks for TLS";
    Error::new(ErrorKind::InvalidArgument, message)
}

fn no_http2() -> Error {
    Error::new(ErrorKind::Unsupported, "server does not speak HTTP/2 by TLS")
}

fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}
