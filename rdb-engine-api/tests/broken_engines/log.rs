use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdb_engine_api::{Error, ErrorKind, Key, Record, Result, Version};

use super::disk::{Damage, Disk};

/// What an entry of the log says: what a commit does, in key order, or what became of sessions, or both.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    /// The greatest number of the line that is given.
    pub(crate) version: Version,
    /// The engine's time, in milliseconds.
    pub(crate) time: u64,
    pub(crate) ops: Vec<(Key, Option<Record>)>,
    /// Records with versions of their own, of which only a restore has some.
    pub(crate) restored: Vec<(Key, Record)>,
    pub(crate) notes: Vec<Note>,
}

/// What became of a session.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    Opened { session: u64, idle_ms: u64 },
    Ended { session: u64 },
    Committed { session: u64, sequence: u64, acknowledged: u64, version: Version, identity: Bytes },
}

/// How an operation begins, behind its key.
const DELETE: u8 = 0;
const PUT: u8 = 1;
const RESTORED: u8 = 2;
/// How a note begins, behind an empty key.
const OPENED: u8 = 3;
const ENDED: u8 = 4;
const COMMITTED: u8 = 5;

/// The bytes before a commit's own: their number, the checksum of that number, and theirs.
const HEADER: usize = 12;

/// A commit as the log holds it.
pub(crate) fn frame(changes: &Changes) -> Vec<u8> {
    let mut body = Vec::new();
    put_numbers(&mut body, &[changes.version.get(), changes.time]);
    for (key, record) in &changes.ops {
        put_bytes(&mut body, key.as_bytes());
        match record {
            Some(record) => put_record(&mut body, PUT, record),
            None => body.push(DELETE),
        }
    }
    for (key, record) in &changes.restored {
        put_bytes(&mut body, key.as_bytes());
        put_record(&mut body, RESTORED, record);
    }
    for note in &changes.notes {
        put_bytes(&mut body, &[]);
        match note {
            Note::Opened { session, idle_ms } => {
                body.push(OPENED);
                put_numbers(&mut body, &[*session, *idle_ms]);
            }
            Note::Ended { session } => {
                body.push(ENDED);
                put_numbers(&mut body, &[*session]);
            }
            Note::Committed { session, sequence, acknowledged, version, identity } => {
                body.push(COMMITTED);
                put_numbers(&mut body, &[*session, *sequence, *acknowledged, version.get()]);
                put_bytes(&mut body, identity);
            }
        }
    }
    let length = (body.len() as u32).to_be_bytes();
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend(length);
    frame.extend(crc32fast::hash(&length).to_be_bytes());
    frame.extend(crc32fast::hash(&body).to_be_bytes());
    frame.extend(body);
    frame
}

fn put_numbers(body: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        body.extend(number.to_be_bytes());
    }
}

fn put_record(body: &mut Vec<u8>, kind: u8, record: &Record) {
    body.push(kind);
    put_numbers(body, &[record.version.get(), record.expires_at.map_or(0, millis)]);
    put_bytes(body, &record.value);
}

/// The milliseconds of an instant.
pub(crate) fn millis(instant: SystemTime) -> u64 {
    let since = instant.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend((bytes.len() as u32).to_be_bytes());
    body.extend(bytes);
}

/// Reads a log: its commits, and how many of its bytes are whole. The end of one that a crash cut short
/// was answered to nobody; anything else that is not as it was written is damage.
pub(crate) fn read(log: &[u8], disk: &impl Disk) -> Result<(Vec<Changes>, usize)> {
    let mut commits = Vec::new();
    let mut whole = 0;
    while let Some((header, rest)) = log[whole..].split_first_chunk::<HEADER>() {
        let [length, length_sum, body_sum] = [0, 4, 8].map(|at| number(&header[at..]));
        if crc32fast::hash(&length.to_be_bytes()) != length_sum {
            return Err(Error::new(ErrorKind::Corrupt, "log does not match its checksum"));
        }
        let Some(body) = rest.get(..length as usize) else {
            commits.extend(disk.salvage(rest, length as usize).and_then(|body| changes(&body)));
            break;
        };
        let intact = crc32fast::hash(body) == body_sum;
        if intact || matches!(disk.judge_damage()?, Damage::Believed) {
            let changes = changes(body);
            commits.push(changes.ok_or_else(|| Error::new(ErrorKind::Corrupt, "log cannot be read"))?);
        }
        whole += HEADER + body.len();
    }
    Ok((commits, whole))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |number| u32::from_be_bytes(*number))
}

fn changes(body: &[u8]) -> Option<Changes> {
    let mut rest = body;
    let [version, time] = take_numbers(&mut rest)?;
    let version = Version::new(version)?;
    let mut changes = Changes { version, time, ops: Vec::new(), restored: Vec::new(), notes: Vec::new() };
    while !rest.is_empty() {
        let key = take_bytes(&mut rest)?;
        let (kind, after) = rest.split_first()?;
        rest = after;
        match *kind {
            DELETE => changes.ops.push((Key::new(key).ok()?, None)),
            PUT => changes.ops.push((Key::new(key).ok()?, Some(take_record(&mut rest)?))),
            RESTORED => changes.restored.push((Key::new(key).ok()?, take_record(&mut rest)?)),
            kind => changes.notes.push(take_note(kind, &mut rest)?),
        }
    }
    Some(changes)
}

fn take_note(kind: u8, rest: &mut &[u8]) -> Option<Note> {
    Some(match kind {
        OPENED => {
            let [session, idle_ms] = take_numbers(rest)?;
            Note::Opened { session, idle_ms }
        }
        ENDED => {
            let [session] = take_numbers(rest)?;
            Note::Ended { session }
        }
        _ => {
            let [session, sequence, acknowledged, version] = take_numbers(rest)?;
            let (version, identity) = (Version::new(version)?, take_bytes(rest)?);
            Note::Committed { session, sequence, acknowledged, version, identity }
        }
    })
}

fn take_record(rest: &mut &[u8]) -> Option<Record> {
    let [version, expires] = take_numbers(rest)?;
    let mut record = Record::new(take_bytes(rest)?, Version::new(version)?);
    record.expires_at = (expires > 0).then(|| UNIX_EPOCH + Duration::from_millis(expires));
    Some(record)
}

fn take_numbers<const N: usize>(rest: &mut &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (bytes, after) = rest.split_first_chunk()?;
        *number = u64::from_be_bytes(*bytes);
        *rest = after;
    }
    Some(numbers)
}

fn take_bytes(body: &mut &[u8]) -> Option<Bytes> {
    let (length, rest) = body.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *body = rest;
    Some(Bytes::copy_from_slice(bytes))
}
