use std::collections::HashMap;
use std::error::Error as StdError;

use rdb_engine_api::{Error, ErrorKind, Version};
use tonic::{Code, ConnectError, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of our [`ErrorInfo`](tonic_types::ErrorInfo): only details that carry it are ours.
const DOMAIN: &str = "flaredb";
/// The metadata key under which a caller without our table finds whether anything was applied.
const APPLIED: &str = "applied";
/// The metadata key of the version to go on with, where the error has one.
const VERSION: &str = "version";
/// The longest message sent, in bytes. It travels in a header, and headers have limits of their own.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The table: what each kind is called on the wire, and the gRPC code it travels under. Reading goes by the
/// name alone, since gRPC's own machinery uses the same codes.
const fn row(kind: ErrorKind) -> Option<(&'static str, Code)> {
    Some(match kind {
        ErrorKind::InvalidArgument => ("INVALID_ARGUMENT", Code::InvalidArgument),
        ErrorKind::Unsupported => ("UNSUPPORTED", Code::Unimplemented),
        ErrorKind::Unavailable => ("UNAVAILABLE", Code::Unavailable),
        ErrorKind::Unknown => ("UNKNOWN", Code::Unknown),
        ErrorKind::Exhausted => ("EXHAUSTED", Code::ResourceExhausted),
        ErrorKind::Corrupt => ("CORRUPT", Code::DataLoss),
        ErrorKind::Closed => ("CLOSED", Code::FailedPrecondition),
        ErrorKind::Internal => ("INTERNAL", Code::Internal),
        ErrorKind::Compacted => ("COMPACTED", Code::OutOfRange),
        ErrorKind::Stale => ("STALE", Code::Aborted),
        // A kind newer than this table; a test walks all kinds that there are.
        _ => return None,
    })
}

/// What was asked of the server, which decides what a failure without our details means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A request that changes nothing.
    Read,
    /// A request that may change something.
    Write,
}

/// Turns an error into a gRPC status with typed details. The message is the error's whole chain of causes.
pub fn to_status(error: &Error) -> Status {
    let applied = if error.may_have_been_applied() { "unknown" } else { "no" };
    // What has no name here is nothing that the caller can act upon.
    let (reason, code) = row(error.kind()).unwrap_or(("INTERNAL", Code::Internal));
    let mut metadata = HashMap::from([(APPLIED.to_owned(), applied.to_owned())]);
    if let Some(version) = error.version() {
        metadata.insert(VERSION.to_owned(), version.to_string());
    }
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    let mut message = error.report();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    Status::with_error_details(code, message, details)
}

/// Turns a gRPC status back into an error.
///
/// Our details decide where there are any. Without them, the status was made by gRPC itself or by something
/// in between: a read is then [`Unavailable`](ErrorKind::Unavailable) wherever trying again may help, and a
/// write is [`Unknown`](ErrorKind::Unknown) unless it certainly never reached a service (C10): no
/// connection could be made, or the server does not have the method.
pub fn from_status(status: &Status, call: Call) -> Error {
    let kind = declared_kind(status, call).unwrap_or_else(|| match call {
        Call::Read => undeclared_read(status),
        Call::Write => undeclared_write(status),
    });
    let error = match status.message() {
        "" => Error::new(kind, "request failed").with("code", format_args!("{:?}", status.code())),
        message => Error::new(kind, message),
    };
    let error = match declared_version(status) {
        Some(version) => error.at(version),
        None => error,
    };
    match root_cause(status) {
        Some(cause) => error.because(cause),
        None => error,
    }
}

/// What our details say, where the status has them.
fn declared_kind(status: &Status, call: Call) -> Option<ErrorKind> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    let known = ErrorKind::ALL.into_iter().find(|kind| row(*kind).is_some_and(|row| row.0 == info.reason));
    // A kind of a newer server: no more can be said than whether it was applied.
    let certain = call == Call::Read || info.metadata.get(APPLIED).is_some_and(|applied| applied == "no");
    Some(known.unwrap_or(if certain { ErrorKind::Internal } else { ErrorKind::Unknown }))
}

fn declared_version(status: &Status) -> Option<Version> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    Version::new(info.metadata.get(VERSION)?.parse().ok()?)
}

fn undeclared_read(status: &Status) -> ErrorKind {
    match status.code() {
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::ResourceExhausted => ErrorKind::Exhausted,
        Code::InvalidArgument | Code::OutOfRange | Code::PermissionDenied | Code::Unauthenticated => {
            ErrorKind::InvalidArgument
        }
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::Unknown => {
            ErrorKind::Unavailable
        }
        // HTTP/2 errors come under this code, with their cause attached.
        Code::Internal if status.source().is_some() => ErrorKind::Unavailable,
        Code::Ok
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Internal
        | Code::DataLoss => ErrorKind::Internal,
    }
}

fn undeclared_write(status: &Status) -> ErrorKind {
    if never_connected(status) {
        return ErrorKind::Unavailable;
    }
    // A status that is the whole response, with its content type, is what a server sends that does not have
    // the method. The client's own library uses the code too, for answers that it cannot decompress: the
    // write behind one of those may have been applied.
    if status.code() == Code::Unimplemented && status.metadata().contains_key("content-type") {
        return ErrorKind::Unsupported;
    }
    ErrorKind::Unknown
}

