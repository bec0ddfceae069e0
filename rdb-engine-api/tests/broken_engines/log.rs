use bytes::Bytes;
use rdb_engine_api::{Error, ErrorKind, Key, Record, Result, Version};

use super::disk::{Damage, Disk};

/// What a commit does, in key order.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(crate) version: Version,
    pub(crate) ops: Vec<(Key, Option<Bytes>)>,
    /// Records with versions of their own, of which only a restore has some.
    pub(crate) restored: Vec<(Key, Record)>,
}

/// How an operation begins, behind its key.
const DELETE: u8 = 0;
const PUT: u8 = 1;
const RESTORED: u8 = 2;

/// The bytes before a commit's own: their number, the checksum of that number, and theirs.
const HEADER: usize = 12;

/// A commit as the log holds it.
pub(crate) fn frame(changes: &Changes) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(changes.version.get().to_be_bytes());
    for (key, value) in &changes.ops {
        put_bytes(&mut body, key.as_bytes());
        body.push(if value.is_some() { PUT } else { DELETE });
        if let Some(value) = value {
            put_bytes(&mut body, value);
        }
    }
    for (key, record) in &changes.restored {
        put_bytes(&mut body, key.as_bytes());
        body.push(RESTORED);
        body.extend(record.version.get().to_be_bytes());
        put_bytes(&mut body, &record.value);
    }
    let length = (body.len() as u32).to_be_bytes();
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend(length);
    frame.extend(crc32fast::hash(&length).to_be_bytes());
    frame.extend(crc32fast::hash(&body).to_be_bytes());
    frame.extend(body);
    frame
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
    let (version, mut rest) = body.split_first_chunk()?;
    let version = Version::new(u64::from_be_bytes(*version))?;
    let (mut ops, mut restored) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let key = Key::new(take_bytes(&mut rest)?).ok()?;
        let (kind, after) = rest.split_first()?;
        rest = after;
        match *kind {
            DELETE => ops.push((key, None)),
            RESTORED => {
                let (version, after) = rest.split_first_chunk()?;
                rest = after;
                let version = Version::new(u64::from_be_bytes(*version))?;
                restored.push((key, Record::new(take_bytes(&mut rest)?, version)));
            }
            _ => ops.push((key, Some(take_bytes(&mut rest)?))),
        }
    }
    Some(Changes { version, ops, restored })
}

fn take_bytes(body: &mut &[u8]) -> Option<Bytes> {
    let (length, rest) = body.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *body = rest;
    Some(Bytes::copy_from_slice(bytes))
}
