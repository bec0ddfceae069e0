use std::collections::VecDeque;
use std::time::Duration;

use rdb_engine_api::{Cause, CommittedBatch, CommittedOp, KeyRange, Limits, Previous, Record, Version};

/// The commits that watches can still be told of (C16), with everything that they replaced.
#[derive(Debug)]
pub(crate) struct History {
    commits: VecDeque<Told>,
    ops: usize,
    bytes: usize,
    /// The oldest version that a watch can begin after.
    pub(crate) compacted: Version,
    /// How often the history was cut by a restore.
    pub(crate) cuts: u64,
}

#[derive(Debug)]
struct Told {
    at: Duration,
    bytes: usize,
    batch: CommittedBatch,
}

impl History {
    pub(crate) fn new(compacted: Version) -> Self {
        Self { commits: VecDeque::new(), ops: 0, bytes: 0, compacted, cuts: 0 }
    }

    /// Keeps a commit, and lets go of what is beyond the limits.
    pub(crate) fn push(
        &mut self,
        version: Version,
        cause: Cause,
        ops: Vec<CommittedOp>,
        at: Duration,
        limits: &Limits,
    ) {
        let bytes = ops.iter().map(|op| op.key.len() + value_bytes(op.record.as_ref())).sum();
        self.ops += ops.len();
        self.bytes += bytes;
        self.commits.push_back(Told { at, bytes, batch: CommittedBatch::new(version, cause, ops) });
        self.trim(at, limits);
    }

    pub(crate) fn trim(&mut self, now: Duration, limits: &Limits) {
        while let Some(oldest) = self.commits.front() {
            let too_much = self.ops > limits.max_history_ops || self.bytes > limits.max_history_bytes;
            if !too_much && now.saturating_sub(oldest.at) <= limits.history_age {
                return;
            }
            self.ops -= oldest.batch.ops.len();
            self.bytes -= oldest.bytes;
            self.compacted = oldest.batch.version;
            self.commits.pop_front();
        }
    }

    /// Begins anew after this version, in which everything changed.
    pub(crate) fn cut(&mut self, version: Version) {
        *self = Self { cuts: self.cuts + 1, ..Self::new(version) };
    }

    /// The first commit after a version that touches a range, as a watch of the range is told of it.
    pub(crate) fn next(&self, after: Version, range: &KeyRange, previous: bool) -> Option<CommittedBatch> {
        let later = self.commits.partition_point(|told| told.batch.version <= after);
        self.commits.range(later..).find_map(|told| {
            let within = told.batch.ops.iter().filter(|op| range.contains(op.key.as_bytes()));
            let ops: Vec<CommittedOp> = within
                .map(|op| {
                    let before = if previous { op.previous.clone() } else { Previous::NotAsked };
                    CommittedOp::new(op.key.clone(), op.record.clone(), before)
                })
                .collect();
            (!ops.is_empty()).then(|| CommittedBatch::new(told.batch.version, told.batch.cause, ops))
        })
    }
}

/// What was there before a commit, of records as far as they are together within the limit.
pub(crate) fn previous(record: Option<Record>, room: &mut usize) -> Previous {
    let Some(record) = record else { return Previous::Absent };
    match room.checked_sub(record.value.len()) {
        Some(rest) => {
            *room = rest;
            Previous::Record(record)
        }
        None => Previous::Omitted,
    }
}

fn value_bytes(record: Option<&Record>) -> usize {
    record.map_or(0, |record| record.value.len())
}
