//! How rows lie in sled's one tree; described in `docs/adr/0003-sled-versioned-keys.md`.
//!
//! | family | key behind the family's byte | value |
//! |---|---|---|
//! | state | nothing | the sequence number of the last commit |
//! | garbage | commit, chunk | versions which that commit made obsolete |
//! | system, data | escaped key, `00`, inverted sequence number | `00` (removed), or `01` and the bytes |
//!
//! No stored key holds the byte `ff`. sled 0.34 steps backward from a node to its left neighbour by
//! guessing a key just below the node's lower bound, and guesses too low, for ever, where that key
//! begins with the bound's predecessor and four bytes `ff`.

use bytes::Bytes;
use rdb_engine_api::{Error, Result, Space, Span};

use crate::error::damaged;

/// The format on disk (C13). It covers the rows below and sled's own format of the 0.34 series.
pub(crate) const FORMAT: u32 = 1;

/// The number of a commit, internal to this store.
pub(crate) type Sequence = u64;

/// The greatest sequence number: 56 bits, as seven in each of eight bytes. At a million commits a second
/// it is reached after 2,283 years.
pub(crate) const MAX_SEQUENCE: Sequence = (1 << 56) - 1;

const NUMBER_BYTES: usize = 8;

const STATE: u8 = 0x01;
const GARBAGE: u8 = 0x02;
const SYSTEM: u8 = 0x03;
const DATA: u8 = 0x04;

const REMOVED: u8 = 0x00;
const PRESENT: u8 = 0x01;

/// Ends an escaped key. Below every byte that an escaped key holds, so that a key sorts before its
/// extensions.
const TERMINATOR: u8 = 0x00;

/// Where the state row is.
pub(crate) const STATE_KEY: [u8; 1] = [STATE];

/// The state row of a store whose last commit is `sequence`.
pub(crate) fn encode_state(sequence: Sequence) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// The sequence number in a state row.
pub(crate) fn decode_state(value: &[u8]) -> Result<Sequence> {
    let bytes = value.try_into().map_err(|_| damaged("state row has the wrong length"))?;
    match Sequence::from_be_bytes(bytes) {
        sequence if sequence <= MAX_SEQUENCE => Ok(sequence),
        _ => Err(damaged("state row holds an impossible sequence number")),
    }
}

const fn family(space: Space) -> u8 {
    match space {
        Space::System => SYSTEM,
        Space::Data => DATA,
    }
}

/// Appends `key` so that bytewise order stays, and `00` and `ff` are free.
fn escape(key: &[u8], out: &mut Vec<u8>) {
    for &byte in key {
        match byte {
            0x00 => out.extend([0x01, 0x01]),
            0x01 => out.extend([0x01, 0x02]),
            0xfe => out.extend([0xfe, 0x01]),
            0xff => out.extend([0xfe, 0x02]),
            _ => out.push(byte),
        }
    }
}

fn unescape(escaped: &[u8]) -> Option<Bytes> {
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        key.push(match byte {
            0x01 => bytes.next()?.checked_sub(1).filter(|plain| *plain <= 0x01)?,
            0xfe => bytes.next()?.checked_sub(1).filter(|low| *low <= 0x01)? + 0xfe,
            0x00 | 0xff => return None,
            _ => byte,
        });
    }
    Some(Bytes::from(key))
}

/// Seven bits a byte, most significant first: keeps the order of the numbers, and never holds `ff`.
fn push_number(number: u64, out: &mut Vec<u8>) {
    out.extend((0..NUMBER_BYTES).rev().map(|place| (number >> (7 * place)) as u8 & 0x7f));
}

fn read_number(bytes: &[u8]) -> Option<u64> {
    let fits = bytes.len() == NUMBER_BYTES && bytes.iter().all(|byte| *byte <= 0x7f);
    fits.then(|| bytes.iter().fold(0, |number, byte| number << 7 | u64::from(*byte)))
}

/// What all versions of one key have in common: everything before the sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPrefix(Vec<u8>);

