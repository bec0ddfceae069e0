use bytes::Bytes;
use prost::Message;
use rdb_engine_api::{Error, ErrorKind, Key, Result};

/// What all keys of the placement driver begin with.
pub(crate) const PREFIX: &str = "flaredb-pd/";
/// The version of everything below [`PREFIX`].
pub(crate) const FORMAT: u32 = 1;

/// The name of a row, behind [`PREFIX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// [`FORMAT`]: 4 bytes.
    Format,
    /// The cluster's id: 8 bytes, never 0.
    Cluster,
    /// A [`WindowRow`]: 16 bytes.
    Timestamps,
    /// The next id: 8 bytes, never 0.
    Ids,
    /// A [`RangeRow`]: 16 bytes.
    Range,
    /// A [`StoreRow`].
    Store(u64),
}

const STORES: &[u8] = b"store/";

impl Name {
    /// The row's key. Ids are big-endian, so that stores are in the order of their ids.
    pub(crate) fn key(self) -> Result<Key> {
        let mut key = PREFIX.as_bytes().to_vec();
        match self {
            Self::Format => key.extend_from_slice(b"format"),
            Self::Cluster => key.extend_from_slice(b"cluster"),
            Self::Timestamps => key.extend_from_slice(b"timestamps"),
            Self::Ids => key.extend_from_slice(b"ids"),
            Self::Range => key.extend_from_slice(b"range"),
            Self::Store(id) => {
                key.extend_from_slice(STORES);
                key.extend_from_slice(&id.to_be_bytes());
            }
        }
        Key::new(key)
    }

    /// The row that has a key below [`PREFIX`].
    pub(crate) fn of(key: &Key) -> Result<Self> {
        let unknown = || {
            Error::new(ErrorKind::Corrupt, "placement driver's state has a row that it does not know")
                .with("key", key)
        };
        let name = key.as_bytes().strip_prefix(PREFIX.as_bytes()).ok_or_else(unknown)?;
        Ok(match name {
            b"format" => Self::Format,
            b"cluster" => Self::Cluster,
            b"timestamps" => Self::Timestamps,
            b"ids" => Self::Ids,
            b"range" => Self::Range,
            _ => {
                let id = name.strip_prefix(STORES).and_then(|id| id.try_into().ok()).ok_or_else(unknown)?;
                Self::Store(u64::from_be_bytes(id))
            }
        })
    }
}

/// The window of timestamps that a driver has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowRow {
    /// Nothing of this millisecond or a later one has been given.
    pub(crate) end_ms: u64,
    /// Who claimed it: a number drawn at random at each opening.
    pub(crate) owner: u64,
}

impl WindowRow {
    pub(crate) fn encode(self) -> Bytes {
        encode_pair(self.end_ms, self.owner)
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let (end_ms, owner) = decode_pair(value, "timestamps")?;
        Ok(Self { end_ms, owner })
    }
}

/// The one key range, and who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeRow {
    /// Grows with every change of the range, its store, or where that is.
    pub(crate) epoch: u64,
    pub(crate) store_id: u64,
}

impl RangeRow {
    pub(crate) fn encode(self) -> Bytes {
        encode_pair(self.epoch, self.store_id)
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let (epoch, store_id) = decode_pair(value, "range")?;
        if epoch == 0 || store_id == 0 {
            return Err(senseless("range"));
        }
        Ok(Self { epoch, store_id })
    }
}

/// A store that has registered.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct StoreRow {
    #[prost(string, tag = "1")]
    pub(crate) address: String,
    #[prost(string, tag = "2")]
    pub(crate) engine: String,
    #[prost(string, tag = "3")]
    pub(crate) server_version: String,
    #[prost(bool, tag = "4")]
    pub(crate) is_volatile: bool,
    /// Whether another store has taken its place.
    #[prost(bool, tag = "5")]
    pub(crate) replaced: bool,
    /// What it registered with when it had no id.
    #[prost(fixed64, tag = "6")]
    pub(crate) token: u64,
}

impl StoreRow {
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(self.encode_to_vec())
    }

    pub(crate) fn decode_row(value: &[u8]) -> Result<Self> {
        let row = Self::decode(value).map_err(|error| senseless("store").because(error))?;
        if row.address.is_empty() || row.token == 0 {
            return Err(senseless("store"));
        }
        Ok(row)
    }
}

pub(crate) fn encode_format() -> Bytes {
    Bytes::copy_from_slice(&FORMAT.to_be_bytes())
}

pub(crate) fn decode_format(value: &[u8]) -> Result<u32> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| senseless("format"))
}

pub(crate) fn encode_number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Reads a number that is never 0.
pub(crate) fn decode_number(value: &[u8], name: &str) -> Result<u64> {
    match value.try_into().map(u64::from_be_bytes) {
        Ok(number) if number != 0 => Ok(number),
        _ => Err(senseless(name)),
    }
}

fn encode_pair(first: u64, second: u64) -> Bytes {
    Bytes::from([first.to_be_bytes(), second.to_be_bytes()].concat())
}

fn decode_pair(value: &[u8], name: &str) -> Result<(u64, u64)> {
    let wrong = || senseless(name);
    let (first, second) = value.split_at_checked(8).ok_or_else(wrong)?;
    let second: [u8; 8] = second.try_into().map_err(|_| wrong())?;
    let first: [u8; 8] = first.try_into().map_err(|_| wrong())?;
    Ok((u64::from_be_bytes(first), u64::from_be_bytes(second)))
}

/// What a row holds cannot have been written by this program.
pub(crate) fn senseless(name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "placement driver's state makes no sense").with("row", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_row() {
        let names = [Name::Format, Name::Cluster, Name::Timestamps, Name::Ids, Name::Range];
        for name in names.into_iter().chain([Name::Store(1), Name::Store(u64::MAX)]) {
            let key = name.key().unwrap();
            assert!(key.as_bytes().starts_with(PREFIX.as_bytes()));
            assert_eq!(Name::of(&key).unwrap(), name);
        }
        for key in ["flaredb-pd/other", "flaredb-pd/store/1", "flaredb-pd/", "store"] {
            let error = Name::of(&Key::new(key).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{key}");
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let window = WindowRow { end_ms: 7, owner: u64::MAX };
        assert_eq!(WindowRow::decode(&window.encode()).unwrap(), window);
        let range = RangeRow { epoch: 1, store_id: 2 };
        assert_eq!(RangeRow::decode(&range.encode()).unwrap(), range);
        let store = StoreRow { address: "a:1".to_owned(), token: 3, replaced: true, ..StoreRow::default() };
        assert_eq!(StoreRow::decode_row(&store.encode()).unwrap(), store);
        assert_eq!(decode_number(&encode_number(9), "ids").unwrap(), 9);
        assert_eq!(decode_format(&encode_format()).unwrap(), FORMAT);
    }

    #[test]
    fn bytes_that_make_no_sense_are_corrupt() {
        let long = [1; 17];
        for length in (0..16).chain([17]) {
            let bytes = &long[..length];
            assert_eq!(WindowRow::decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
            assert_eq!(RangeRow::decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
            assert_eq!(StoreRow::decode_row(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        assert_eq!(RangeRow::decode(&[0; 16]).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(decode_number(&[0; 8], "ids").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(decode_number(&[1; 7], "ids").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(decode_format(&[1; 3]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
