//! How sessions are stored, in the system's keyspace; integers big-endian.
//!
//! ```text
//! s | id (8)               ->  crc32 (4) | tag (1) | idle_ms (8)
//! o | id (8) | version (8) ->  crc32 (4) | tag (1) | acknowledged (8) | { number (8) | digest (8) | version (8) }
//! ```
//!
//! The version in an outcome row's key is the last of its group. The greatest acknowledged number of all rows of
//! a session is its floor; older rows go only when a newer one is there, so the floor never sinks below what
//! removed rows had.

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::ledger::Done;
use crate::local::seal;
use crate::local::time::whole_millis;
use crate::{Error, ErrorKind, Result, Span, Version};

const SESSION: u8 = b's';
const OUTCOMES: u8 = b'o';
const TAG: u8 = 1;
const HEADER: usize = 1 + 8;
const DONE: usize = 3 * 8;

pub(super) fn session_key(id: NonZeroU64) -> Bytes {
    let mut key = BytesMut::with_capacity(9);
    key.put_u8(SESSION);
    key.put_u64(id.get());
    key.freeze()
}

pub(super) fn outcomes_key(id: NonZeroU64, version: Version) -> Bytes {
    let mut key = BytesMut::with_capacity(17);
    key.put_u8(OUTCOMES);
    key.put_u64(id.get());
    key.put_u64(version.get());
    key.freeze()
}

/// Where the rows of all sessions are, and where those of all outcomes are.
pub(super) fn spans() -> [Span; 2] {
    [SESSION, OUTCOMES].map(|first| Span {
        start: Bytes::copy_from_slice(&[first]),
        end: Some(Bytes::copy_from_slice(&[first + 1])),
    })
}

pub(super) fn encode_session(key: &[u8], idle: Duration) -> Bytes {
    encode(key, whole_millis(idle), &[])
}

pub(super) fn encode_outcomes(key: &[u8], acknowledged: u64, done: &[Done]) -> Bytes {
    encode(key, acknowledged, done)
}

fn encode(key: &[u8], number: u64, done: &[Done]) -> Bytes {
    let mut row = seal::row(HEADER + done.len() * DONE);
    row.put_u8(TAG);
    row.put_u64(number);
    for Done { sequence, digest, version } in done {
        row.put_u64(*sequence);
        row.put_u64(*digest);
        row.put_u64(version.get());
    }
    seal::seal(key, row)
}

/// The session's id and its idle time.
pub(super) fn decode_session(key: &[u8], row: &[u8]) -> Result<(NonZeroU64, Duration)> {
    let id = numbers(key).and_then(|(numbers, _)| NonZeroU64::new(*numbers.first()?));
    match (id, decode(key, row)?) {
        (Some(id), (idle, done)) if key.len() == 9 && done.is_empty() => {
            Ok((id, Duration::from_millis(idle)))
        }
        _ => Err(corrupt(key)),
    }
}

/// An outcome row: the session's id, the version in the key, the floor, and what was committed.
pub(super) fn decode_outcomes(key: &[u8], row: &[u8]) -> Result<(NonZeroU64, Version, u64, Vec<Done>)> {
    let ids = numbers(key).and_then(|(numbers, _)| {
        let [id, version] = numbers[..] else { return None };
        Some((NonZeroU64::new(id)?, Version::new(version)?))
    });
    let (id, version) = ids.ok_or_else(|| corrupt(key))?;
    let (floor, done) = decode(key, row)?;
    match done.is_empty() {
        true => Err(corrupt(key)),
        false => Ok((id, version, floor, done)),
    }
}

fn decode(key: &[u8], row: &[u8]) -> Result<(u64, Vec<Done>)> {
    let parse = || {
        let body = seal::open(key, row).filter(|body| body.first() == Some(&TAG))?;
        let (numbers, rest) = numbers(body)?;
        let (number, done) = numbers.split_first()?;
        if !rest.is_empty() || done.len() % 3 != 0 {
            return None;
        }
        let done = done
            .chunks_exact(3)
            .map(|done| Some(Done { sequence: done[0], digest: done[1], version: Version::new(done[2])? }));
        Some((*number, done.collect::<Option<Vec<_>>>()?))
    };
    parse().ok_or_else(|| corrupt(key))
}

/// The numbers behind the first byte, and the bytes that make none.
fn numbers(bytes: &[u8]) -> Option<(Vec<u64>, &[u8])> {
    let (numbers, rest) = bytes.get(1..)?.as_chunks::<8>();
    Some((numbers.iter().map(|number| u64::from_be_bytes(*number)).collect(), rest))
}

fn corrupt(key: &[u8]) -> Error {
    let shown = &key[..key.len().min(64)];
    Error::new(ErrorKind::Corrupt, "stored session failed validation").with("key", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(sequence: u64) -> Done {
        Done { sequence, digest: 7, version: Version::new(9).unwrap() }
    }

    #[test]
    fn rows_survive() {
        let id = NonZeroU64::new(5).unwrap();
        let key = session_key(id);
        let idle = Duration::from_millis(77);
        assert_eq!(decode_session(&key, &encode_session(&key, idle)).unwrap(), (id, idle));
        let key = outcomes_key(id, Version::new(11).unwrap());
        let row = encode_outcomes(&key, 3, &[done(4), done(6)]);
        let read = decode_outcomes(&key, &row).unwrap();
        assert_eq!(read, (id, Version::new(11).unwrap(), 3, vec![done(4), done(6)]));
    }

    #[test]
    fn every_flipped_bit_every_cut_and_a_foreign_key_are_corrupt() {
        let id = NonZeroU64::new(5).unwrap();
        let key = outcomes_key(id, Version::new(11).unwrap());
        let row = encode_outcomes(&key, 3, &[done(4)]);
        let is_corrupt = |key: &[u8], row: &[u8]| {
            assert_eq!(decode_outcomes(key, row).unwrap_err().kind(), ErrorKind::Corrupt);
            assert_eq!(decode_session(key, row).unwrap_err().kind(), ErrorKind::Corrupt);
        };
        for bit in 0..row.len() * 8 {
            let mut bad = row.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            is_corrupt(&key, &bad);
        }
        for len in 0..row.len() {
            is_corrupt(&key, &row[..len]);
        }
        is_corrupt(&outcomes_key(id, Version::new(12).unwrap()), &row);
    }
}
