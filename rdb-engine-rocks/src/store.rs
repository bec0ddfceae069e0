use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use rdb_engine_api::{
    Cached, ChangeSet, DataDirectory, Durability, Error, ErrorKind, Floor, Key, Metric, Result, Rows,
    Snapshot, Space, Span, Store, StoreInfo,
};
use rocksdb::properties::CUR_SIZE_ACTIVE_MEM_TABLE;
use rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, FlushOptions, Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

use crate::error::failed;
use crate::scan::{SHARED_BYTES, Scan};
use crate::{RocksConfig, RocksStatistics, files, logs, metrics};

/// The engine's name, on the command line and in the mark of its directories.
const NAME: &str = "rocks";
/// The version of the format: which column families there are, and what they hold.
const FORMAT: u32 = 1;
/// The column family of FlareDB's own rows. The callers' records are in the default one.
const SYSTEM: &str = "system";
/// The most that a row takes in a batch beyond its bytes, near enough: its kind, its column family, two lengths.
const BATCH_OVERHEAD: usize = 12;
/// About what a row takes in a write buffer beyond its bytes in a batch.
const BUFFER_OVERHEAD: usize = 64;

/// A [`Store`] on RocksDB.
///
/// # How it keeps a store's promises
/// - **What can be read is as safe as its commit.** RocksDB's ordinary write path appends a batch to the
///   write-ahead log, syncs the log if the write asks for it, inserts the batch into the memory table, and
///   then publishes its sequence number. So nothing is seen before the log has it at the level asked for,
///   and a write that fails in the log is never seen. (The options that reorder this, unordered and
///   pipelined writes, are off.)
/// - **Levels.** Without a sync the log record is handed to the operating system before the commit returns:
///   [`Process`](Durability::Process). A sync covers every log that is not yet synced, so all earlier commits
///   too: [`Synced`](Durability::Synced).
/// - **A prefix survives.** A log is synced before the next one is begun. Else a power cut could take the
///   end of the one and leave the beginning of the other, and with it later commits without earlier ones.
///   So it is the store, not RocksDB, that decides when a write buffer is full.
/// - **Atomic.** A commit is one batch over both column families, and one record of the log with a checksum
///   of its own; the log is never off. Logs are synced before a table file that holds part of a commit
///   counts.
/// - **Damage is refused.** Log, manifest and blocks have checksums, checked whenever they are read. In a
///   log only a record that a crash may have torn, at the log's end, is passed over; anything else fails
///   the opening. After an orderly close, which notes the last sequence number, an end that is torn or
///   missing fails it too.
#[derive(Debug)]
pub struct RocksStore {
    info: StoreInfo,
    statistics: RocksStatistics,
    settings: Settings,
    buffers: Buffers,
    /// Whether a commit failed, and nobody knows what of it is in the log (C11).
    failed: AtomicBool,
    db: DB,
    /// Behind the database: it notes what that has left when it was closed.
    floor: Floor,
    /// The last field: the directory is freed when the database is closed.
    _directory: DataDirectory,
}

/// When the write buffers are written out.
#[derive(Debug)]
struct Buffers {
    data_bytes: usize,
    system_bytes: usize,
    /// How much may be written between two looks at their sizes.
    look_every: usize,
    /// About how much was written since the last look.
    written: AtomicUsize,
}

impl Buffers {
    fn new(config: &RocksConfig) -> Self {
        let (data_bytes, system_bytes) = (config.write_buffer_bytes, config.system_write_buffer_bytes());
        Self { data_bytes, system_bytes, look_every: system_bytes / 8, written: AtomicUsize::new(0) }
    }
}

/// Built once: each is an allocation, and reads are many.
struct Settings {
    read: ReadOptions,
    read_cached: ReadOptions,
    write: WriteOptions,
    write_synced: WriteOptions,
}

impl Settings {
    fn new() -> Self {
        let mut read_cached = read_options();
        read_cached.set_read_tier(ReadTier::BlockCache);
        let mut write_synced = WriteOptions::default();
        write_synced.set_sync(true);
        Self { read: read_options(), read_cached, write: WriteOptions::default(), write_synced }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings")
    }
}

fn read_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options
}

