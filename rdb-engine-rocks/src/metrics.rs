use rdb_engine_api::{Metric, MetricUnit, MetricValue};
use rocksdb::properties::{
    ACTUAL_DELAYED_WRITE_RATE, BACKGROUND_ERRORS, BLOCK_CACHE_CAPACITY, BLOCK_CACHE_PINNED_USAGE,
    BLOCK_CACHE_USAGE, CUR_SIZE_ALL_MEM_TABLES, ESTIMATE_LIVE_DATA_SIZE, ESTIMATE_NUM_KEYS,
    ESTIMATE_PENDING_COMPACTION_BYTES, ESTIMATE_TABLE_READERS_MEM, IS_WRITE_STOPPED, NUM_IMMUTABLE_MEM_TABLE,
    NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES, NUM_SNAPSHOTS, OLDEST_SNAPSHOT_TIME, PropName,
    TOTAL_SST_FILES_SIZE,
};
use rocksdb::{ColumnFamily, DB};

use crate::RocksStatistics;

/// RocksDB's levels of table files, unless told otherwise.
const LEVELS: usize = 7;

/// What RocksDB knows about itself. It asks for no file; its mutex is held for short times.
pub(crate) fn of(
    db: &DB,
    data: &ColumnFamily,
    system: &ColumnFamily,
    statistics: &RocksStatistics,
) -> Vec<Metric> {
    let mut metrics = counted(statistics);
    let state = State { db, data, system };
    metrics.extend(state.memory());
    metrics.extend(state.background());
    metrics.extend(state.data());
    metrics.extend(state.levels());
    metrics
}

/// What has happened since the opening.
fn counted(statistics: &RocksStatistics) -> Vec<Metric> {
    let bytes = |name, help, count| Metric::counter(name, help, count).in_unit(MetricUnit::Bytes);
    let stalled = MetricValue::Counter(statistics.stall_micros() as f64 / 1e6);
    vec![
        Metric::counter(
            "rocksdb_block_cache_hits",
            "Blocks found in the block cache",
            statistics.block_cache_hits(),
        ),
        Metric::counter(
            "rocksdb_block_cache_misses",
            "Blocks not found in the block cache",
            statistics.block_cache_misses(),
        ),
        Metric::counter(
            "rocksdb_bloom_filter_useful",
            "Reads of a table file that a bloom filter has spared",
            statistics.bloom_filter_useful(),
        ),
        Metric::counter("rocksdb_wal_syncs", "Syncs of the write-ahead log", statistics.wal_syncs()),
        bytes("rocksdb_wal_written", "Bytes written to the write-ahead log", statistics.wal_bytes()),
        bytes("rocksdb_written", "Bytes of keys and values committed", statistics.bytes_written()),
        bytes("rocksdb_read", "Bytes of values read by key", statistics.bytes_read()),
        bytes("rocksdb_scanned", "Bytes of keys and values read in scans", statistics.bytes_scanned()),
        bytes(
            "rocksdb_flush_written",
            "Bytes written to table files from write buffers",
            statistics.flush_bytes_written(),
        ),
        bytes(
            "rocksdb_compaction_read",
            "Bytes read from table files by compactions",
            statistics.compaction_bytes_read(),
        ),
        bytes(
            "rocksdb_compaction_written",
            "Bytes written to table files by compactions",
            statistics.compaction_bytes_written(),
        ),
        Metric::new("rocksdb_stall", "Time that writes waited for flushes and compactions", stalled)
            .in_unit(MetricUnit::Seconds),
    ]
}

/// What stands now: in the two column families, or in the whole database.
struct State<'a> {
    db: &'a DB,
    data: &'a ColumnFamily,
    system: &'a ColumnFamily,
}

