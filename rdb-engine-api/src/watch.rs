use std::pin::Pin;
use std::time::Duration;

use futures::Stream;

use crate::{Key, KeyRange, Record, Result, Version};

/// What a watch delivers, in version order (C16). It ends only with an error:
/// - [`Exhausted`](crate::ErrorKind::Exhausted): the reader fell behind, and the history no longer has what
///   comes next; [`Error::version`](crate::Error::version) is the last version up to which everything was
///   delivered. Writers were not slowed down.
/// - [`Closed`](crate::ErrorKind::Closed): the engine was closed, or has stopped.
/// - [`Compacted`](crate::ErrorKind::Compacted): the history was cut for another reason, such as a restore.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent>> + Send>>;

/// What to watch: every commit later than a version that touches a range (C16).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watch {
    /// The keys to watch.
    pub range: KeyRange,
    /// Deliver commits later than this version; from the present on where there is none.
    pub after: Option<Version>,
    /// Whether to deliver what each commit replaced.
    pub previous: bool,
    /// How often to tell how far the watch has come where no commit tells it.
    pub progress: Duration,
}

impl Watch {
    /// How often a watch tells its progress unless it asks for something else.
    pub const PROGRESS: Duration = Duration::from_secs(5);

    /// A watch from the present on.
    pub const fn new(range: KeyRange) -> Self {
        Self { range, after: None, previous: false, progress: Self::PROGRESS }
    }

    /// Delivers commits later than this version.
    #[must_use]
    pub const fn after(mut self, version: Version) -> Self {
        self.after = Some(version);
        self
    }

    /// Delivers with each key what was there before. An engine records previous records only while
    /// somebody watches them (and for the history's age after that), so a watch of them can begin in the
    /// past only as far as they were recorded.
    #[must_use]
    pub const fn previous(mut self) -> Self {
        self.previous = true;
        self
    }

    /// Tells the progress this often. From 1 ms to a day; what is beyond is
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    #[must_use]
    pub const fn progress(mut self, every: Duration) -> Self {
        self.progress = every;
        self
    }
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A commit that touched the range.
    Commit(CommittedBatch),
    /// Every commit up to this version that touched the range has been delivered: a watch after it misses
    /// nothing.
    Progress(Version),
}

impl WatchEvent {
    /// The version up to which everything has been delivered with this event.
    pub const fn version(&self) -> Version {
        match self {
            Self::Commit(commit) => commit.version,
            Self::Progress(version) => *version,
        }
    }
}

/// A commit, as a watch delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedBatch {
    /// The commit's version.
    pub version: Version,
    /// Who made it.
    pub cause: Cause,
    /// What it did to the watched keys, in key order; never empty.
    pub ops: Vec<CommittedOp>,
}

impl CommittedBatch {
    /// A commit.
    pub const fn new(version: Version, cause: Cause, ops: Vec<CommittedOp>) -> Self {
        Self { version, cause, ops }
    }
}

/// Who made a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A caller's write.
    Write,
    /// The engine, which removed a record whose time was over (C15).
    Expiry,
}

/// What a commit did to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOp {
    /// The key.
    pub key: Key,
    /// The record after the commit; none where it was removed.
    pub record: Option<Record>,
    /// What was there before the commit.
    pub previous: Previous,
}

impl CommittedOp {
    /// What a commit did to a key.
    pub const fn new(key: Key, record: Option<Record>, previous: Previous) -> Self {
        Self { key, record, previous }
    }
}

/// What was under a key before a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Previous {
    /// The watch did not ask.
    NotAsked,
    /// There was no record.
    Absent,
    /// There was this record.
    Record(Record),
    /// There was a record, but those that the commit replaced are together beyond
    /// [`max_batch_bytes`](crate::Limits::max_batch_bytes), and this one was left out.
    Omitted,
}
