use std::fmt;
use std::sync::Arc;

use rocksdb::Options;
use rocksdb::statistics::Ticker;

/// Counters of an open store, for metrics and tests. They start at 0 with each opening, and can be read
/// for as long as anyone likes, after the store is closed too.
#[derive(Clone)]
pub struct RocksStatistics {
    options: Arc<Options>,
}

impl RocksStatistics {
    /// Shares the counters of the database that was opened with these options.
    pub(crate) fn new(options: Options) -> Self {
        Self { options: Arc::new(options) }
    }

    /// How often the write-ahead log was synced for a commit. It grows by one with each commit that was
    /// asked to be synced, and with no other (C9); RocksDB adds its own when it closes a log.
    pub fn wal_syncs(&self) -> u64 {
        self.options.get_ticker_count(Ticker::WalFileSynced)
    }

    /// The bytes written to the write-ahead log.
    pub fn wal_bytes(&self) -> u64 {
        self.options.get_ticker_count(Ticker::WalFileBytes)
    }

    /// How often a block was found in the block cache.
    pub fn block_cache_hits(&self) -> u64 {
        self.options.get_ticker_count(Ticker::BlockCacheHit)
    }

    /// How often a block was not found in the block cache.
    pub fn block_cache_misses(&self) -> u64 {
        self.options.get_ticker_count(Ticker::BlockCacheMiss)
    }

    /// How often a bloom filter told that a table file does not have a key.
    pub fn bloom_filter_useful(&self) -> u64 {
        self.options.get_ticker_count(Ticker::BloomFilterUseful)
    }

    /// The bytes of keys and values committed.
    pub fn bytes_written(&self) -> u64 {
        self.options.get_ticker_count(Ticker::BytesWritten)
    }

    /// The bytes of values read by key.
    pub fn bytes_read(&self) -> u64 {
        self.options.get_ticker_count(Ticker::BytesRead)
    }

    /// The bytes of keys and values read in scans.
    pub fn bytes_scanned(&self) -> u64 {
        self.options.get_ticker_count(Ticker::IterBytesRead)
    }

    /// The bytes written to table files from write buffers.
    pub fn flush_bytes_written(&self) -> u64 {
        self.options.get_ticker_count(Ticker::FlushWriteBytes)
    }

    /// The bytes that compactions have read.
    pub fn compaction_bytes_read(&self) -> u64 {
        self.options.get_ticker_count(Ticker::CompactReadBytes)
    }

    /// The bytes that compactions have written.
    pub fn compaction_bytes_written(&self) -> u64 {
        self.options.get_ticker_count(Ticker::CompactWriteBytes)
    }

    /// The time that writes had to wait for flushes and compactions, in microseconds.
    pub fn stall_micros(&self) -> u64 {
        self.options.get_ticker_count(Ticker::StallMicros)
    }
}

impl fmt::Debug for RocksStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStatistics")
            .field("wal_syncs", &self.wal_syncs())
            .field("wal_bytes", &self.wal_bytes())
            .field("block_cache_hits", &self.block_cache_hits())
            .field("block_cache_misses", &self.block_cache_misses())
            .field("stall_micros", &self.stall_micros())
            .finish()
    }
}
