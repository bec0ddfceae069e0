use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rdb_engine_api::{
    Cached, ChangeSet, DataDirectory, Durability, Error, ErrorKind, Floor, Metric, Result, Rows, Snapshot,
    Space, Span, Store, StoreInfo,
};
use sled::{Batch, IVec};

use crate::codec::{
    self, FORMAT, KeyPrefix, MAX_SEQUENCE, STATE_KEY, Sequence, decode_state, decode_value, encode_state,
    encode_value,
};
use crate::error::damaged;
use crate::garbage::Garbage;
use crate::scan::Shown;
use crate::tree::Tree;
use crate::views::{View, Views};
use crate::{SledConfig, metrics};

/// The file that says that the store was made: from then on, a missing store is a lost one.
const MADE: &str = "sled.made";

/// A [`Store`] on sled, with several versions of each row so that a view stays as it is.
///
/// Each commit has a sequence number and writes its rows under it; readers show the newest version that
/// is not newer than their watermark. The watermark moves on when a commit has returned from sled.
/// Versions that no view can show are removed by later commits, some at a time.
#[derive(Debug)]
pub struct SledStore {
    info: StoreInfo,
    views: Views,
    committer: Mutex<Committer>,
    /// The length of the committer's queue of garbage, to be told without waiting for a commit.
    garbage: AtomicUsize,
    tree: Tree,
    // Behind the tree: what it notes must have been synced by sled's own close.
    _floor: Arc<Floor>,
    // Last, so that the directory is freed when nothing uses it any more.
    _directory: DataDirectory,
}

#[derive(Debug)]
struct Committer {
    sequence: Sequence,
    garbage: Garbage,
    /// Whether a commit failed, and nobody knows what of it is in the tree (C11).
    stopped: bool,
    /// Knows the last commit, unless one failed: sled takes the first damaged message in its log for the
    /// log's end, and quietly goes on from there.
    floor: Arc<Floor>,
}

impl SledStore {
    /// Opens the store in a data directory, making it where there is none.
    ///
    /// # Errors
    /// - Those of [`DataDirectory::open`].
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) for a cache below
    ///   [`SledConfig::MIN_CACHE_BYTES`].
    /// - [`Corrupt`](ErrorKind::Corrupt) where sled cannot make sense of its files, and where a store that
    ///   was made has lost them (C13).
    pub fn open(config: &SledConfig) -> Result<Self> {
        if config.cache_bytes < SledConfig::MIN_CACHE_BYTES {
            return Err(Error::new(ErrorKind::InvalidArgument, "cache is too small")
                .with("bytes", config.cache_bytes)
                .with("least", SledConfig::MIN_CACHE_BYTES));
        }
        config.local.check(Durability::Process)?;
        let directory = DataDirectory::open(&config.path, "sled", FORMAT)?;
        let path = directory.store_path();
        ensure_made(&directory, &path, config.cache_bytes)?;
        let tree = Tree::open(&path, config.cache_bytes)?;
        let state = tree
            .get(&STATE_KEY)?
            .ok_or_else(|| damaged("sled database has lost its rows").with("path", path.display()))?;
        let sequence = decode_state(&state)?;
        let floor = Arc::new(Floor::check(&directory, sequence)?);
        floor.set(sequence);
        Ok(Self {
            info: StoreInfo { name: "sled", format: FORMAT, best_durability: Durability::Process },
            views: Views::new(sequence),
            committer: Mutex::new(Committer {
                sequence,
                garbage: Garbage::recover(sequence),
                stopped: false,
                floor: Arc::clone(&floor),
            }),
            garbage: AtomicUsize::new(0),
            tree,
            _floor: floor,
            _directory: directory,
        })
    }
}

