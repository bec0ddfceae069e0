use std::io;
use std::panic::{self, AssertUnwindSafe};

use rdb_engine_api::{Error, ErrorKind, Result};

/// Runs a piece of sled, and turns its errors and panics into ours.
///
/// sled panics where it meets a state that it believes impossible: mostly damaged files. A panic must
/// not take a reader's thread with it, so it ends here, as `panic_kind`.
pub(crate) fn guarded<T>(
    doing: &'static str,
    panic_kind: ErrorKind,
    action: impl FnOnce() -> sled::Result<T>,
) -> Result<T> {
    match panic::catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::new(kind_of(&error), doing).because(error)),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            // A panic's text may quote keys: escaped and cut, as everywhere.
            let text: String = text.escape_debug().take(200).collect();
            Err(Error::new(panic_kind, doing).because(format!("sled panicked: {text}")))
        }
    }
}

/// The kind says what the caller should do about it.
fn kind_of(error: &sled::Error) -> ErrorKind {
    match error {
        sled::Error::Corruption { .. } => ErrorKind::Corrupt,
        // sled says so of parameters on disk that differ from ours, which never change within a format.
        sled::Error::Unsupported(_) => ErrorKind::Corrupt,
        sled::Error::Io(error) => match error.kind() {
            // A file of the store's own is gone or too short.
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                ErrorKind::Corrupt
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
            _ => ErrorKind::Unavailable,
        },
        _ => ErrorKind::Internal,
    }
}

/// Stored bytes that no version of this crate wrote.
pub(crate) fn damaged(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: sled::Error) -> ErrorKind {
        guarded::<()>("cannot do it", ErrorKind::Internal, || Err(error)).unwrap_err().kind()
    }

    #[test]
    fn sled_errors_keep_their_meaning() {
        assert_eq!(failed(sled::Error::Corruption { at: None, bt: () }), ErrorKind::Corrupt);
        assert_eq!(failed(sled::Error::ReportableBug(String::new())), ErrorKind::Internal);
        assert_eq!(failed(sled::Error::Unsupported(String::new())), ErrorKind::Corrupt);
        let io = |kind: io::ErrorKind| failed(sled::Error::Io(kind.into()));
        assert_eq!(io(io::ErrorKind::PermissionDenied), ErrorKind::Unavailable);
        assert_eq!(io(io::ErrorKind::StorageFull), ErrorKind::Exhausted);
        assert_eq!(io(io::ErrorKind::UnexpectedEof), ErrorKind::Corrupt);
    }

    #[test]
    fn panic_becomes_an_error_that_quotes_it() {
        let error =
            guarded::<()>("cannot read", ErrorKind::Internal, || panic!("page {} is gone", 7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.report(), "cannot read: sled panicked: page 7 is gone");
    }
}
