//! The checksum that begins every stored row: `crc32 (4, big-endian) | body`.
//!
//! It covers the row's key and the body, so that bytes that a store mangled or mixed up fail validation (C13),
//! whatever the store checks itself.

use bytes::{BufMut as _, Bytes, BytesMut};

/// What it adds to a body.
pub(super) const BYTES: usize = 4;

/// A row with room for a body of this length, which is to be appended before it is [sealed](seal).
pub(super) fn row(body: usize) -> BytesMut {
    let mut row = BytesMut::with_capacity(BYTES + body);
    row.put_bytes(0, BYTES);
    row
}

/// The row with its checksum.
pub(super) fn seal(key: &[u8], mut row: BytesMut) -> Bytes {
    seal_in_place(key, &mut row);
    row.freeze()
}

/// Gives a row its checksum.
pub(super) fn seal_in_place(key: &[u8], row: &mut [u8]) {
    let checksum = checksum(key, &row[BYTES..]);
    row[..BYTES].copy_from_slice(&checksum.to_be_bytes());
}

/// The body of a row; none where it is not what was sealed under this key.
pub(super) fn open<'a>(key: &[u8], row: &'a [u8]) -> Option<&'a [u8]> {
    let (stored, body) = row.split_first_chunk::<BYTES>()?;
    (u32::from_be_bytes(*stored) == checksum(key, body)).then_some(body)
}

/// A row with this body, whatever it is.
#[cfg(test)]
pub(super) fn sealed(key: &[u8], body: &[u8]) -> Bytes {
    let mut sealed = row(body.len());
    sealed.put_slice(body);
    seal(key, sealed)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored rows are read by every release.
    #[test]
    fn rows_are_sealed_in_the_same_way_in_every_release() {
        let row = sealed(b"key", b"body");
        assert_eq!(row[..BYTES], [0x42, 0xca, 0x0f, 0x98]);
        assert_eq!(open(b"key", &row), Some(&b"body"[..]));
        assert_eq!(open(b"kez", &row), None);
        assert_eq!(open(b"key", &row[..BYTES - 1]), None);
    }
}
