//! Conversions between wire and vocabulary, by theme.

mod info;
mod read;
mod record;
mod restore;
mod scan;
mod session;
mod watch;
mod write;

pub use scan::{ScanPart, cut_chunk};
pub use session::number;
pub use watch::{CommitPart, WatchAssembly, WatchPart, event_bytes, pack_events};

use rdb_engine_api::{Error, ErrorKind, Version};

/// A field of a request that is not set, or whose `oneof` holds something newer than this server.
fn missing(field: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "field is not set, or is of a kind unknown to this server")
        .with("field", field)
}

/// A field of an answer that makes no sense.
fn malformed(field: &'static str) -> Error {
    Error::new(ErrorKind::Internal, "server sent a malformed answer").with("field", field)
}

/// The same of an answer to a write: it says nothing about whether the write was applied (C10).
fn unknown(error: Error) -> Error {
    Error::new(ErrorKind::Unknown, "cannot tell the outcome of a write").because(error)
}

fn answered_version(number: u64) -> Result<Version, Error> {
    Version::new(number).ok_or_else(|| malformed("version"))
}