impl State<'_> {
    /// A property of the column family of records, or of the whole database; not a number where RocksDB does
    /// not tell.
    fn of_data(&self, property: &PropName) -> f64 {
        number(self.db, self.data, property)
    }

    fn of_both(&self, property: &PropName) -> f64 {
        number(self.db, self.data, property) + number(self.db, self.system, property)
    }

    fn memory(&self) -> Vec<Metric> {
        vec![
            bytes("rocksdb_block_cache_usage", "Bytes in the block cache", self.of_data(BLOCK_CACHE_USAGE)),
            bytes(
                "rocksdb_block_cache_pinned",
                "Bytes in the block cache that are in use and cannot leave it",
                self.of_data(BLOCK_CACHE_PINNED_USAGE),
            ),
            bytes(
                "rocksdb_block_cache_capacity",
                "Bytes that the block cache may hold",
                self.of_data(BLOCK_CACHE_CAPACITY),
            ),
            bytes(
                "rocksdb_write_buffers",
                "Bytes in write buffers, those being written out included",
                self.of_both(CUR_SIZE_ALL_MEM_TABLES),
            ),
            Metric::gauge(
                "rocksdb_write_buffers_waiting",
                "Full write buffers that are not written out yet",
                self.of_both(NUM_IMMUTABLE_MEM_TABLE),
            ),
            bytes(
                "rocksdb_table_readers",
                "Bytes that open table files take outside of the block cache, estimated",
                self.of_both(ESTIMATE_TABLE_READERS_MEM),
            ),
        ]
    }

    fn background(&self) -> Vec<Metric> {
        vec![
            Metric::gauge(
                "rocksdb_flushes_running",
                "Write buffers being written out now",
                self.of_data(NUM_RUNNING_FLUSHES),
            ),
            Metric::gauge(
                "rocksdb_compactions_running",
                "Compactions running now",
                self.of_data(NUM_RUNNING_COMPACTIONS),
            ),
            bytes(
                "rocksdb_compaction_pending",
                "Bytes that compactions have to rewrite, estimated",
                self.of_both(ESTIMATE_PENDING_COMPACTION_BYTES),
            ),
            Metric::gauge(
                "rocksdb_writes_stopped",
                "1 while RocksDB lets no write through until flushes and compactions have caught up, else 0",
                self.of_data(IS_WRITE_STOPPED),
            ),
            bytes(
                "rocksdb_delayed_write_rate",
                "Bytes of writes a second that RocksDB lets through while it slows them down; 0 while it does not",
                self.of_data(ACTUAL_DELAYED_WRITE_RATE),
            ),
            Metric::new(
                "rocksdb_background_errors",
                "Flushes and compactions that failed",
                MetricValue::Counter(self.of_data(BACKGROUND_ERRORS)),
            ),
        ]
    }

    fn data(&self) -> Vec<Metric> {
        let snapshots = self.of_data(NUM_SNAPSHOTS);
        let oldest = if snapshots > 0.0 { self.of_data(OLDEST_SNAPSHOT_TIME) } else { f64::NAN };
        let oldest = MetricValue::Gauge(oldest);
        vec![
            Metric::gauge("rocksdb_keys", "Keys of records, estimated", self.of_data(ESTIMATE_NUM_KEYS)),
            bytes(
                "rocksdb_live_data",
                "Bytes of records that nobody has replaced or removed, estimated",
                self.of_data(ESTIMATE_LIVE_DATA_SIZE),
            ),
            bytes(
                "rocksdb_table_files_total_size",
                "Bytes of all table files, those included that only a scan still holds",
                self.of_both(TOTAL_SST_FILES_SIZE),
            ),
            Metric::gauge("rocksdb_snapshots", "Snapshots open now: of scans, mostly", snapshots),
            Metric::new(
                "rocksdb_oldest_snapshot_timestamp",
                "When the oldest open snapshot was taken; not a number where there is none",
                oldest,
            )
            .in_unit(MetricUnit::Seconds),
        ]
    }

    /// Table files by level, of both column families.
    fn levels(&self) -> Vec<Metric> {
        let mut levels = [(0_u64, 0_u64); LEVELS];
        for file in self.db.live_files().unwrap_or_default() {
            let level = usize::try_from(file.level).ok().and_then(|level| levels.get_mut(level));
            if let Some((files, size)) = level {
                *files += 1;
                *size += file.size as u64;
            }
        }
        let metrics = levels.iter().enumerate().flat_map(|(level, (files, size))| {
            let files = Metric::gauge("rocksdb_table_files", "Table files, by level", *files as f64);
            let size = bytes("rocksdb_table_files_size", "Bytes of table files, by level", *size as f64);
            [files, size].map(|metric| metric.with_label("level", level.to_string()))
        });
        metrics.collect()
    }
}

fn number(db: &DB, family: &ColumnFamily, property: &PropName) -> f64 {
    let value = db.property_int_value_cf(family, property);
    value.ok().flatten().map_or(f64::NAN, |value| value as f64)
}

fn bytes(name: &'static str, help: &'static str, value: f64) -> Metric {
    Metric::new(name, help, MetricValue::Gauge(value)).in_unit(MetricUnit::Bytes)
}
