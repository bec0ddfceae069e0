use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdb_engine_api::{Durability, Entry, Error, Key, Record};

use super::{answered_version, malformed};
use crate::kv::v1;

impl From<Record> for v1::Record {
    fn from(record: Record) -> Self {
        Self {
            value: record.value,
            version: record.version.get(),
            expires_at_ms: record.expires_at.map(to_epoch_ms),
        }
    }
}

impl TryFrom<v1::Record> for Record {
    type Error = Error;

    fn try_from(record: v1::Record) -> Result<Self, Error> {
        let mut converted = Self::new(record.value, answered_version(record.version)?);
        converted.expires_at = record.expires_at_ms.map(from_epoch_ms).transpose()?;
        Ok(converted)
    }
}

impl From<Entry> for v1::Entry {
    fn from(entry: Entry) -> Self {
        Self { key: entry.key.into_bytes(), record: entry.record.map(Into::into) }
    }
}

impl TryFrom<v1::Entry> for Entry {
    type Error = Error;

    fn try_from(entry: v1::Entry) -> Result<Self, Error> {
        let key = Key::new(entry.key).map_err(|error| malformed("entry.key").because(error))?;
        Ok(Self::new(key, entry.record.map(TryInto::try_into).transpose()?))
    }
}

impl From<Durability> for v1::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Volatile => Self::Volatile,
            Durability::Process => Self::Process,
            Durability::Synced => Self::Synced,
        }
    }
}

pub(super) fn answered_durability(number: i32) -> Result<Durability, Error> {
    match v1::Durability::try_from(number) {
        Ok(v1::Durability::Volatile) => Ok(Durability::Volatile),
        Ok(v1::Durability::Process) => Ok(Durability::Process),
        Ok(v1::Durability::Synced) => Ok(Durability::Synced),
        Ok(v1::Durability::Unspecified) | Err(_) => Err(malformed("durability").with("number", number)),
    }
}

impl From<SystemTime> for v1::TimeResponse {
    fn from(time: SystemTime) -> Self {
        Self { time_ms: to_epoch_ms(time) }
    }
}

impl TryFrom<v1::TimeResponse> for SystemTime {
    type Error = Error;

    fn try_from(response: v1::TimeResponse) -> Result<Self, Error> {
        from_epoch_ms(response.time_ms)
    }
}

/// Milliseconds, rounded up: what lasts at least so long still does (C15).
pub(super) fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Milliseconds since the epoch, rounded up: never before the instant (C15).
fn to_epoch_ms(instant: SystemTime) -> i64 {
    match instant.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(to_ms(since)).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

fn from_epoch_ms(ms: i64) -> Result<SystemTime, Error> {
    let distance = Duration::from_millis(ms.unsigned_abs());
    let instant = if ms < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    instant.ok_or_else(|| malformed("record.expires_at_ms").with("number", ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rdb_engine_api::{ErrorKind, Version};

    #[test]
    fn an_expiry_is_never_rounded_to_an_earlier_instant() {
        for (instant, ms) in [
            (UNIX_EPOCH, 0),
            (UNIX_EPOCH + Duration::from_nanos(1), 1),
            (UNIX_EPOCH + Duration::from_millis(7), 7),
            (UNIX_EPOCH - Duration::from_nanos(1), 0),
            (UNIX_EPOCH - Duration::from_millis(7), -7),
        ] {
            assert_eq!(to_epoch_ms(instant), ms);
            assert!(from_epoch_ms(ms).unwrap() >= instant);
        }
    }

    #[test]
    fn a_record_survives_the_wire() {
        let mut record = Record::new(Bytes::from_static(b"v"), Version::new(9).unwrap());
        assert_eq!(Record::try_from(v1::Record::from(record.clone())).unwrap(), record);
        record.expires_at = Some(UNIX_EPOCH + Duration::from_millis(1_234));
        assert_eq!(Record::try_from(v1::Record::from(record.clone())).unwrap(), record);
    }

    #[test]
    fn a_record_without_a_version_is_no_record() {
        let error = Record::try_from(v1::Record::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[test]
    fn an_answer_names_a_known_durability() {
        for level in Durability::ALL {
            assert_eq!(answered_durability(v1::Durability::from(level).into()).unwrap(), level);
        }
        for number in [0, 4, -1] {
            assert_eq!(answered_durability(number).unwrap_err().kind(), ErrorKind::Internal);
        }
    }
}
