use bytes::{BufMut as _, BytesMut};
use rdb_engine_api::{Key, MAX_KEY_BYTES};

/// Fewer hexadecimal digits than this tell too few records apart for a run that inserts.
const LEAST_DIGITS: usize = 6;

/// The keys of a run: a prefix and hexadecimal digits, all of one length.
///
/// The order of the keys is not that in which the records are numbered, as with YCSB's `insertorder=hashed`:
/// records that are popular, or inserted one after the other, are not neighbours. The digits are a
/// permutation of the record's number, so that no two records share a key.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Box<[u8]>,
    digits: usize,
}

impl Keys {
    /// Keys of so many bytes, the prefix included, for at least so many records.
    ///
    /// # Errors
    /// Where they are too short for that, or longer than a key may be.
    pub fn new(prefix: &str, bytes: usize, records: u64) -> crate::Result<Self> {
        let digits = bytes.saturating_sub(prefix.len());
        // Twice as many, because some workloads insert.
        let enough = digits >= 16 || records.saturating_mul(2) <= 1 << (4 * digits.max(1));
        if digits < LEAST_DIGITS || !enough {
            return Err(format!("keys of {bytes} bytes are too short: prefix `{prefix}`, {records} records"));
        }
        if bytes > MAX_KEY_BYTES {
            return Err(format!("keys of {bytes} bytes are too long: the limit is {MAX_KEY_BYTES}"));
        }
        Ok(Self { prefix: prefix.as_bytes().into(), digits })
    }

    /// The key of the record of this number.
    #[allow(clippy::missing_panics_doc)] // checked by `new`
    pub fn key(&self, number: u64) -> Key {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let significant = self.digits.min(16);
        let scrambled = permute(number, 4 * significant as u32);
        let mut bytes = BytesMut::with_capacity(self.prefix.len() + self.digits);
        bytes.extend_from_slice(&self.prefix);
        bytes.put_bytes(b'0', self.digits - significant);
        for place in (0..significant).rev() {
            bytes.put_u8(HEX[(scrambled >> (4 * place) & 0xf) as usize]);
        }
        Key::new(bytes.freeze()).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// The key of the counter: longer than the others, so that it is none of theirs.
    #[allow(clippy::missing_panics_doc)] // checked by `new`
    pub fn counter(&self) -> Key {
        let key = [&self.prefix[..], b"counter"].concat();
        Key::new(key).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

/// One to one on numbers of so many bits: odd factors and shifts to the right can be undone.
const fn permute(number: u64, bits: u32) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    let half = bits / 2;
    let mut mixed = number & mask;
    mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask;
    mixed ^= mixed >> half;
    mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) & mask;
    mixed ^= mixed >> half;
    mixed.wrapping_mul(0x94d0_49bb_1331_11eb) & mask
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_record_has_a_key_of_its_own_and_all_are_of_one_length() {
        let keys = Keys::new("b/", 8, 100_000).unwrap();
        let all: HashSet<Key> = (0..200_000).map(|number| keys.key(number)).collect();
        assert_eq!(all.len(), 200_000);
        assert!(all.iter().all(|key| key.len() == 8 && key.as_bytes().starts_with(b"b/")));
        assert!(!all.contains(&keys.counter()));
    }

    #[test]
    fn numbers_are_permuted_one_to_one() {
        for bits in [8, 12, 16] {
            let permuted: HashSet<u64> = (0..1 << bits).map(|number| permute(number, bits)).collect();
            assert_eq!(permuted.len(), 1 << bits);
            assert!(permuted.iter().all(|number| *number < 1 << bits));
        }
        assert_ne!(permute(1, 64), permute(1 << 63, 64));
    }

    #[test]
    fn neighbours_by_number_are_no_neighbours_by_key() {
        let keys = Keys::new("bench/", 16, 100_000).unwrap();
        let ascending = (0..1_000).filter(|number| keys.key(*number) < keys.key(number + 1)).count();
        assert!((300..700).contains(&ascending), "{ascending}");
    }

    #[test]
    fn keys_that_cannot_tell_the_records_apart_are_refused() {
        assert!(Keys::new("bench/", 11, 100).unwrap_err().contains("too short"));
        assert!(Keys::new("bench/", 12, 9_000_000).unwrap_err().contains("too short"));
        assert!(Keys::new("bench/", 5_000, 1).unwrap_err().contains("too long"));
        assert_eq!(Keys::new("", 40, u64::MAX).unwrap().key(7).len(), 40);
    }
}
