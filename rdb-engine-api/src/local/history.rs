//! The latest commits, from which watches read (C16).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::{CommittedBatch, CommittedOp, Limits, Previous, Version};

/// Commits that are compacted at once because of their age, so that a long history does not hold anybody up.
const AGED_AT_ONCE: usize = 4_096;

/// The latest commits, oldest first: bounded in operations, bytes and age.
///
/// The latest of all is kept whatever its size, so that who keeps up is delivered it.
#[derive(Debug)]
pub(super) struct History {
    max_ops: usize,
    max_bytes: usize,
    age: Duration,
    commits: VecDeque<Kept>,
    ops: usize,
    bytes: usize,
    /// All later commits are kept.
    floor: Version,
    /// The version of the latest commit, kept or not.
    head: Version,
}

/// A commit in the history.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) commit: Arc<CommittedBatch>,
    version: Version,
    bytes: usize,
    /// The monotonic time of the commit.
    at: Duration,
}

impl Kept {
    pub(super) fn new(mut commit: CommittedBatch, at: Duration) -> Self {
        let bytes = bytes_of(&commit);
        commit.ops.shrink_to_fit();
        Self { version: commit.version, bytes, at, commit: Arc::new(commit) }
    }
}

/// What a commit in the history takes: its keys and values, and what holds them, which is most of a short one.
pub(super) fn bytes_of(commit: &CommittedBatch) -> usize {
    // An `Arc` counts its owners beside the commit.
    let holder = size_of::<Kept>() + 2 * size_of::<usize>() + size_of::<CommittedBatch>();
    holder + commit.ops.iter().map(op_bytes).sum::<usize>()
}

fn op_bytes(op: &CommittedOp) -> usize {
    let previous = match &op.previous {
        Previous::Record(record) => record.value.len(),
        Previous::NotAsked | Previous::Absent | Previous::Omitted => 0,
    };
    let value = op.record.as_ref().map_or(0, |record| record.value.len());
    size_of::<CommittedOp>() + op.key.len() + value + previous
}

impl History {
    /// An empty history behind a commit.
    pub(super) fn new(limits: &Limits, head: Version) -> Self {
        Self {
            max_ops: limits.max_history_ops,
            max_bytes: limits.max_history_bytes,
            age: limits.history_age,
            commits: VecDeque::new(),
            ops: 0,
            bytes: 0,
            floor: head,
            head,
        }
    }

    pub(super) fn floor(&self) -> Version {
        self.floor
    }

    pub(super) fn head(&self) -> Version {
        self.head
    }

    pub(super) fn ops(&self) -> usize {
        self.ops
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The monotonic time at which the oldest commit has reached the age to be forgotten.
    pub(super) fn ages_at(&self) -> Option<Duration> {
        self.commits.front().map(|kept| kept.at.saturating_add(self.age))
    }

    /// How long ago the oldest commit was made.
    pub(super) fn oldest(&self, now: Duration) -> Duration {
        self.commits.front().map_or(Duration::ZERO, |kept| now.saturating_sub(kept.at))
    }

    /// Adds a commit behind all others.
    pub(super) fn push(&mut self, kept: Kept) {
        self.head = kept.version;
        self.ops += kept.commit.ops.len();
        self.bytes += kept.bytes;
        self.commits.push_back(kept);
    }

    /// Takes out what is beyond the bounds, oldest first.
    pub(super) fn compact(&mut self, now: Duration) -> Vec<Kept> {
        let mut compacted = Vec::new();
        while let Some(oldest) = self.commits.front() {
            let is_full = self.ops > self.max_ops || self.bytes > self.max_bytes;
            let is_aged = now.saturating_sub(oldest.at) >= self.age;
            let goes = (is_full && self.commits.len() > 1) || (is_aged && compacted.len() < AGED_AT_ONCE);
            if !goes {
                break;
            }
            self.ops -= oldest.commit.ops.len();
            self.bytes -= oldest.bytes;
            self.floor = oldest.version;
            compacted.extend(self.commits.pop_front());
        }
        compacted
    }

    /// Begins anew behind a version, and takes out everything before it.
    pub(super) fn cut(&mut self, version: Version) -> VecDeque<Kept> {
        (self.ops, self.bytes) = (0, 0);
        (self.floor, self.head) = (version, version);
        std::mem::take(&mut self.commits)
    }

    /// The commit of this version, if it is kept.
    pub(super) fn get(&self, version: Version) -> Option<&Arc<CommittedBatch>> {
        let place = self.place_after(version).checked_sub(1)?;
        let kept = self.commits.get(place)?;
        (kept.version == version).then_some(&kept.commit)
    }

    /// The kept commits later than this version, oldest first.
    pub(super) fn after(&self, version: Version) -> impl Iterator<Item = &Kept> {
        self.commits.range(self.place_after(version)..)
    }

    fn place_after(&self, version: Version) -> usize {
        self.commits.partition_point(|kept| kept.version <= version)
    }
}

impl Kept {
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// What it takes, by [`bytes_of`].
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
