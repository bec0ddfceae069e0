use rdb_engine_api::{Error, ErrorKind};

/// What RocksDB reported, with RocksDB's own words as the source. For a commit the kind does not matter:
/// whatever failed there is *unknown* (C10).
pub(crate) fn failed(message: &str, error: rocksdb::Error) -> Error {
    Error::new(kind(&error), message).because(error)
}

fn kind(error: &rocksdb::Error) -> ErrorKind {
    use rocksdb::ErrorKind as Rocks;
    match error.kind() {
        Rocks::Corruption => ErrorKind::Corrupt,
        // RocksDB opens by name only what its manifest names: what is not there was lost.
        Rocks::IOError if error.as_ref().contains("No such file or directory") => ErrorKind::Corrupt,
        Rocks::IOError if error.as_ref().starts_with("IO error: No space left on device") => {
            ErrorKind::Exhausted
        }
        Rocks::IOError
        | Rocks::Busy
        | Rocks::TimedOut
        | Rocks::TryAgain
        | Rocks::Expired
        | Rocks::Aborted
        | Rocks::ShutdownInProgress => ErrorKind::Unavailable,
        // Asked for in a way that RocksDB does not take; the callers of this crate cannot cause it.
        Rocks::NotFound
        | Rocks::NotSupported
        | Rocks::InvalidArgument
        | Rocks::MergeInProgress
        | Rocks::Incomplete
        | Rocks::CompactionTooLarge
        | Rocks::ColumnFamilyDropped
        | Rocks::Unknown => ErrorKind::Internal,
    }
}
