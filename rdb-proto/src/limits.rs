use rdb_engine_api::{Limits, MAX_KEY_BYTES};

/// What a message adds to the keys and values in it, for each of them: field tags, lengths, versions.
pub const OVERHEAD_PER_ITEM: usize = 64;
/// The most bytes of one message of a scan, overhead included, unless one entry alone has more. Larger
/// messages gain nothing, and hold up the other requests of the connection.
pub const SCAN_CHUNK_BYTES: usize = 256 << 10;
/// What a message adds once.
const OVERHEAD: usize = 64 << 10;

/// The longest message that a node with these limits needs to take or send, in bytes: whatever the engine
/// would accept fits, so that it is the engine that refuses what is too long, with an error that names the
/// limit (C14).
pub fn max_message_bytes(limits: &Limits) -> usize {
    let items = limits.max_batch_len.saturating_mul(OVERHEAD_PER_ITEM);
    let batch = limits.max_batch_bytes.saturating_add(items);
    // A swap of one longest value against another, where the batch limit is below that.
    let swap = limits.max_value_bytes.saturating_add(MAX_KEY_BYTES).saturating_mul(2);
    let keys = limits.max_get_many_keys.saturating_mul(MAX_KEY_BYTES + OVERHEAD_PER_ITEM);
    batch.max(swap).max(keys).max(SCAN_CHUNK_BYTES).saturating_add(OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::v1;
    use bytes::Bytes;
    use prost::Message as _;
    use rdb_engine_api::{Batch, Condition, Key, WriteOptions};

    #[test]
    fn the_fullest_batch_fits_into_a_message() {
        let mut limits = Limits::default();
        limits.max_batch_bytes = 40_000;
        limits.max_batch_len = 10_000;
        let mut batch = Batch::new();
        for _ in 0..5_000 {
            let key = Key::new("1234").unwrap();
            batch = batch.when(key.clone(), Condition::Value(Bytes::new())).put(key, Bytes::new());
        }
        assert_eq!((batch.len(), batch.size_bytes()), (10_000, 40_000));
        let message = v1::WriteRequest::from((batch, WriteOptions::default()));
        assert!(message.encoded_len() <= max_message_bytes(&limits));
    }

    #[test]
    fn a_message_of_a_scan_fits_whatever_the_limits_of_writes() {
        let mut limits = Limits::default();
        limits.max_value_bytes = 10;
        limits.max_batch_len = 1;
        limits.max_batch_bytes = MAX_KEY_BYTES + 10;
        limits.max_get_many_keys = 1;
        assert!(max_message_bytes(&limits) >= SCAN_CHUNK_BYTES);
    }

    #[test]
    fn a_node_without_limits_does_not_overflow() {
        let mut limits = Limits::default();
        limits.max_batch_bytes = usize::MAX;
        limits.max_value_bytes = usize::MAX;
        assert_eq!(max_message_bytes(&limits), usize::MAX);
    }
}
