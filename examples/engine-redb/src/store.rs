use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rdb_engine_api::{
    Cached, ChangeSet, DataDirectory, Durability, Error, ErrorKind, Limits, LocalOptions, Metric, Result,
    Row, Rows, Snapshot, Space, Span, Store, StoreInfo,
};
use redb::{Builder, Database, OwnedAccessGuard, ReadOnlyTable, ReadableDatabase as _, TableDefinition};

/// The format is that of the tables below and of redb's file (C13).
const INFO: StoreInfo = StoreInfo { name: "redb", format: 1, best_durability: Durability::Synced };

/// redb orders `&[u8]` bytewise, as the contract orders keys.
type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const DATA: Table = Table::new("data");
const SYSTEM: Table = Table::new("system");

/// redb's file, in the directory that [`DataDirectory::store_path`] sets aside for it.
const FILE: &str = "data.redb";

/// How the redb engine is to be opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedbConfig {
    /// The data directory. It is made where it is missing, and belongs to one engine at a time (C12).
    pub path: PathBuf,
    /// The most bytes of pages that redb keeps in memory; 256 MiB by default.
    pub cache_bytes: usize,
    /// The limits and the default durability of the engine.
    pub local: LocalOptions,
}

impl RedbConfig {
    /// The defaults for a data directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), cache_bytes: 256 << 20, local: LocalOptions::default() }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.local.limits = limits;
        self
    }
}

/// A [`Store`] on redb: one file with a copy-on-write B+tree for each [`Space`].
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    // Last, so that the directory is freed when nothing uses it any more.
    _directory: DataDirectory,
}

impl RedbStore {
    /// Opens the store in a data directory, making it where there is none. Reads the whole file: redb
    /// verifies checksums at no other time.
    ///
    /// # Errors
    /// - Those of [`LocalOptions::check`] and [`DataDirectory::open`].
    /// - [`Corrupt`](ErrorKind::Corrupt) where redb finds its file damaged, and where a store that was made
    ///   has lost it (C13).
    pub fn open(config: &RedbConfig) -> Result<Self> {
        config.local.check(INFO.best_durability)?;
        let directory = DataDirectory::open(&config.path, INFO.name, INFO.format)?;
        let file = directory.store_path().join(FILE);
        let opened = ensure_made(&directory).and_then(|()| {
            let mut builder = Builder::new();
            builder.set_cache_size(config.cache_bytes).set_check_integrity_on_open(true);
            Ok(builder.open(&file)?)
        });
        let database = opened
            .map_err(|error| failed("cannot open redb database", error).with("path", file.display()))?;
        let store = Self { database, _directory: directory };
        // They are made with the file: one without them is not whole.
        store.snapshot()?;
        Ok(store)
    }
}

/// Makes the database beside its place and renames it when it is whole. Then notes that it was made, so that
/// a database that is lost is missed (C13) and not quietly begun anew.
fn ensure_made(directory: &DataDirectory) -> Result<(), redb::Error> {
    let made = directory.path().join("redb.made");
    if made.try_exists()? {
        return Ok(());
    }
    let store = directory.store_path();
    if !store.try_exists()? {
        let draft = directory.path().join("store.new");
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir(&draft)?,
        }
        let database = Database::create(draft.join(FILE))?;
        let transaction = database.begin_write()?;
        transaction.open_table(DATA)?;
        transaction.open_table(SYSTEM)?;
        transaction.commit()?;
        database.close()?;
        sync_directory(&draft)?;
        fs::rename(&draft, &store)?;
    }
    // Before the note: a power cut must not keep the note alone.
    sync_directory(directory.path())?;
    File::create(&made)?.sync_all()?;
    Ok(sync_directory(directory.path())?)
}

