//! How records stand in a block.

use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use rdb_engine_api::{Entry, Error, ErrorKind, Key, Record, Result, Version};

use super::damaged;

const PLAIN: u8 = 1;
const EXPIRING: u8 = 2;
/// The most that an entry takes beyond its key and value.
pub(super) const OVERHEAD: usize = 1 + 2 + 4 + 8 + 8;

pub(super) fn put(block: &mut BytesMut, entry: &Entry) -> Result<()> {
    let invalid = |message: &str| Error::new(ErrorKind::InvalidArgument, message).with("key", &entry.key);
    let Some(record) = &entry.record else { return Err(invalid("a backup takes records, not keys alone")) };
    let key_bytes = u16::try_from(entry.key.len()).map_err(|_| invalid("key is too long for a backup"))?;
    let value_bytes =
        u32::try_from(record.value.len()).map_err(|_| invalid("value is too long for a backup"))?;
    block.put_u8(if record.expires_at.is_some() { EXPIRING } else { PLAIN });
    block.put_u16(key_bytes);
    block.put_u32(value_bytes);
    block.put_u64(record.version.get());
    if let Some(expires_at) = record.expires_at {
        // Rounded up: a life does not become shorter by being backed up.
        let since = expires_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().div_ceil(1_000_000);
        block.put_u64(u64::try_from(since).unwrap_or(u64::MAX));
    }
    block.put_slice(entry.key.as_bytes());
    block.put_slice(&record.value);
    Ok(())
}

/// Takes one entry from a block. Its bytes are slices of the block.
pub(super) fn take(block: &mut Bytes) -> Result<Entry> {
    let unreadable = || damaged("backup's records cannot be read");
    let tag = block.try_get_u8().map_err(|_| unreadable())?;
    let key_bytes: usize = block.try_get_u16().map_err(|_| unreadable())?.into();
    let value_bytes = block.try_get_u32().map_err(|_| unreadable())? as usize;
    let version = block.try_get_u64().ok().and_then(Version::new).ok_or_else(unreadable)?;
    let expires_at = match tag {
        PLAIN => None,
        EXPIRING => {
            let since = Duration::from_millis(block.try_get_u64().map_err(|_| unreadable())?);
            Some(UNIX_EPOCH.checked_add(since).ok_or_else(unreadable)?)
        }
        _ => return Err(unreadable()),
    };
    if block.len() < key_bytes.saturating_add(value_bytes) {
        return Err(unreadable());
    }
    let key = Key::new(block.split_to(key_bytes)).map_err(|error| unreadable().because(error))?;
    let mut record = Record::new(block.split_to(value_bytes), version);
    record.expires_at = expires_at;
    Ok(Entry::new(key, Some(record)))
}
