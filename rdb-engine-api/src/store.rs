use std::fmt;

use bytes::Bytes;

use crate::{Durability, Key, Metric, Result};

/// What a storage library has to offer to become an [`Engine`](crate::Engine) through
/// [`Local`](crate::Local): synchronous, ordered, atomic, and nothing clever.
///
/// A store holds rows of opaque bytes in two keyspaces ([`Space`]) and never looks inside them:
/// conditions, versions, checksums and limits are `Local`'s business.
///
/// # Obligations
/// - **Reads are of committed state.** Whatever [`get`](Self::get), [`get_cached`](Self::get_cached) or
///   a [`Snapshot`] shows will be there after a crash that the level of its commit spares (C9); it is
///   never taken back. After a commit returned, reads that begin later see it (C1).
/// - **One committer.** `Local` calls [`commit`](Self::commit) from one thread, one call at a time.
///   Reads come from any thread, at any time, during commits too.
/// - **Opening is exclusive** (C12) and checks the format (C13): see [`DataDirectory`](crate::DataDirectory).
/// - **Dropping frees.** When the store is dropped, its directory can be opened again.
/// - **Errors.** [`Corrupt`](crate::ErrorKind::Corrupt) where stored bytes failed validation,
///   [`Internal`](crate::ErrorKind::Internal) or [`Unavailable`](crate::ErrorKind::Unavailable)
///   otherwise. Any error of `commit` is taken to mean *unknown*, and ends all writing (C10, C11).
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// A view of the whole store at one commit.
    type Snapshot<'a>: Snapshot
    where
        Self: 'a;

    /// What this store is; constant while it is open.
    fn info(&self) -> &StoreInfo;

    /// What an operator may want to know of this store beside what `Local` counts of any; begin the names with
    /// the store's. Cheap, and never waits for a disk. May be nothing.
    fn metrics(&self) -> Vec<Metric>;

    /// The row under a key, as of the latest commit. May wait for a disk.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>>;

    /// The same where it can be told without waiting for a disk, else [`Cached::Miss`]. It is called on
    /// threads that must not block.
    fn get_cached(&self, space: Space, key: &[u8]) -> Result<Cached>;

    /// A view as of the latest commit, which stays as it is whatever is committed meanwhile (C8). Taking
    /// one copies no data and holds up no commit.
    fn snapshot(&self) -> Result<Self::Snapshot<'_>>;

    /// Applies all changes at once or, over any crash, none (C2), and makes them and all earlier commits
    /// at least as durable as asked before it returns. Returns the level reached. A key occurs at most
    /// once in a change set. `Local` never asks above [`StoreInfo::best_durability`].
    ///
    /// Where syncing fails the store must not report success by trying again (C11).
    fn commit(&self, changes: ChangeSet, durability: Durability) -> Result<Durability>;
}

/// A view of a [`Store`] at one commit.
pub trait Snapshot {
    /// The row under a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>>;

    /// The rows under several keys, in the order of the keys, one of which may be there twice. There is no need
    /// to write this one, unless the library reads several keys for less than it takes to read each. `Local` asks
    /// for few at once, since all their rows are held together (C14).
    fn get_many(&self, space: Space, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        keys.iter().map(|key| self.get(space, key.as_bytes())).collect()
    }

    /// The rows of a span, ascending by key, or descending if `reverse`. An error ends the iteration.
    fn scan(&self, space: Space, span: &Span, reverse: bool) -> Result<Rows<'_>>;
}

/// The rows of a scan.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Row>> + 'a>;

/// A stored key and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// The bytes under it.
    pub value: Bytes,
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// The engine's short name, as `--engine` takes it.
    pub name: &'static str,
    /// The version of its format on disk (C13).
    pub format: u32,
    /// The best durability that [`commit`](Store::commit) can reach (C9).
    pub best_durability: Durability,
}

/// The keyspaces of a store. The same key in each is two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// The callers' records.
    Data,
    /// FlareDB's own rows, which can be many: a few that every commit rewrites; in order of time, one of a
    /// key's length for each record that expires (C15); one for each session, and for what each committed in a
    /// group (C17), until it is acknowledged; and, where the history is durable, one for each commit that it
    /// keeps, with its values (C16). All but the first are written once, and removed from the front.
    System,
}

/// A half-open range of keys: from `start` to before `end`, or to the last key. Never empty by its
/// bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first key; empty for the first there is.
    pub start: Bytes,
    /// The key behind the last; none for no end.
    pub end: Option<Bytes>,
}

/// Whether a read could be answered without waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached {
    /// The answer: the row, or that there is none.
    Hit(Option<Bytes>),
    /// It takes [`Store::get`] to tell.
    Miss,
}

/// What one commit changes. Each key of a space occurs at most once.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    changes: Vec<Change>,
}

impl ChangeSet {
    /// Nothing.
    pub const fn new() -> Self {
        Self { changes: Vec::new() }
    }

    /// Adds a change: a value to store, or none to remove the row.
    pub fn push(&mut self, space: Space, key: Bytes, value: Option<Bytes>) {
        self.changes.push(Change { space, key, value });
    }

    /// The number of changes.
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.changes.iter()
    }
}

impl IntoIterator for ChangeSet {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

impl<'a> IntoIterator for &'a ChangeSet {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A change of one row.
#[derive(Clone)]
pub struct Change {
    /// The keyspace.
    pub space: Space,
    /// The key. It may be a slice of a larger buffer: a store that keeps rows in memory copies it.
    pub key: Bytes,
    /// The bytes to store, in a buffer that holds no more than them and the key; none to remove the row.
    pub value: Option<Bytes>,
}

/// Values are user data: only their length is shown.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} `{}`", self.space, self.key[..self.key.len().min(64)].escape_ascii())?;
        match &self.value {
            Some(value) => write!(f, " = {} bytes", value.len()),
            None => f.write_str(" removed"),
        }
    }
}
