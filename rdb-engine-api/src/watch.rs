use std::pin::Pin;

use futures::Stream;

use crate::{Key, KeyRange, Record, Result, Version};

/// Commits in version order, each whole (C16).
pub type ChangeStream = Pin<Box<dyn Stream<Item = Result<CommittedBatch>> + Send>>;

/// What to watch: every commit later than a version that touches a range (C16).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watch {
    /// The keys to watch.
    pub range: KeyRange,
    /// Deliver commits later than this version; from the present on where there is none.
    pub after: Option<Version>,
}

impl Watch {
    /// A watch from the present on.
    pub const fn new(range: KeyRange) -> Self {
        Self { range, after: None }
    }

    /// Delivers commits later than this version.
    #[must_use]
    pub const fn after(mut self, version: Version) -> Self {
        self.after = Some(version);
        self
    }
}

/// A commit, as a watch delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedBatch {
    /// The commit's version.
    pub version: Version,
    /// What it did to the watched keys, in key order.
    pub ops: Vec<CommittedOp>,
}

/// What a commit did to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOp {
    /// The key.
    pub key: Key,
    /// The record after the commit; none where it was removed.
    pub record: Option<Record>,
}