impl RocksStore {
    /// Opens the store of a data directory, making it where it is missing or empty.
    ///
    /// # Errors
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) for sizes that make no sense, and for a directory
    ///   that is another engine's, of another format, a stranger's, or not to be written.
    /// - [`Unavailable`](ErrorKind::Unavailable) where another opener holds the directory.
    /// - [`Corrupt`](ErrorKind::Corrupt) where files are damaged or gone.
    /// - [`Exhausted`](ErrorKind::Exhausted) where the disk is full.
    pub fn open(config: &RocksConfig) -> Result<Self> {
        config.check()?;
        let directory = DataDirectory::open(&config.path, NAME, FORMAT)?;
        let path = files::prepare(&directory, |path| {
            let (mut data, system) = config.options();
            data.create_if_missing(true);
            data.create_missing_column_families(true);
            open_database(path, &data, system).map(drop)
        })?;
        logs::check(&path)?;
        // Nothing is created here: what is missing from a database that was whole is damage.
        let (data, system) = config.options();
        let db = open_database(&path, &data, system)?;
        let floor = Floor::check(&directory, db.latest_sequence_number())?;
        Ok(Self {
            info: StoreInfo { name: NAME, format: FORMAT, best_durability: Durability::Synced },
            statistics: RocksStatistics::new(data),
            settings: Settings::new(),
            buffers: Buffers::new(config),
            failed: AtomicBool::new(false),
            db,
            floor,
            _directory: directory,
        })
    }

    /// The counters of this store.
    pub fn statistics(&self) -> &RocksStatistics {
        &self.statistics
    }

    fn system(&self) -> Result<&ColumnFamily> {
        self.db
            .cf_handle(SYSTEM)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "database is open without its system rows"))
    }

    fn data(&self) -> Result<&ColumnFamily> {
        self.db
            .cf_handle(rocksdb::DEFAULT_COLUMN_FAMILY_NAME)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "database is open without its records"))
    }

    /// Before a commit of about so many bytes: where those before it have filled a write buffer, syncs the
    /// log and lets both buffers be written out in the background, which begins a new log. Waits where that
    /// would make writes stall.
    fn make_room(&self, bytes: usize) -> Result<()> {
        let buffers = &self.buffers;
        // Without this commit, which is in no buffer yet: its bytes count for the next look.
        if buffers.written.fetch_add(bytes, Ordering::Relaxed) < buffers.look_every {
            return Ok(());
        }
        buffers.written.store(bytes, Ordering::Relaxed);
        let families = [self.data()?, self.system()?];
        let is_full = |family, limit: usize| {
            let size = self.db.property_int_value_cf(family, CUR_SIZE_ACTIVE_MEM_TABLE);
            let size = size.map_err(|error| failed("cannot look at a write buffer", error))?;
            Ok(size.unwrap_or_default() >= limit as u64)
        };
        if !is_full(families[0], buffers.data_bytes)? && !is_full(families[1], buffers.system_bytes)? {
            return Ok(());
        }
        self.db.flush_wal(true).map_err(|error| failed("cannot sync the log", error))?;
        let mut in_background = FlushOptions::default();
        in_background.set_wait(false);
        self.db
            .flush_cfs_opt(&families, &in_background)
            .map_err(|error| failed("cannot write out the write buffers", error))
    }

    fn read(&self, space: Space, key: &[u8], options: &ReadOptions) -> Result<Read<'_>> {
        Ok(match space {
            Space::Data => self.db.get_pinned_opt(key, options),
            Space::System => self.db.get_pinned_cf_opt(self.system()?, key, options),
        })
    }
}

fn open_database(path: &Path, data: &Options, system: Options) -> Result<DB> {
    DB::open_cf_with_opts(data, path, [(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, data.clone()), (SYSTEM, system)])
        .map_err(|error| failed("cannot open database", error).with("path", path.display()))
}

type Read<'a> = Result<Option<DBPinnableSlice<'a>>, rocksdb::Error>;

/// The one copy between the block cache and the caller: a block must not stay pinned for as long as someone
/// keeps a value.
fn copied(read: Read<'_>) -> Result<Option<Bytes>, rocksdb::Error> {
    read.map(|found| found.map(|value| Bytes::copy_from_slice(&value)))
}