impl KeyPrefix {
    pub(crate) fn new(space: Space, key: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + key.len() / 8 + 2 + NUMBER_BYTES);
        bytes.push(family(space));
        escape(key, &mut bytes);
        bytes.push(TERMINATOR);
        Self(bytes)
    }

    /// The row of one version. Newer versions sort first.
    pub(crate) fn row(&self, sequence: Sequence) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.0.len() + NUMBER_BYTES);
        row.extend_from_slice(&self.0);
        push_number(MAX_SEQUENCE - sequence, &mut row);
        row
    }

    /// Behind the last version.
    pub(crate) fn end(&self) -> Vec<u8> {
        let mut end = self.0.clone();
        if let Some(terminator) = end.last_mut() {
            *terminator += 1;
        }
        end
    }

    /// The key itself.
    pub(crate) fn key(&self) -> Result<Bytes> {
        match &self.0[..] {
            [SYSTEM | DATA, escaped @ .., TERMINATOR] => unescape(escaped),
            _ => None,
        }
        .ok_or_else(misplaced)
    }

    /// Whether a row is a version of this key.
    pub(crate) fn covers(&self, row: &[u8]) -> bool {
        row.len() == self.0.len() + NUMBER_BYTES && row.starts_with(&self.0)
    }

    /// Takes a row's key apart.
    pub(crate) fn of_row(row: &[u8]) -> Result<(Self, Sequence)> {
        let sequence = sequence_of_row(row)?;
        Ok((Self(row[..row.len() - NUMBER_BYTES].to_vec()), sequence))
    }
}

/// The sequence number of a row.
pub(crate) fn sequence_of_row(row: &[u8]) -> Result<Sequence> {
    let split = row.len().checked_sub(NUMBER_BYTES).ok_or_else(misplaced)?;
    Ok(MAX_SEQUENCE - read_number(&row[split..]).ok_or_else(misplaced)?)
}

fn misplaced() -> Error {
    damaged("row has a key of no known form")
}

/// Where the rows of a span begin, and behind the last one.
pub(crate) fn span_bounds(space: Space, span: &Span) -> (Vec<u8>, Vec<u8>) {
    let mut start = vec![family(space)];
    escape(&span.start, &mut start);
    let end = match &span.end {
        None => vec![family(space) + 1],
        Some(key) => {
            let mut end = vec![family(space)];
            escape(key, &mut end);
            end
        }
    };
    (start, end)
}

/// The value of a row: bytes, or the mark that the key was removed.
pub(crate) fn encode_value(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        None => vec![REMOVED],
        Some(bytes) => {
            let mut row = Vec::with_capacity(1 + bytes.len());
            row.push(PRESENT);
            row.extend_from_slice(bytes);
            row
        }
    }
}

/// What [`encode_value`] was given.
pub(crate) fn decode_value(row: &[u8]) -> Result<Option<&[u8]>> {
    match row {
        [REMOVED] => Ok(None),
        [PRESENT, bytes @ ..] => Ok(Some(bytes)),
        _ => Err(damaged("row has a value of no known form")),
    }
}

/// A row of the garbage queue: some of what a commit made obsolete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GarbageId {
    /// The commit.
    pub(crate) commit: Sequence,
    /// Tells the rows of one commit apart.
    pub(crate) chunk: u64,
}

impl GarbageId {
    pub(crate) fn row(self) -> Vec<u8> {
        let mut row = vec![GARBAGE];
        push_number(self.commit, &mut row);
        push_number(self.chunk, &mut row);
        row
    }

    pub(crate) fn of_row(row: &[u8]) -> Result<Self> {
        let numbers = row.strip_prefix(&[GARBAGE]).and_then(|numbers| numbers.split_at_checked(NUMBER_BYTES));
        let ids = numbers.and_then(|(commit, chunk)| Some((read_number(commit)?, read_number(chunk)?)));
        ids.map(|(commit, chunk)| Self { commit, chunk }).ok_or_else(misplaced)
    }
}

/// A garbage row's value: the rows of versions which its commit made obsolete. Views older than that
/// commit may show them, and no others.
pub(crate) fn encode_garbage(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut value = Vec::with_capacity(rows.iter().map(|row| row.len() + 4).sum());
    for row in rows {
        value.extend((row.len() as u32).to_be_bytes());
        value.extend_from_slice(row);
    }
    value
}

/// What [`encode_garbage`] was given.
pub(crate) fn decode_garbage(mut value: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut rows = Vec::new();
    while !value.is_empty() {
        let (row, rest) = split_row(value).ok_or_else(|| damaged("garbage row has no known form"))?;
        rows.push(row.to_vec());
        value = rest;
    }
    Ok(rows)
}

fn split_row(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk()?;
    let (row, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    matches!(row.first(), Some(&(SYSTEM | DATA))).then_some((row, rest))
}

#[cfg(test)]
mod tests;
