//! The durable history: commits as rows beside the data they changed (C16).
//!
//! A row of FlareDB's own stands for each commit that the history keeps: `h | version (8)`, written in the
//! atomic write of the commit itself, so that no crash can part the two. Another one, the mark, holds the
//! version behind which all commits have their rows; it moves in the commits that remove older rows. A store
//! without the mark, or whose latest row is not of its latest commit, was written to by somebody who kept no
//! history: what there is of it is removed then, and it begins anew.

use std::collections::VecDeque;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tracing::info;

use super::History as Keeping;
use super::committer::commit as commit_to;
use super::history;
use super::seal;
use super::time::{from_millis, to_millis};
use crate::{
    Cause, ChangeSet, CommittedBatch, CommittedOp, Durability, Error, ErrorKind, Key, Limits, Previous,
    Record, Result, Snapshot as _, Space, Span, Store, Version,
};

const MARK: &[u8] = b"kept-history";
const PREFIX: u8 = b'h';
const TAG: u8 = 1;
/// Rows removed in one commit of an opening.
const REMOVED_AT_ONCE: usize = 4_096;

/// What an opening finds of the history.
#[derive(Debug)]
pub(super) struct Archive {
    /// All later commits are there.
    pub(super) floor: Version,
    pub(super) commits: VecDeque<CommittedBatch>,
}

impl Archive {
    /// Reads the history back as far as the limits go, and removes what is older; or begins it anew behind the
    /// present view, whose version is `last`. Where it is not kept in the store, nothing may stay there that
    /// could be taken for a whole one later.
    pub(super) fn open(store: &impl Store, keeping: Keeping, limits: &Limits, last: Version) -> Result<Self> {
        let mark = store.get(Space::System, MARK)?;
        let unbroken = match keeping {
            Keeping::Durable => mark.as_ref().map(decode_mark).transpose()?,
            Keeping::Memory => None,
        };
        if let Some(floor) = unbroken
            && newest(store)?.filter(|newest| *newest > floor).unwrap_or(floor) == last
        {
            let archive = Self::read(store, limits, floor)?;
            if archive.floor != floor {
                set_mark(store, Some(archive.floor))?;
            }
            remove(store, Some(archive.floor))?;
            return Ok(archive);
        }
        if mark.is_some() {
            info!("the history of commits that was kept is not whole, and begins anew");
            set_mark(store, None)?;
        }
        remove(store, None)?;
        if keeping == Keeping::Durable {
            set_mark(store, Some(last))?;
        }
        Ok(Self { floor: last, commits: VecDeque::new() })
    }

    fn read(store: &impl Store, limits: &Limits, floor: Version) -> Result<Self> {
        let mut archive = Self { floor, commits: VecDeque::new() };
        let (mut ops, mut bytes) = (0, 0);
        let snapshot = store.snapshot()?;
        for row in snapshot.scan(Space::System, &rows_up_to(None), true)? {
            let row = row?;
            let version = version_of(&row.key)?;
            if version <= floor {
                break;
            }
            let commit = decode(&row.key, &row.value)?;
            ops += commit.ops.len();
            bytes += history::bytes_of(&commit);
            let is_full = ops > limits.max_history_ops || bytes > limits.max_history_bytes;
            if is_full && !archive.commits.is_empty() {
                archive.floor = version;
                break;
            }
            archive.commits.push_front(commit);
        }
        Ok(archive)
    }
}

/// Adds the mark to a commit: all commits later than this version have their rows.
pub(super) fn record_mark(floor: Version, changes: &mut ChangeSet) {
    changes.push(Space::System, Bytes::from_static(MARK), Some(encode_mark(floor)));
}

/// Adds a commit's row to what writes the commit.
pub(super) fn record(commit: &CommittedBatch, changes: &mut ChangeSet) {
    let key = key_of(commit.version);
    let row = encode(&key, commit);
    changes.push(Space::System, key, Some(row));
}

/// Removes a commit's row.
pub(super) fn forget(version: Version, changes: &mut ChangeSet) {
    changes.push(Space::System, key_of(version), None);
}

fn newest(store: &impl Store) -> Result<Option<Version>> {
    let snapshot = store.snapshot()?;
    let newest = snapshot.scan(Space::System, &rows_up_to(None), true)?.next().transpose()?;
    newest.map(|row| version_of(&row.key)).transpose()
}

fn set_mark(store: &impl Store, floor: Option<Version>) -> Result<()> {
    let mut changes = ChangeSet::new();
    changes.push(Space::System, Bytes::from_static(MARK), floor.map(encode_mark));
    commit_to(store, changes, Durability::Volatile).map(drop)
}

/// Removes the rows up to a version, or all.
fn remove(store: &impl Store, last: Option<Version>) -> Result<()> {
    let mut rest = rows_up_to(last);
    loop {
        let mut changes = ChangeSet::new();
        let snapshot = store.snapshot()?;
        for row in snapshot.scan(Space::System, &rest, false)?.take(REMOVED_AT_ONCE) {
            changes.push(Space::System, row?.key, None);
        }
        drop(snapshot);
        let Some(removed) = changes.iter().last() else { return Ok(()) };
        rest.start = [&removed.key[..], &[0]].concat().into();
        let is_over = rest.end.as_ref().is_some_and(|end| *end <= rest.start);
        commit_to(store, changes, Durability::Volatile)?;
        if is_over {
            return Ok(());
        }
    }
}