impl Store for RocksStore {
    type Snapshot<'a> = RocksSnapshot<'a>;

    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        match (self.data(), self.system()) {
            (Ok(data), Ok(system)) => metrics::of(&self.db, data, system, &self.statistics),
            _ => Vec::new(),
        }
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        copied(self.read(space, key, &self.settings.read)?)
            .map_err(|error| failed("cannot read a row", error))
    }

    /// Looks into the memory tables and the block cache alone. At this read tier RocksDB answers
    /// "incomplete" where it would have to open a table file or to read a filter, an index or a data block,
    /// whether or not all files are kept open. What is left are short mutexes, and the clean-up of a state
    /// whose last reader this was, which the options leave to a background thread.
    fn get_cached(&self, space: Space, key: &[u8]) -> Result<Cached> {
        match copied(self.read(space, key, &self.settings.read_cached)?) {
            Ok(found) => Ok(Cached::Hit(found)),
            Err(error) if error.kind() == rocksdb::ErrorKind::Incomplete => Ok(Cached::Miss),
            Err(error) => Err(failed("cannot read a row", error)),
        }
    }

    fn snapshot(&self) -> Result<RocksSnapshot<'_>> {
        let snapshot = self.db.snapshot();
        let mut read = read_options();
        read.set_snapshot(&snapshot);
        Ok(RocksSnapshot { store: self, read, snapshot })
    }

    fn commit(&self, changes: ChangeSet, durability: Durability) -> Result<Durability> {
        // A sync that failed once is not to be believed when it is tried again at the close (C11).
        self.write(changes, durability).inspect_err(|_| self.failed.store(true, Ordering::Release))
    }
}

impl RocksStore {
    fn write(&self, changes: ChangeSet, durability: Durability) -> Result<Durability> {
        let bytes =
            changes.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Bytes::len));
        let bytes = bytes.sum::<usize>() + changes.len() * BATCH_OVERHEAD;
        let mut batch = WriteBatch::with_capacity_bytes(bytes);
        for change in &changes {
            match (change.space, &change.value) {
                (Space::Data, Some(value)) => batch.put(&change.key, value),
                (Space::Data, None) => batch.delete(&change.key),
                (Space::System, Some(value)) => batch.put_cf(self.system()?, &change.key, value),
                (Space::System, None) => batch.delete_cf(self.system()?, &change.key),
            }
        }
        self.make_room(batch.size_in_bytes() + changes.len() * BUFFER_OVERHEAD)?;
        let (options, reached) = match durability {
            Durability::Volatile | Durability::Process => (&self.settings.write, Durability::Process),
            Durability::Synced => (&self.settings.write_synced, Durability::Synced),
        };
        self.db.write_opt(batch, options).map_err(|error| failed("cannot commit", error))?;
        Ok(reached)
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        // What a power cut may still take away must not be noted.
        if !self.failed.load(Ordering::Acquire) && self.db.flush_wal(true).is_ok() {
            self.floor.set(self.db.latest_sequence_number());
        }
    }
}

/// A view of a [`RocksStore`]: a sequence number that RocksDB keeps all rows of. While it lives, rows that
/// were overwritten or removed since keep their place on the disk.
pub struct RocksSnapshot<'a> {
    store: &'a RocksStore,
    /// Of this sequence number. Built once: each is an allocation.
    read: ReadOptions,
    snapshot: rocksdb::Snapshot<'a>,
}

impl fmt::Debug for RocksSnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksSnapshot")
            .field("sequence", &self.snapshot.sequence_number())
            .finish_non_exhaustive()
    }
}

impl Snapshot for RocksSnapshot<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        copied(self.store.read(space, key, &self.read)?).map_err(|error| failed("cannot read a row", error))
    }

    fn get_many(&self, space: Space, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let store = self.store;
        let family = match space {
            Space::Data => store.data()?,
            Space::System => store.system()?,
        };
        // Not sorted: RocksDB does so itself.
        let rows = store.db.batched_multi_get_cf_opt(family, keys, false, &self.read);
        rows.into_iter().map(|row| copied(row).map_err(|error| failed("cannot read a row", error))).collect()
    }

    fn scan(&self, space: Space, span: &Span, reverse: bool) -> Result<Rows<'_>> {
        let mut options = read_options();
        if !span.start.is_empty() {
            options.set_iterate_lower_bound(&span.start[..]);
        }
        if let Some(end) = &span.end {
            options.set_iterate_upper_bound(&end[..]);
        }
        // A long scan would push out what point reads find without waiting. It reads ahead by itself, the
        // further the longer it goes.
        options.fill_cache(false);
        let rows = match space {
            Space::Data => self.snapshot.raw_iterator_opt(options),
            Space::System => self.snapshot.raw_iterator_cf_opt(self.store.system()?, options),
        };
        let most = match space {
            Space::Data => SHARED_BYTES,
            // What is read of these is kept one by one.
            Space::System => 0,
        };
        Ok(Box::new(Scan::new(rows, reverse, most)))
    }
}
