use bytes::Bytes;
use rdb_engine_api::{Result, Row};
use sled::IVec;

use crate::codec::{KeyPrefix, Sequence, decode_value};

/// Of the versions in a range, those that a view shows: of each key the newest that is not newer than
/// the watermark, unless it is a mark of removal. Ends with the first error.
pub(crate) struct Shown<I> {
    versions: I,
    watermark: Sequence,
    reverse: bool,
    /// The key whose versions are passing by.
    current: Option<KeyPrefix>,
    /// Backward, where newer versions come later: the newest one so far that the view may show.
    best: Option<IVec>,
    ended: bool,
}

impl<I: Iterator<Item = Result<(IVec, IVec)>>> Shown<I> {
    /// Over versions in key order, or against it if `reverse`.
    pub(crate) const fn new(versions: I, watermark: Sequence, reverse: bool) -> Self {
        Self { versions, watermark, reverse, current: None, best: None, ended: false }
    }

    fn next_forward(&mut self) -> Result<Option<Row>> {
        while let Some((row, value)) = self.versions.next().transpose()? {
            if self.current.as_ref().is_some_and(|current| current.covers(&row)) {
                continue; // older than the one that decided
            }
            let (prefix, sequence) = KeyPrefix::of_row(&row)?;
            if sequence > self.watermark {
                continue;
            }
            let shown = to_row(&prefix, &value)?;
            self.current = Some(prefix);
            if shown.is_some() {
                return Ok(shown);
            }
        }
        Ok(None)
    }

    fn next_backward(&mut self) -> Result<Option<Row>> {
        while let Some((row, value)) = self.versions.next().transpose()? {
            let (prefix, sequence) = KeyPrefix::of_row(&row)?;
            let finished = if self.current.as_ref() == Some(&prefix) { None } else { self.finish()? };
            self.current = Some(prefix);
            if sequence <= self.watermark {
                self.best = Some(value);
            }
            if finished.is_some() {
                return Ok(finished);
            }
        }
        self.ended = true;
        self.finish()
    }

    /// The row of the key whose versions have all passed.
    fn finish(&mut self) -> Result<Option<Row>> {
        match (&self.current, self.best.take()) {
            (Some(prefix), Some(value)) => to_row(prefix, &value),
            _ => Ok(None),
        }
    }
}

fn to_row(prefix: &KeyPrefix, value: &[u8]) -> Result<Option<Row>> {
    let Some(value) = decode_value(value)? else { return Ok(None) };
    Ok(Some(Row { key: prefix.key()?, value: Bytes::copy_from_slice(value) }))
}

impl<I: Iterator<Item = Result<(IVec, IVec)>>> Iterator for Shown<I> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = if self.reverse { self.next_backward() } else { self.next_forward() };
        self.ended |= !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}
