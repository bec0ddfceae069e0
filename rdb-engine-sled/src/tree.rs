use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdb_engine_api::{Clock, Error, ErrorKind, Result, SystemClock};
use sled::IVec;

use crate::error::guarded;

/// How long sled's threads may take to let go of the file. They finish within milliseconds; a stuck one
/// must not hang whoever closes the store.
const RELEASE: Duration = Duration::from_secs(10);

/// sled's one tree, in a directory of its own. Errors and panics of sled come out as ours.
pub(crate) struct Tree {
    db: sled::Db,
    // Behind the database, so that it is dropped after it.
    _released: Released,
}

impl Tree {
    /// Opens what is in the directory; makes it if there is nothing.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        let released = Released { path: path.to_owned() };
        // A failed open may have left a thread behind.
        released.wait()?;
        remove_unfinished_snapshots(path)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .use_compression(false)
            // The committer flushes, and only the committer: concurrent flushes deadlock.
            .flush_every_ms(None);
        let db = guarded("cannot open sled database", ErrorKind::Corrupt, || config.open())
            .map_err(|error| error.with("path", path.display()))?;
        Ok(Self { db, _released: released })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>> {
        guarded("cannot read from sled", ErrorKind::Internal, || self.db.get(key))
    }

    /// The first row from `start` to before `end`. One step of sled's: no batch comes in between.
    pub(crate) fn first_in(&self, start: Vec<u8>, end: Vec<u8>) -> Result<Option<(IVec, IVec)>> {
        self.range(start, end, false).next().transpose()
    }

    /// The rows from `start` to before `end`; stop at an error. Batches may come in between any two steps.
    pub(crate) fn range(
        &self,
        start: Vec<u8>,
        end: Vec<u8>,
        reverse: bool,
    ) -> impl Iterator<Item = Result<(IVec, IVec)>> + use<> {
        // Never unbounded: sled's backward search from the end of the tree starts at a key of 0xff bytes.
        let mut rows = self.db.range(start..end);
        std::iter::from_fn(move || {
            let row = guarded("cannot read from sled", ErrorKind::Internal, || {
                if reverse { rows.next_back() } else { rows.next() }.transpose()
            });
            row.transpose()
        })
    }

    /// Applies a batch, all at once for readers and over a crash.
    pub(crate) fn apply(&self, batch: sled::Batch) -> Result<()> {
        guarded("cannot write to sled", ErrorKind::Internal, || self.db.apply_batch(batch))
    }

    /// The bytes of sled's files, as the file system knows them.
    pub(crate) fn size_on_disk(&self) -> Result<u64> {
        guarded("cannot ask for sled's size", ErrorKind::Internal, || self.db.size_on_disk())
    }

    /// Hands everything applied to the operating system.
    pub(crate) fn flush(&self) -> Result<()> {
        guarded("cannot flush sled", ErrorKind::Internal, || self.db.flush()).map(drop)
    }
}

/// Without the rows: sled's own `Debug` prints them all.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

/// What a kill during an earlier open may leave. sled takes the unfinished file for its newest snapshot
/// and refuses to open (sled #1527); it is whole only once it has been renamed.
fn remove_unfinished_snapshots(path: &Path) -> Result<()> {
    let unusable = |error: io::Error| {
        Error::new(ErrorKind::Unavailable, "cannot tidy store directory")
            .with("path", path.display())
            .because(error)
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(error)),
    };
    for entry in entries {
        let entry = entry.map_err(unusable)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(unusable)?;
        }
    }
    Ok(())
}

/// Waits, when dropped, until sled's threads have let go of the database file.
///
/// sled's handle is gone before its writers are: without the wait, a store that was closed could not be
/// opened again at once (sled #1234, #1289).
struct Released {
    path: PathBuf,
}

impl Released {
    fn wait(&self) -> Result<()> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let mut pause = Duration::from_micros(50);
        while self.is_held()? {
            if clock.monotonic() > RELEASE {
                return Err(Error::new(ErrorKind::Unavailable, "sled does not let go of its database file")
                    .with("path", self.path.display()));
            }
            thread::park_timeout(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        Ok(())
    }

    fn is_held(&self) -> Result<bool> {
        let unusable = |error: io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot use sled's database file")
                .with("path", self.path.display())
                .because(error)
        };
        match File::open(self.path.join("db")) {
            // sled holds the same kind of lock; ours ends at once, whoever has a copy of the descriptor.
            Ok(file) => match file.try_lock() {
                Ok(()) => file.unlock().map(|()| false).map_err(unusable),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(unusable(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unusable(error)),
        }
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        // Nobody is left to tell; the next open waits again, and says what is wrong.
        let _ = self.wait();
    }
}