/// redb syncs what it writes into its file, and leaves to us that the file itself stays.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Store for RedbStore {
    type Snapshot<'a> = RedbSnapshot;

    fn info(&self) -> &StoreInfo {
        &INFO
    }

    /// redb tells little about itself without reading: what `Local` counts will do.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        self.snapshot()?.get(space, key)
    }

    /// Always a miss: redb does not tell whether a read would wait for its file.
    fn get_cached(&self, _: Space, _: &[u8]) -> Result<Cached> {
        Ok(Cached::Miss)
    }

    fn snapshot(&self) -> Result<RedbSnapshot> {
        let open = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            Ok(RedbSnapshot { data: transaction.open_table(DATA)?, system: transaction.open_table(SYSTEM)? })
        };
        open().map_err(|error| failed("cannot begin reading", error))
    }

    /// redb knows two levels. What it does not sync is kept in its own memory, where no kill spares it, so
    /// whoever asks for `process` gets `synced`, and is told so (C9).
    fn commit(&self, changes: ChangeSet, durability: Durability) -> Result<Durability> {
        let reached = match durability {
            Durability::Volatile => Durability::Volatile,
            _ => Durability::Synced,
        };
        write(&self.database, changes, reached).map_err(|error| failed("cannot commit", error))?;
        Ok(reached)
    }
}

/// A failed sync fails everything from then on until redb is opened again, so nothing here has to remember
/// it (C11).
fn write(database: &Database, changes: ChangeSet, durability: Durability) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    if durability == Durability::Volatile {
        transaction.set_durability(redb::Durability::None)?;
    }
    // In one phase, an acknowledged commit that is damaged looks like one that a crash cut short, and redb drops
    // it without a word. In two, for a second sync, it is told as damage (C13).
    transaction.set_two_phase_commit(true);
    {
        let mut data = transaction.open_table(DATA)?;
        let mut system = transaction.open_table(SYSTEM)?;
        for change in changes {
            let table = match change.space {
                Space::Data => &mut data,
                Space::System => &mut system,
            };
            match change.value {
                Some(value) => drop(table.insert(&*change.key, &*value)?),
                None => drop(table.remove(&*change.key)?),
            }
        }
    }
    Ok(transaction.commit()?)
}

/// A view of a [`RedbStore`] at one commit: both tables as of one read transaction, which they keep open.
pub struct RedbSnapshot {
    data: ReadOnlyTable<&'static [u8], &'static [u8]>,
    system: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl RedbSnapshot {
    fn table(&self, space: Space) -> &ReadOnlyTable<&'static [u8], &'static [u8]> {
        match space {
            Space::Data => &self.data,
            Space::System => &self.system,
        }
    }
}

impl Snapshot for RedbSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.table(space).get_owned(key).map_err(|error| failed("cannot read a row", error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn scan(&self, space: Space, span: &Span, reverse: bool) -> Result<Rows<'_>> {
        let end = span.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.table(space).range_owned::<&[u8]>((Bound::Included(&*span.start), end));
        let rows = rows.map_err(|error| failed("cannot begin a scan", error))?;
        Ok(if reverse { Box::new(rows.rev().map(row)) } else { Box::new(rows.map(row)) })
    }
}

type Guard = OwnedAccessGuard<&'static [u8]>;

/// A row is copied out of redb's page: a value that a caller keeps must not keep a view open.
fn row(found: redb::Result<(Guard, Guard)>) -> Result<Row> {
    let (key, value) = found.map_err(|error| failed("cannot read the next row", error))?;
    Ok(Row { key: Bytes::copy_from_slice(key.value()), value: Bytes::copy_from_slice(value.value()) })
}

/// The kind says what the caller should do about it.
fn failed(doing: &'static str, error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let kind = match &error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. } => ErrorKind::Corrupt,
        redb::Error::Io(error) => match error.kind() {
            // The file is gone, too short, or not redb's.
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                ErrorKind::Corrupt
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
            _ => ErrorKind::Unavailable,
        },
        redb::Error::DatabaseAlreadyOpen | redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Internal,
    };
    Error::new(kind, doing).because(error)
}
