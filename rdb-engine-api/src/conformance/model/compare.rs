//! What a step saw, beside what the model has.

use futures::StreamExt as _;

use super::reference::{Broken, promised};
use super::step::shown;
use crate::{Entry, EntryStream, Error, Key, Record, Result};

/// A promise that was not kept.
pub(super) fn broken(promise: &str, seen: &str) -> Broken {
    Broken { promise: promise.to_owned(), seen: seen.to_owned() }
}

/// A call that had no reason to end in this error.
pub(super) fn failed(what: &str, error: &Error) -> Broken {
    let seen = format!("{}: {}", error.kind(), error.report());
    broken(&format!("{what} has no reason to fail here in this way"), &seen)
}

/// Reads a scan as far as it goes.
pub(super) async fn read(mut stream: EntryStream) -> (Vec<Entry>, Result<()>) {
    let mut entries = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => {
                assert!(!chunk.is_empty(), "a scan's chunks are never empty (C8)");
                entries.extend(chunk);
            }
            Err(error) => return (entries, Err(error)),
        }
    }
    (entries, Ok(()))
}

/// Compares the record under a key.
pub(super) fn same_record(
    found: Option<&Record>,
    expected: Option<&Record>,
    promise: &str,
    key: &Key,
) -> Result<(), Broken> {
    promised(found == expected, promise, || {
        format!("{} under {}, where there is {}", record(found), shown(key.as_bytes()), record(expected))
    })
}

/// Compares what a scan delivered.
pub(super) fn same_entries(found: &[Entry], expected: &[Entry], promise: &str) -> Result<(), Broken> {
    promised(found == expected, promise, || format!("[{}], where there is [{}]", list(found), list(expected)))
}

/// A record in a few words.
pub(super) fn record(record: Option<&Record>) -> String {
    record.map_or_else(
        || "no record".to_owned(),
        |record| format!("{} at version {}", shown(&record.value), record.version),
    )
}

fn list(entries: &[Entry]) -> String {
    let entry = |entry: &Entry| match &entry.record {
        None => shown(entry.key.as_bytes()),
        found => format!("{} = {}", shown(entry.key.as_bytes()), record(found.as_ref())),
    };
    entries.iter().map(entry).collect::<Vec<_>>().join(", ")
}
