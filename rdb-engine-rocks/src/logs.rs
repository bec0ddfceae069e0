use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rdb_engine_api::{Error, ErrorKind, Result};

/// RocksDB's log format, which its write-ahead logs and manifests share: blocks of this size, each a row of
/// records, none of which crosses into the next block.
const BLOCK: usize = 32 << 10;
/// A record's header: its checksum (4 bytes), its length (2), both little-endian, and its type (1).
const HEADER: usize = 7;
/// The types of a whole record and of the first, middle and last part of one. There are types for recycled
/// and compressed logs too, none of which is ever written here.
const TYPES: std::ops::RangeInclusive<u8> = 1..=4;

/// Refuses damage in the logs and manifests of a closed database that RocksDB itself takes for something
/// else, before RocksDB sees it:
/// - A type damaged into that of a recycled log makes it pass over a whole log in silence, or read the same
///   bytes without an end.
/// - A length damaged into one beyond the end of the file looks like a record that a crash tore, and what
///   follows in the log would be gone without a word. The checksum tells: it does not cover the length, so
///   it is right for some shorter one, which a torn record's hardly ever is.
///
/// All other damage RocksDB refuses by itself.
pub(crate) fn check(store: &Path) -> Result<()> {
    for entry in fs::read_dir(store).map_err(|error| unreadable(store, error))? {
        let entry = entry.map_err(|error| unreadable(store, error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".log") || name.starts_with("MANIFEST-") {
            let path = entry.path();
            let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
            if !is_sound(file).map_err(|error| unreadable(&path, error))? {
                return Err(Error::new(ErrorKind::Corrupt, "log is damaged").with("path", path.display()));
            }
        }
    }
    Ok(())
}

fn is_sound(mut file: impl Read) -> io::Result<bool> {
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if !is_sound_block(&block) {
            return Ok(false);
        }
        if block.len() < BLOCK {
            return Ok(true);
        }
    }
}

fn is_sound_block(block: &[u8]) -> bool {
    let mut rest = block;
    while let Some((&[c0, c1, c2, c3, l0, l1, kind], behind)) = rest.split_first_chunk::<HEADER>() {
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        if kind == 0 && length == 0 {
            return true; // space that was set aside and never written
        }
        if !TYPES.contains(&kind) {
            return false;
        }
        match behind.get(length..) {
            Some(next) => rest = next,
            // RocksDB refuses it where the file goes on behind this block.
            None => return !is_whole(u32::from_le_bytes([c0, c1, c2, c3]), kind, behind),
        }
    }
    true
}

/// Whether the checksum is that of a record of this type and of some length that is there.
fn is_whole(masked: u32, kind: u8, bytes: &[u8]) -> bool {
    let expected = masked.wrapping_sub(0xa282_ead8).rotate_left(15);
    let mut state = crc32c(u32::MAX, kind);
    !state == expected
        || bytes.iter().any(|byte| {
            state = crc32c(state, *byte);
            !state == expected
        })
}

/// One step of CRC-32C (Castagnoli), bit by bit: at most one block of a file is ever read by it.
fn crc32c(state: u32, byte: u8) -> u32 {
    (0..8).fold(state ^ u32::from(byte), |state, _| (state >> 1) ^ (0x82f6_3b78 & (state & 1).wrapping_neg()))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "cannot read database").with("path", path.display()).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_the_published_example() {
        assert_eq!(!b"123456789".iter().fold(u32::MAX, |state, byte| crc32c(state, *byte)), 0xe306_9283);
    }

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let checksum = !payload.iter().fold(crc32c(u32::MAX, kind), |state, byte| crc32c(state, *byte));
        let mut bytes = checksum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes().to_vec();
        bytes.extend((payload.len() as u16).to_le_bytes());
        bytes.push(kind);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn torn_record_is_sound_and_damaged_length_or_type_is_not() {
        let log = [record(1, b"first"), record(1, b""), record(1, b"third")].concat();
        for length in 0..=log.len() {
            assert!(is_sound(&log[..length]).unwrap(), "{length}");
        }
        let damaged = |at: usize, bit: u8| {
            let mut log = log.clone();
            log[at] ^= 1 << bit;
            is_sound(&log[..]).unwrap()
        };
        // The headers are at 0, 12 and 19. A length beyond the end, and the type of a recycled log:
        for header in [0, 12, 19] {
            assert!(!damaged(header + 4, 7));
            assert!(!damaged(header + 5, 0));
            assert!(!damaged(header + 6, 2));
        }
    }
}
