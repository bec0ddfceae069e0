//! How a record is stored: `crc32 (4) | tag (1) | version (8) | value`, integers big-endian.
//!
//! The checksum covers the key and all that follows it, so that bytes that a store mangled or mixed up
//! give [`Corrupt`](ErrorKind::Corrupt) and never a wrong value (C13), whatever the store checks itself.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{Error, ErrorKind, Record, Result, Version};

/// A record without expiry. Other tags are for records with more than a version.
const PLAIN: u8 = 1;
const HEADER: usize = 4 + 1 + 8;

/// The row, and the record with its value a slice of the row. Copies the value: what is kept must not pin
/// the buffer it was received in.
pub(super) fn encode(key: &[u8], record: &Record) -> (Bytes, Record) {
    let mut row = BytesMut::with_capacity(HEADER + record.value.len());
    row.put_u32(0);
    row.put_u8(PLAIN);
    row.put_u64(record.version.get());
    row.put_slice(&record.value);
    let checksum = checksum(key, &row[4..]);
    row[..4].copy_from_slice(&checksum.to_be_bytes());
    let row = row.freeze();
    let record = Record { value: row.slice(HEADER..), ..record.clone() };
    (row, record)
}

/// The value is a slice of the row: no copy.
pub(super) fn decode(key: &[u8], row: &Bytes) -> Result<Record> {
    let Some((stored, body)) = row.split_first_chunk::<4>() else { return Err(corrupt(key)) };
    if u32::from_be_bytes(*stored) != checksum(key, body) {
        return Err(corrupt(key));
    }
    let Some((&[PLAIN], rest)) = body.split_first_chunk::<1>() else { return Err(corrupt(key)) };
    let Some((number, _)) = rest.split_first_chunk::<8>() else { return Err(corrupt(key)) };
    let Some(version) = Version::new(u64::from_be_bytes(*number)) else { return Err(corrupt(key)) };
    Ok(Record::new(row.slice(HEADER..), version))
}

pub(super) fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

fn corrupt(key: &[u8]) -> Error {
    let shown = &key[..key.len().min(64)];
    Error::new(ErrorKind::Corrupt, "stored record failed validation").with("key", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_survives_and_its_value_is_not_copied_on_reading() {
        let record = Record::new(Bytes::from_static(b"value"), Version::new(7).unwrap());
        let (row, kept) = encode(b"key", &record);
        assert_eq!(kept, record);
        let read = decode(b"key", &row).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.value.as_ptr(), row[HEADER..].as_ptr());
    }

    #[test]
    fn every_flipped_bit_every_cut_and_a_foreign_key_are_corrupt() {
        let record = Record::new(Bytes::from_static(b"value"), Version::new(7).unwrap());
        let (row, _) = encode(b"key", &record);
        for bit in 0..row.len() * 8 {
            let mut bad = row.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(b"key", &bad.into()).unwrap_err().kind(), ErrorKind::Corrupt, "bit {bit}");
        }
        for len in 0..row.len() {
            assert_eq!(
                decode(b"key", &row.slice(..len)).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "length {len}"
            );
        }
        assert_eq!(decode(b"kez", &row).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
