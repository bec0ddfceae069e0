use std::path::PathBuf;
use std::thread;

use rdb_engine_api::{Durability, Error, ErrorKind, LocalOptions, Result};
use rocksdb::statistics::StatsLevel;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options};

/// The write buffer of FlareDB's own rows: short ones, of which one is rewritten by every commit, and records
/// that expire have one each.
const SYSTEM_WRITE_BUFFER_BYTES: usize = 8 << 20;

/// How to open the RocksDB engine: where, and how much of memory, disk and processors it may take.
///
/// ```
/// use rdb_engine_rocks::RocksConfig;
///
/// let mut config = RocksConfig::new("/var/lib/flaredb");
/// config.block_cache_bytes = 4 << 30;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RocksConfig {
    /// The data directory. It is made where it is missing; it is locked while the engine is open (C12).
    pub path: PathBuf,
    /// The size of the cache of uncompressed blocks, indexes and filters, in bytes: 256 MiB by default.
    /// What is in it can be read without waiting for a disk.
    pub block_cache_bytes: usize,
    /// The size at which a write buffer is written to a table file, in bytes: 64 MiB by default. Times
    /// `write_buffer_count` it bounds the write-ahead logs too, and so what an opening after a crash reads.
    pub write_buffer_bytes: usize,
    /// The most write buffers in memory, those being written out included: 4 by default, at least 2.
    /// Writes wait when all are full.
    pub write_buffer_count: u32,
    /// The most flushes and compactions at once: the number of processors by default, from 2 to 8.
    pub max_background_jobs: u32,
    /// The most table files kept open, 512 by default, which leaves room for connections below the usual
    /// limit of 1,024 descriptors; none for no bound, which spares a look-up in each read where the
    /// process may open as many files as there are.
    pub max_open_files: Option<u32>,
    /// The size of the bloom filters, in bits per key: 10 by default, which lets 1 of 100 reads of an absent
    /// key look into a file in vain; 0 for no filters.
    pub bloom_bits_per_key: f64,
    /// The compression of all levels but the last: lz4 by default.
    pub compression: Compression,
    /// The compression of the last level, which holds about nine tenths of the data: lz4 by default. Zstd takes
    /// less room, and twice the time of a read that is not in the block cache.
    pub bottommost_compression: Compression,
    /// The size of a table file, in bytes: 64 MiB by default.
    pub target_file_bytes: u64,
    /// The size of a block before compression, the least that is read from disk, in bytes: 4 KiB by default.
    /// Larger ones compress better and take less of the cache for indexes; a read of one record takes longer.
    pub block_bytes: usize,
    /// The options of what makes the store an engine: limits and default durability.
    pub local: LocalOptions,
}

/// How table files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast, to a half or so.
    Lz4,
    /// Slower, smaller.
    Zstd,
}

impl From<Compression> for DBCompressionType {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

impl RocksConfig {
    /// The defaults, in a directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let processors = thread::available_parallelism().map_or(2, |number| number.get().clamp(2, 8));
        Self {
            path: path.into(),
            block_cache_bytes: 256 << 20,
            write_buffer_bytes: 64 << 20,
            write_buffer_count: 4,
            max_background_jobs: processors as u32,
            max_open_files: Some(512),
            bloom_bits_per_key: 10.0,
            compression: Compression::Lz4,
            bottommost_compression: Compression::Lz4,
            target_file_bytes: 64 << 20,
            block_bytes: 4 << 10,
            local: LocalOptions::default(),
        }
    }

