use bytes::{Bytes, BytesMut};
use rdb_engine_api::{Result, Row};
use rocksdb::DBRawIterator;

use crate::error::failed;

/// The most bytes of rows that share a buffer: so much stays in memory with a value that somebody keeps.
pub(crate) const SHARED_BYTES: usize = 64 << 10;
/// How many come with the second row.
const FIRST_SHARED_BYTES: usize = 4 << 10;

/// RocksDB's iterator as one of Rust's: bounded by its options, ended by its first error.
///
/// Rows are copied into buffers that they share: a buffer for each key and each value would cost more than all
/// the rest of a scan. The first row is read alone, and each buffer may be twice as large as the one before, so
/// that a short scan does not read much more than it delivers.
pub(crate) struct Scan<'a> {
    rows: DBRawIterator<'a>,
    reverse: bool,
    position: Position,
    /// The rows that were read and not delivered, one behind the other.
    buffer: Bytes,
    /// The lengths of their keys and values, the last row first.
    lengths: Vec<(usize, usize)>,
    /// How many bytes the next buffer may have, unless one row alone has more; and any.
    share: usize,
    most: usize,
    /// Whether the end was told.
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Before,
    /// At a row that was not read.
    At,
    /// At a row that was read.
    Past,
    Behind,
}

impl<'a> Scan<'a> {
    /// The rows share buffers of up to `most` bytes.
    pub(crate) fn new(rows: DBRawIterator<'a>, reverse: bool, most: usize) -> Self {
        let (position, buffer, lengths) = (Position::Before, Bytes::new(), Vec::new());
        Self { rows, reverse, position, buffer, lengths, share: 0, most, ended: false }
    }

    fn step(&mut self) {
        // First and last are those within the bounds.
        match (self.position, self.reverse) {
            (Position::Before, false) => self.rows.seek_to_first(),
            (Position::Before, true) => self.rows.seek_to_last(),
            (Position::Past, false) => self.rows.next(),
            (Position::Past, true) => self.rows.prev(),
            (Position::At | Position::Behind, _) => return,
        }
        self.position = if self.rows.valid() { Position::At } else { Position::Behind };
    }

    /// Reads as many rows as may share a buffer; none at the end.
    fn fill(&mut self) {
        let mut buffer = BytesMut::new();
        loop {
            self.step();
            let Some((key, value)) = self.rows.item() else { break };
            let length = key.len() + value.len();
            if buffer.is_empty() {
                buffer.reserve(length.max(self.share));
            } else if buffer.len() + length > buffer.capacity() {
                break;
            }
            buffer.extend_from_slice(key);
            buffer.extend_from_slice(value);
            self.lengths.push((key.len(), value.len()));
            self.position = Position::Past;
            if buffer.len() >= self.share {
                break;
            }
        }
        self.lengths.reverse();
        self.buffer = buffer.freeze();
        self.share = (self.share * 2).max(FIRST_SHARED_BYTES).min(self.most);
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        if self.lengths.is_empty() {
            if self.ended {
                return None;
            }
            self.fill();
        }
        if let Some((key, value)) = self.lengths.pop() {
            let key = self.buffer.split_to(key);
            // The last takes the buffer over.
            let value = match self.lengths.is_empty() {
                true => std::mem::take(&mut self.buffer),
                false => self.buffer.split_to(value),
            };
            return Some(Ok(Row { key, value }));
        }
        self.ended = true;
        // An iterator that met an error looks like one at its end until it is asked (C8).
        self.rows.status().err().map(|error| Err(failed("cannot go on with a scan", error)))
    }
}