fn rows_up_to(last: Option<Version>) -> Span {
    let end = match last {
        Some(last) => [&key_of(last)[..], &[0]].concat().into(),
        None => Bytes::from_static(&[PREFIX + 1]),
    };
    Span { start: Bytes::from_static(&[PREFIX]), end: Some(end) }
}

fn key_of(version: Version) -> Bytes {
    let mut key = BytesMut::with_capacity(1 + 8);
    key.put_u8(PREFIX);
    key.put_u64(version.get());
    key.freeze()
}

fn version_of(key: &[u8]) -> Result<Version> {
    let number = key.get(1..).and_then(|rest| <[u8; 8]>::try_from(rest).ok());
    number.and_then(|number| Version::new(u64::from_be_bytes(number))).ok_or_else(corrupt)
}

fn encode_mark(floor: Version) -> Bytes {
    let mut row = seal::row(1 + 8);
    row.put_u8(TAG);
    row.put_u64(floor.get());
    seal::seal(MARK, row)
}

fn decode_mark(row: &Bytes) -> Result<Version> {
    let mut body = opened(MARK, row)?;
    body.u64().and_then(Version::new).filter(|_| body.0.is_empty()).ok_or_else(corrupt)
}

/// What is under an operation's record, and what is under its previous one.
mod kind {
    pub(super) const NONE: u8 = 0;
    pub(super) const PLAIN: u8 = 1;
    pub(super) const EXPIRING: u8 = 2;
    pub(super) const NOT_ASKED: u8 = 3;
    pub(super) const OMITTED: u8 = 4;
}

/// `crc32 (4) | tag (1) | cause (1)`, and for each operation `length (2) | key`, its record and its previous one:
/// `kind (1)`, and of a record `version (8) | expiry in milliseconds, if it has one (8) | length (4) | value`.
/// Integers are big-endian; the checksum covers the row's key too.
fn encode(key: &[u8], commit: &CommittedBatch) -> Bytes {
    let mut row = seal::row(0);
    row.put_u8(TAG);
    row.put_u8(match commit.cause {
        Cause::Write => 0,
        Cause::Expiry => 1,
    });
    for op in &commit.ops {
        row.put_u16(op.key.len() as u16); // a key is no longer than that
        row.put_slice(op.key.as_bytes());
        match &op.record {
            Some(record) => put_record(&mut row, record),
            None => row.put_u8(kind::NONE),
        }
        match &op.previous {
            Previous::NotAsked => row.put_u8(kind::NOT_ASKED),
            Previous::Absent => row.put_u8(kind::NONE),
            Previous::Omitted => row.put_u8(kind::OMITTED),
            Previous::Record(record) => put_record(&mut row, record),
        }
    }
    seal::seal(key, row)
}

fn put_record(row: &mut BytesMut, record: &Record) {
    row.put_u8(if record.expires_at.is_some() { kind::EXPIRING } else { kind::PLAIN });
    row.put_u64(record.version.get());
    if let Some(expires_at) = record.expires_at {
        row.put_u64(to_millis(expires_at));
    }
    row.put_u32(record.value.len() as u32); // a value in a batch is no longer than that
    row.put_slice(&record.value);
}

fn decode(key: &[u8], row: &Bytes) -> Result<CommittedBatch> {
    let version = version_of(key)?;
    let mut body = opened(key, row)?;
    let cause = match body.u8() {
        Some(0) => Cause::Write,
        Some(1) => Cause::Expiry,
        _ => return Err(corrupt()),
    };
    let mut ops = Vec::new();
    while !body.0.is_empty() {
        ops.push(body.op().ok_or_else(corrupt)?);
    }
    Ok(CommittedBatch::new(version, cause, ops))
}

/// What is left of a row to read.
struct Body(Bytes);

impl Body {
    fn op(&mut self) -> Option<CommittedOp> {
        let length = usize::from(self.u16()?);
        let key = Key::new(self.bytes(length)?).ok()?;
        let record = match self.u8()? {
            kind::NONE => None,
            other => Some(self.record(other)?),
        };
        let previous = match self.u8()? {
            kind::NOT_ASKED => Previous::NotAsked,
            kind::NONE => Previous::Absent,
            kind::OMITTED => Previous::Omitted,
            other => Previous::Record(self.record(other)?),
        };
        Some(CommittedOp::new(key, record, previous))
    }

    fn record(&mut self, kind: u8) -> Option<Record> {
        let version = Version::new(self.u64()?)?;
        let expires_at = match kind {
            kind::PLAIN => None,
            kind::EXPIRING => Some(from_millis(self.u64()?)?),
            _ => return None,
        };
        let length = self.0.try_get_u32().ok()?;
        let mut record = Record::new(self.bytes(length as usize)?, version);
        record.expires_at = expires_at;
        Some(record)
    }

    fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.0.try_get_u16().ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    fn bytes(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }
}

fn opened(key: &[u8], row: &Bytes) -> Result<Body> {
    match seal::open(key, row) {
        Some([TAG, ..]) => Ok(Body(row.slice(seal::BYTES + 1..))),
        _ => Err(corrupt()),
    }
}

fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "stored history failed validation")
}