/// Makes the store beside its place and renames it when it is whole, so that a store in its place has its
/// first row; and notes that it was made, so that it is never made twice.
fn ensure_made(directory: &DataDirectory, path: &Path, cache_bytes: u64) -> Result<()> {
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Unavailable, "cannot make sled store")
            .with("path", path.display())
            .because(error)
    };
    let made = directory.path().join(MADE);
    let was_made = made.try_exists().map_err(failed)?;
    if !path.try_exists().map_err(failed)? {
        if was_made {
            return Err(damaged("sled store is missing from its data directory").with("path", path.display()));
        }
        let draft = directory.path().join("store.new");
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let tree = Tree::open(&draft, cache_bytes)?;
        let mut batch = Batch::default();
        batch.insert(&STATE_KEY, &encode_state(0));
        tree.apply(batch)?;
        tree.flush()?;
        drop(tree);
        sync_directory(&draft).map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)?;
        // Before the note: a power cut must not keep the note alone.
        sync_directory(directory.path()).map_err(failed)?;
    }
    if !was_made {
        File::create(&made).and_then(|file| file.sync_all()).map_err(failed)?;
        sync_directory(directory.path()).map_err(failed)?;
    }
    // sled would take a missing or empty file for a new database, and start to fill it.
    match fs::metadata(path.join("db")) {
        Ok(file) if file.len() > 0 => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Err(damaged("sled database file is missing or empty").with("path", path.display())),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Store for SledStore {
    type Snapshot<'a> = SledSnapshot<'a>;

    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics::of(&self.tree, &self.views, self.garbage.load(Ordering::Relaxed))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        self.snapshot()?.get(space, key)
    }

    /// Always a miss: sled does not tell whether a read would wait for its file.
    fn get_cached(&self, _: Space, _: &[u8]) -> Result<Cached> {
        Ok(Cached::Miss)
    }

    fn snapshot(&self) -> Result<SledSnapshot<'_>> {
        Ok(SledSnapshot { tree: &self.tree, view: self.views.open() })
    }

    fn commit(&self, changes: ChangeSet, durability: Durability) -> Result<Durability> {
        if durability > self.info.best_durability {
            return Err(Error::new(ErrorKind::Unsupported, "sled does not reach this durability")
                .with("durability", durability)
                .with("best", self.info.best_durability));
        }
        let mut committer = self.committer.lock();
        if committer.stopped {
            return Err(Error::new(ErrorKind::Closed, "store has stopped after a failed commit"));
        }
        // Until the commit has returned, in whatever way: a panic counts as a failure.
        committer.stopped = true;
        committer.floor.forget();
        let reached = committer.commit(self, changes, durability)?;
        committer.stopped = false;
        committer.floor.set(committer.sequence);
        self.garbage.store(committer.garbage.len(), Ordering::Relaxed);
        Ok(reached)
    }
}

impl Committer {
    fn commit(
        &mut self,
        store: &SledStore,
        changes: ChangeSet,
        durability: Durability,
    ) -> Result<Durability> {
        let sequence = self.sequence + 1;
        if sequence > MAX_SEQUENCE {
            return Err(Error::new(ErrorKind::Exhausted, "sequence numbers are used up"));
        }
        let budget = 64 + 2 * changes.len();
        let mut batch = Batch::default();
        let (mut obsolete, mut is_change) = (Vec::new(), false);
        for change in changes {
            let prefix = KeyPrefix::new(change.space, &change.key);
            let newest = newest(&store.tree, &prefix, MAX_SEQUENCE)?;
            let is_present = match &newest {
                Some((_, value)) => decode_value(value)?.is_some(),
                None => false,
            };
            if change.value.is_none() && !is_present {
                continue;
            }
            is_change = true;
            batch.insert(prefix.row(sequence), encode_value(change.value.as_deref()));
            obsolete.extend(newest.map(|(row, _)| row.to_vec()));
        }
        if is_change {
            self.garbage.collect(&store.tree, &store.views.in_use(), budget, &mut batch, &mut obsolete)?;
            let rows = self.garbage.record(sequence, &obsolete, &mut batch);
            batch.insert(&STATE_KEY, &encode_state(sequence));
            store.tree.apply(batch)?;
            self.sequence = sequence;
            self.garbage.add(rows);
        }
        if durability >= Durability::Process {
            store.tree.flush()?;
        }
        // Only now: what readers see must outlive what the answer promises to outlive (C9).
        store.views.publish(self.sequence);
        Ok(durability)
    }
}

/// The newest version of a key that a view of the commits up to `watermark` shows.
fn newest(tree: &Tree, prefix: &KeyPrefix, watermark: Sequence) -> Result<Option<(IVec, IVec)>> {
    tree.first_in(prefix.row(watermark), prefix.end())
}

/// A view of a [`SledStore`] at one commit.
#[derive(Debug)]
pub struct SledSnapshot<'a> {
    tree: &'a Tree,
    view: View<'a>,
}

impl Snapshot for SledSnapshot<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let Some((_, value)) = newest(self.tree, &KeyPrefix::new(space, key), self.view.sequence())? else {
            return Ok(None);
        };
        Ok(decode_value(&value)?.map(Bytes::copy_from_slice))
    }

    fn scan(&self, space: Space, span: &Span, reverse: bool) -> Result<Rows<'_>> {
        let (start, end) = codec::span_bounds(space, span);
        let versions = self.tree.range(start, end, reverse);
        Ok(Box::new(Shown::new(versions, self.view.sequence(), reverse)))
    }
}

#[cfg(test)]
mod tests;
