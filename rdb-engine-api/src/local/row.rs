//! How a record is stored: `crc32 (4) | tag (1) | version (8) | value`, integers big-endian. A record that
//! expires has another tag, and behind its version when it does: `milliseconds since 1970 (8)`.
//!
//! The checksum covers the key and all that follows it, so that bytes that a store mangled or mixed up
//! give [`Corrupt`](ErrorKind::Corrupt) and never a wrong value (C13), whatever the store checks itself.

use bytes::{Buf as _, BufMut as _, Bytes};

use super::seal;
use super::time::{from_millis, to_millis};
use crate::{Error, ErrorKind, Record, Result, Version};

/// A record without expiry.
const PLAIN: u8 = 1;
/// A record with one.
const EXPIRING: u8 = 2;
const HEADER: usize = seal::BYTES + 1 + 8;
const EXPIRING_HEADER: usize = HEADER + 8;

/// The row, and the record as it is read from the row: its value a slice of it, its expiry in whole
/// milliseconds. Copies the value: what is kept must not pin the buffer it was received in.
pub(super) fn encode(key: &[u8], record: &Record) -> (Bytes, Record) {
    let expires = record.expires_at.map(to_millis);
    let header = if expires.is_some() { EXPIRING_HEADER } else { HEADER };
    let mut row = seal::row(header - seal::BYTES + record.value.len());
    row.put_u8(if expires.is_some() { EXPIRING } else { PLAIN });
    row.put_u64(record.version.get());
    if let Some(expires) = expires {
        row.put_u64(expires);
    }
    row.put_slice(&record.value);
    let row = seal::seal(key, row);
    let mut kept = Record::new(row.slice(header..), record.version);
    kept.expires_at = expires.and_then(from_millis);
    (row, kept)
}

/// The value is what remains of the row: no copy, and not another owner of its buffer, which would be counted.
pub(super) fn decode(key: &[u8], mut row: Bytes) -> Result<Record> {
    let Some(body) = seal::open(key, &row) else { return Err(corrupt(key)) };
    let Some((&[tag], rest)) = body.split_first_chunk::<1>() else { return Err(corrupt(key)) };
    let Some((number, rest)) = rest.split_first_chunk::<8>() else { return Err(corrupt(key)) };
    let Some(version) = Version::new(u64::from_be_bytes(*number)) else { return Err(corrupt(key)) };
    let (header, expires_at) = match tag {
        PLAIN => (HEADER, None),
        EXPIRING => {
            let Some((millis, _)) = rest.split_first_chunk::<8>() else { return Err(corrupt(key)) };
            let expires_at = from_millis(u64::from_be_bytes(*millis)).ok_or_else(|| corrupt(key))?;
            (EXPIRING_HEADER, Some(expires_at))
        }
        _ => return Err(corrupt(key)),
    };
    row.advance(header);
    let mut record = Record::new(row, version);
    record.expires_at = expires_at;
    Ok(record)
}

fn corrupt(key: &[u8]) -> Error {
    let shown = &key[..key.len().min(64)];
    Error::new(ErrorKind::Corrupt, "stored record failed validation").with("key", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plain() -> Record {
        Record::new(Bytes::from_static(b"value"), Version::new(7).unwrap())
    }

    fn expiring() -> Record {
        let mut record = plain();
        record.expires_at = from_millis(1_700_000_000_001);
        record
    }

    #[test]
    fn record_survives_and_its_value_is_not_copied_on_reading() {
        for (record, header) in [(plain(), HEADER), (expiring(), EXPIRING_HEADER)] {
            let (row, kept) = encode(b"key", &record);
            assert_eq!(kept, record);
            let read = decode(b"key", row.clone()).unwrap();
            assert_eq!(read, record);
            assert_eq!(read.value.as_ptr(), row[header..].as_ptr());
        }
    }

    #[test]
    fn rows_of_before_there_was_an_expiry_are_read() {
        let mut body = vec![1];
        body.extend(7u64.to_be_bytes());
        body.extend(b"value");
        let row = seal::sealed(b"key", &body);
        assert_eq!(decode(b"key", row).unwrap(), plain());
    }

    #[test]
    fn an_expiry_is_kept_in_whole_milliseconds_rounded_up() {
        let mut record = plain();
        record.expires_at = from_millis(5).map(|end| end + Duration::from_nanos(1));
        let (row, kept) = encode(b"key", &record);
        assert_eq!(kept.expires_at, from_millis(6));
        assert_eq!(decode(b"key", row).unwrap(), kept);
    }

    #[test]
    fn every_flipped_bit_every_cut_and_a_foreign_key_are_corrupt() {
        for record in [plain(), expiring()] {
            let (row, _) = encode(b"key", &record);
            for bit in 0..row.len() * 8 {
                let mut bad = row.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(b"key", bad.into()).unwrap_err().kind(), ErrorKind::Corrupt, "bit {bit}");
            }
            for len in 0..row.len() {
                let cut = decode(b"key", row.slice(..len)).unwrap_err();
                assert_eq!(cut.kind(), ErrorKind::Corrupt, "length {len}");
            }
            assert_eq!(decode(b"kez", row).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