/// Whether the request was never sent, for want of a connection.
fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The text of the innermost cause, where it is not the message already. The causes themselves cannot be
/// moved out of a borrowed status.
fn root_cause(status: &Status) -> Option<String> {
    let mut cause = status.source()?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    (!status.message().contains(&text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tonic::metadata::MetadataMap;

    #[test]
    fn the_table_is_its_own_inverse() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "cannot do it").with("key", "a").at(Version::MIN);
            let status = to_status(&error);
            for call in [Call::Read, Call::Write] {
                let back = from_status(&status, call);
                assert_eq!(back.kind(), kind);
                assert_eq!(back.to_string(), error.to_string());
                assert_eq!(back.version(), error.version());
                assert_eq!(back.may_have_been_applied(), error.may_have_been_applied());
            }
        }
    }

    #[test]
    fn every_kind_has_a_name_and_a_code_of_its_own() {
        let rows: Vec<_> = ErrorKind::ALL.into_iter().map(|kind| row(kind).unwrap()).collect();
        for (place, (reason, code)) in rows.iter().enumerate() {
            assert_eq!(*reason, ErrorKind::ALL[place].name().to_uppercase());
            assert!(rows[..place].iter().all(|(other, its)| other != reason && its != code));
        }
    }

    #[test]
    fn the_details_tell_any_client_whether_it_was_applied() {
        for kind in ErrorKind::ALL {
            let info = to_status(&Error::new(kind, "no")).get_details_error_info().unwrap();
            assert_eq!(info.domain, "flaredb");
            let expected = if kind == ErrorKind::Unknown { "unknown" } else { "no" };
            assert_eq!(info.metadata["applied"], expected);
        }
    }

    #[test]
    fn the_causes_of_an_error_travel_in_its_message() {
        let error = Error::new(ErrorKind::Corrupt, "cannot read record").because("checksum differs");
        let back = from_status(&to_status(&error), Call::Read);
        assert_eq!(back.to_string(), "cannot read record: checksum differs");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = Error::new(ErrorKind::Internal, "ü".repeat(1000)).with("n", 1);
        assert_eq!(to_status(&error).message(), "ü".repeat(512));
        let error = Error::new(ErrorKind::Internal, format!("a{}", "ü".repeat(1000)));
        assert_eq!(to_status(&error).message().len(), 1023);
    }

    #[test]
    fn a_failed_write_without_our_details_is_unknown_whatever_its_code() {
        for code in 0..=16 {
            let status = Status::new(Code::from(code), "broken");
            assert_eq!(from_status(&status, Call::Write).kind(), ErrorKind::Unknown, "code {code}");
        }
    }

    #[test]
    fn strangers_details_are_not_ours() {
        let details = ErrorDetails::with_error_info("UNAVAILABLE", "example.com", HashMap::new());
        let status = Status::with_error_details(Code::Unavailable, "proxy", details);
        assert_eq!(from_status(&status, Call::Write).kind(), ErrorKind::Unknown);
    }

    #[test]
    fn a_kind_of_the_future_keeps_its_word_on_what_was_applied() {
        let status = |applied: &str| {
            let metadata = HashMap::from([("applied".to_owned(), applied.to_owned())]);
            let details = ErrorDetails::with_error_info("MOVED", "flaredb", metadata);
            Status::with_error_details(Code::Aborted, "elsewhere", details)
        };
        assert_eq!(from_status(&status("no"), Call::Write).kind(), ErrorKind::Internal);
        assert_eq!(from_status(&status("unknown"), Call::Write).kind(), ErrorKind::Unknown);
        assert_eq!(from_status(&status("perhaps"), Call::Write).kind(), ErrorKind::Unknown);
        assert_eq!(from_status(&status("unknown"), Call::Read).kind(), ErrorKind::Internal);
    }

    #[test]
    fn a_write_that_found_no_connection_was_not_applied() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(Arc::new(ConnectError(Box::new(refused))));
        assert_eq!(from_status(&status, Call::Write).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_method_that_the_server_does_not_have_was_not_applied() {
        let mut headers = MetadataMap::new();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        let status = Status::with_metadata(Code::Unimplemented, "", headers);
        assert_eq!(from_status(&status, Call::Write).kind(), ErrorKind::Unsupported);
        assert_eq!(from_status(&status, Call::Read).kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_read_cut_off_can_be_tried_again() {
        for code in [Code::Unavailable, Code::Cancelled, Code::DeadlineExceeded, Code::Unknown] {
            let error = from_status(&Status::new(code, "broken"), Call::Read);
            assert!(error.is_retryable());
        }
        let mut status = Status::internal("h2 protocol error");
        assert_eq!(from_status(&status, Call::Read).kind(), ErrorKind::Internal);
        status.set_source(Arc::new(std::io::Error::other("stream reset")));
        assert_eq!(from_status(&status, Call::Read).kind(), ErrorKind::Unavailable);
    }
}
