//! What a batch is, in 64 bits: so that a number that is reused for another batch is told of (C17).

use crc32fast::Hasher;

use crate::local::time::whole_millis;
use crate::{Batch, Condition, Op};

/// A digest of the conditions and the operations, in order, times to live included: 32 bits of a checksum and
/// 32 of the length of what it was taken of. It is stored, so it must not change with a release.
///
/// It finds the accidents of a client. Who wants to send another batch under the same digest can: such a client
/// deceives itself alone, being told the outcome of its own first batch.
pub(in crate::local) fn digest(batch: &Batch) -> u64 {
    let mut digest = Digest::default();
    digest.number(batch.conditions().len() as u64);
    for (key, condition) in batch.conditions() {
        digest.bytes(key.as_bytes());
        match condition {
            Condition::Absent => digest.number(0),
            Condition::Present => digest.number(1),
            Condition::Version(version) => {
                digest.number(2);
                digest.number(version.get());
            }
            Condition::Value(value) => {
                digest.number(3);
                digest.bytes(value);
            }
        }
    }
    for (key, op) in batch.ops() {
        digest.bytes(key.as_bytes());
        match op {
            Op::Delete => digest.number(0),
            Op::Put { value, ttl: None } => {
                digest.number(1);
                digest.bytes(value);
            }
            Op::Put { value, ttl: Some(ttl) } => {
                digest.number(2);
                digest.bytes(value);
                digest.number(whole_millis(*ttl));
            }
        }
    }
    u64::from(digest.hasher.finalize()) << 32 | u64::from(digest.length)
}

#[derive(Default)]
struct Digest {
    hasher: Hasher,
    /// Modulo 2^32.
    length: u32,
}

impl Digest {
    fn number(&mut self, number: u64) {
        self.hasher.update(&number.to_be_bytes());
        self.length = self.length.wrapping_add(8);
    }

    /// With their length before them, so that no two sequences of them are the same bytes.
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.hasher.update(bytes);
        self.length = self.length.wrapping_add(bytes.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::{Key, Version};

    #[test]
    fn batches_that_differ_anywhere_have_digests_that_differ() {
        let key = |name: &'static str| Key::new(name).unwrap();
        let version = |number| Condition::Version(Version::new(number).unwrap());
        let ms = Duration::from_millis;
        let batches = [
            Batch::new(),
            Batch::new().when(key("k"), Condition::Absent),
            Batch::new().when(key("k"), Condition::Present),
            Batch::new().when(key("k"), version(1)),
            Batch::new().when(key("k"), version(2)),
            Batch::new().when(key("k"), Condition::Value("v".into())),
            Batch::new().when(key("k"), Condition::Value("w".into())),
            Batch::new().when(key("kv"), Condition::Value("".into())),
            Batch::new().delete(key("k")),
            Batch::new().delete(key("l")),
            Batch::new().put(key("k"), ""),
            Batch::new().put(key("k"), "v"),
            Batch::new().put(key("kv"), ""),
            Batch::new().put_for(key("k"), "v", ms(1)),
            Batch::new().put_for(key("k"), "v", ms(2)),
            Batch::new().put(key("k"), "v").put(key("l"), "w"),
            Batch::new().put(key("l"), "w").put(key("k"), "v"),
        ];
        let digests: HashSet<u64> = batches.iter().map(digest).collect();
        assert_eq!(digests.len(), batches.len());
        let rounded = Batch::new().put_for(key("k"), "v", ms(1) + Duration::from_nanos(1));
        assert_eq!(digest(&rounded), digest(&Batch::new().put_for(key("k"), "v", ms(2))));
    }

    /// Stored digests are compared with those that this code makes.
    #[test]
    fn digest_is_the_same_in_every_release() {
        let key = Key::new("key").unwrap();
        let batch = Batch::new().when(key.clone(), Condition::Absent).put(key, "value");
        assert_eq!(digest(&batch), 0x17e2_38f2_0000_003b);
    }
}
