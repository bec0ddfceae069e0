//! Reading several keys in one view (C8), of which memory holds no more than the limit allows (C14).

use bytes::Bytes;

use super::check_limit;
use super::line::version_cached;
use super::row;
use crate::{Cached, Error, ErrorKind, Key, Record, Result, Snapshot, Space, Store, View};

/// The most keys that are looked up on the caller's thread, where others wait meanwhile: some 50 µs. The way to
/// a blocking thread costs half of that.
pub(super) const MOST_IN_PLACE: usize = 32;
/// The most bytes of rows that are copied there.
const MOST_BYTES_IN_PLACE: usize = 64 << 10;
/// Keys that a snapshot is asked for at once. Their rows are there before they can be counted against the limit,
/// so they are few; RocksDB gains nothing by more.
const AT_ONCE: usize = 8;

/// The records under several keys; none where that cannot be told without waiting for a disk, or is too large
/// to be copied here, or where a commit came between. It takes no snapshot, for which a store may have to wait.
pub(super) fn cached(store: &impl Store, keys: &[Key], limit: usize) -> Result<Option<View<Records>>> {
    let Some(version) = version_cached(store)? else { return Ok(None) };
    let mut reading = Reading::new(keys.len());
    for key in keys {
        let Cached::Hit(row) = store.get_cached(Space::Data, key.as_bytes())? else { return Ok(None) };
        reading.push(key, row)?;
        if reading.bytes > limit.min(MOST_BYTES_IN_PLACE) {
            return Ok(None);
        }
    }
    // Whatever changes a record changes the version with it, and never back (C4): this was one view.
    Ok((version_cached(store)? == Some(version)).then_some(View { version, data: reading.records }))
}

/// The records under several keys.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) where their rows are more bytes than the limit.
pub(super) fn read(snapshot: &impl Snapshot, keys: &[Key], limit: usize) -> Result<Records> {
    let mut reading = Reading::new(keys.len());
    for keys in keys.chunks(AT_ONCE) {
        let rows = snapshot.get_many(Space::Data, keys)?;
        if rows.len() != keys.len() {
            return Err(Error::new(ErrorKind::Internal, "store did not answer with a row for each key")
                .with("keys", keys.len())
                .with("rows", rows.len()));
        }
        for (key, row) in keys.iter().zip(rows) {
            reading.push(key, row)?;
            check_limit("records are too large to be read at once", reading.bytes, limit)?;
        }
    }
    Ok(reading.records)
}

/// A record for each key, in their order, or none where there is none.
pub(super) type Records = Vec<Option<Record>>;

struct Reading {
    records: Records,
    /// Of the rows.
    bytes: usize,
}

impl Reading {
    fn new(keys: usize) -> Self {
        Self { records: Vec::with_capacity(keys), bytes: 0 }
    }

    fn push(&mut self, key: &Key, row: Option<Bytes>) -> Result<()> {
        self.bytes += row.as_ref().map_or(0, Bytes::len);
        self.records.push(row.map(|row| row::decode(key.as_bytes(), row)).transpose()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rows, Span};

    /// Leaves the last key without an answer.
    struct Forgetful;

    impl Snapshot for Forgetful {
        fn get(&self, _space: Space, _key: &[u8]) -> Result<Option<Bytes>> {
            Ok(None)
        }

        fn get_many(&self, _space: Space, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
            Ok(vec![None; keys.len() - 1])
        }

        fn scan(&self, _space: Space, _span: &Span, _reverse: bool) -> Result<Rows<'_>> {
            Ok(Box::new(std::iter::empty()))
        }
    }

    #[test]
    fn a_store_that_leaves_a_key_without_an_answer_is_not_believed() {
        let error = read(&Forgetful, &[Key::new("a").unwrap(), Key::new("b").unwrap()], 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