    /// Refuses what RocksDB would silently set right, or fail on at some later time.
    pub(crate) fn check(&self) -> Result<()> {
        self.local.check(Durability::Synced)?;
        let at_least = [
            ("block_cache_bytes", self.block_cache_bytes as u64, 1 << 20),
            ("write_buffer_bytes", self.write_buffer_bytes as u64, 64 << 10),
            ("write_buffer_count", self.write_buffer_count.into(), 2),
            ("max_background_jobs", self.max_background_jobs.into(), 2),
            ("max_open_files", self.max_open_files.unwrap_or(u32::MAX).into(), 32),
            ("target_file_bytes", self.target_file_bytes, 64 << 10),
            ("block_bytes", self.block_bytes as u64, 1 << 10),
        ];
        for (name, value, least) in at_least {
            if value < least {
                return Err(Error::new(ErrorKind::InvalidArgument, "configured size is too small")
                    .with("name", name)
                    .with("value", value)
                    .with("least", least));
            }
        }
        if !(0.0..=100.0).contains(&self.bloom_bits_per_key) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "bloom_bits_per_key is not between 0 and 100",
            )
            .with("value", self.bloom_bits_per_key));
        }
        Ok(())
    }

    /// RocksDB's options: of the whole database with the column family of data, and of the column family
    /// of FlareDB's own rows.
    pub(crate) fn options(&self) -> (Options, Options) {
        let cache = Cache::new_hyper_clock_cache(self.block_cache_bytes, 0);
        let mut data = self.column_family(&cache, self.write_buffer_bytes);
        set_durability(&mut data);
        set_housekeeping(&mut data);
        data.set_max_background_jobs(clamp(self.max_background_jobs));
        data.set_max_open_files(self.max_open_files.map_or(-1, clamp));
        let system = self.column_family(&cache, self.system_write_buffer_bytes());
        (data, system)
    }

    /// The size at which the write buffer of FlareDB's own rows is written out.
    pub(crate) fn system_write_buffer_bytes(&self) -> usize {
        self.write_buffer_bytes.min(SYSTEM_WRITE_BUFFER_BYTES)
    }

    /// The size at which RocksDB would write a buffer out by itself. The store does so long before, after
    /// a sync of the log: see `RocksStore::make_room`.
    fn never_reached(&self, write_buffer_bytes: usize) -> usize {
        let group = self.local.limits.max_batch_bytes.max(self.local.max_group_bytes);
        write_buffer_bytes.saturating_add(group).saturating_mul(4)
    }

    fn column_family(&self, cache: &Cache, write_buffer_bytes: usize) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_block_size(self.block_bytes);
        if self.bloom_bits_per_key > 0.0 {
            table.set_bloom_filter(self.bloom_bits_per_key, false);
        }
        // Else they are held outside the cache, and grow with the data without a bound (C14).
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);

        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(self.never_reached(write_buffer_bytes));
        // Buffers grow, and are measured, in steps of this size.
        options.set_arena_block_size((write_buffer_bytes / 8).min(1 << 20));
        options.set_max_write_buffer_number(clamp(self.write_buffer_count));
        options.set_target_file_size_base(self.target_file_bytes);
        // The first level as large as what the level above it holds when it is compacted, 4 buffers.
        options.set_max_bytes_for_level_base((write_buffer_bytes as u64).saturating_mul(4));
        options.set_compression_type(self.compression.into());
        options.set_bottommost_compression_type(self.bottommost_compression.into());
        options
    }
}

/// What the store's promises rest on. Some of it is RocksDB's default: spelled out, since a change of a
/// default must not change a promise.
fn set_durability(options: &mut Options) {
    // The default mode, point in time, opens after damage in the middle of a log with everything behind
    // it silently missing. This one refuses, but for a record torn by a crash at the end of a log.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // A log that was synced and is now missing or shorter is damage too.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    // Each record is handed to the operating system before its commit returns: process durability.
    options.set_manual_wal_flush(false);
    // Either would let a write be seen before it is in the log, or a snapshot change.
    options.set_unordered_write(false);
    options.set_enable_pipelined_write(false);
}

fn set_housekeeping(options: &mut Options) {
    options.enable_statistics();
    // No timers: they would ask for the time in every operation.
    options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    // A read that drops the last reference to an old state must not delete files on an async thread.
    options.set_avoid_unnecessary_blocking_io(true);
    // Spreads the writing out of table files, so that a sync of the log does not wait behind all of it.
    options.set_bytes_per_sync(1 << 20);
    options.set_max_manifest_file_size(64 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(4 << 20);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
}

fn clamp(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
