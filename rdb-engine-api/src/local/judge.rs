//! Judging batches: what each would do, without doing it.
//!
//! Judging reads no clock and changes nothing, so that a replica can judge the same batch again and
//! come to the same end.

use std::collections::HashMap;

use bytes::Bytes;

use super::row;
use crate::{
    Batch, Cause, ChangeSet, CommittedBatch, CommittedOp, Condition, Conflict, Key, Op, Previous, Record,
    Result, Space, Store, Version,
};

/// The state that the next batch of a group is judged in: the store, and over it what the earlier
/// batches of the group have done.
///
/// Nothing that was only looked at is kept: a short batch can look at many long records (C14).
#[derive(Debug)]
pub(super) struct GroupView<'s, S> {
    store: &'s S,
    version: Version,
    /// What the group has made of each key that it has changed.
    changed: HashMap<Key, Changed>,
    /// The group's commits, in order.
    commits: Vec<CommittedBatch>,
    /// Whether to look at what each change replaces, even where judging did not need to know.
    looks_back: bool,
    /// The most bytes of records replaced by one commit that are looked at to be kept.
    max_replaced_bytes: usize,
    /// The bytes of those that are kept.
    replaced_bytes: usize,
}

/// What a group has made of a key: none where it removed the record.
#[derive(Debug)]
struct Changed {
    row: Option<Bytes>,
    record: Option<Record>,
}

/// What a batch would do.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Change these keys, in order; the last operation of each.
    Change(Vec<(Key, Op)>),
    /// Nothing, with all conditions holding.
    Unchanged,
    /// Nothing, for this condition.
    Conflict(Conflict),
}

impl<'s, S: Store> GroupView<'s, S> {
    pub(super) fn new(store: &'s S, version: Version, looks_back: bool, max_replaced_bytes: usize) -> Self {
        Self {
            store,
            version,
            changed: HashMap::new(),
            commits: Vec::new(),
            looks_back,
            max_replaced_bytes,
            replaced_bytes: 0,
        }
    }

    /// The bytes of replaced records that wait with the commits, and do not count as the requests' own.
    pub(super) fn replaced_bytes(&self) -> usize {
        self.replaced_bytes
    }

    /// The version of the view.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Judges a batch: all conditions against this view, in order (C3), then what the operations would
    /// change (C4).
    pub(super) fn judge(&self, batch: Batch) -> Result<Verdict> {
        for (index, (key, condition)) in batch.conditions().iter().enumerate() {
            let current = self.current(key)?;
            if !holds(condition, current.as_ref()) {
                let (key, version) = (key.clone(), self.version);
                return Ok(Verdict::Conflict(Conflict::new(index, key, version, current)));
            }
        }
        let mut changes: Vec<(Key, Op)> = Vec::with_capacity(batch.ops().len());
        for (key, op) in last_of_each_key(batch) {
            if op != Op::Delete || self.current(&key)?.is_some() {
                changes.push((key, op));
            }
        }
        Ok(if changes.is_empty() { Verdict::Unchanged } else { Verdict::Change(changes) })
    }

    /// Makes changes part of the view, as one commit. An error leaves the view as it was.
    pub(super) fn apply(&mut self, version: Version, cause: Cause, changes: Vec<(Key, Op)>) -> Result<()> {
        let mut bytes = 0;
        let previous = changes.iter().map(|(key, _)| self.previous(key, &mut bytes));
        let previous = previous.collect::<Result<Vec<_>>>()?;
        self.replaced_bytes += bytes;
        let mut ops = Vec::with_capacity(changes.len());
        for ((key, op), previous) in changes.into_iter().zip(previous) {
            let (row, record) = match op {
                Op::Put { value, .. } => {
                    let (row, record) = row::encode(key.as_bytes(), &Record::new(value, version));
                    (Some(row), Some(record))
                }
                Op::Delete => (None, None),
            };
            self.changed.insert(key.clone(), Changed { row, record: record.clone() });
            ops.push(CommittedOp { key, record, previous });
        }
        self.commits.push(CommittedBatch { version, cause, ops });
        self.version = version;
        Ok(())
    }

    /// What the store must change to hold this view, and the commits that led to it.
    pub(super) fn into_changes(self) -> (ChangeSet, Vec<CommittedBatch>) {
        let mut changes = ChangeSet::new();
        for (key, changed) in self.changed {
            changes.push(Space::Data, key.into_bytes(), changed.row);
        }
        (changes, self.commits)
    }

    /// What a change of this key replaces, as far as anybody wants to know, and as long as that of all changes
    /// together is not too much.
    fn previous(&self, key: &Key, bytes: &mut usize) -> Result<Previous> {
        if !self.looks_back {
            return Ok(Previous::NotAsked);
        }
        let Some(record) = self.current(key)? else { return Ok(Previous::Absent) };
        if *bytes + record.value.len() > self.max_replaced_bytes {
            return Ok(Previous::Omitted);
        }
        *bytes += record.value.len();
        Ok(Previous::Record(record))
    }

    fn current(&self, key: &Key) -> Result<Option<Record>> {
        if let Some(changed) = self.changed.get(key) {
            return Ok(changed.record.clone());
        }
        let row = self.store.get(Space::Data, key.as_bytes())?;
        row.map(|row| row::decode(key.as_bytes(), &row)).transpose()
    }
}

fn holds(condition: &Condition, current: Option<&Record>) -> bool {
    match condition {
        Condition::Absent => current.is_none(),
        Condition::Present => current.is_some(),
        Condition::Version(version) => current.is_some_and(|record| record.version == *version),
        Condition::Value(value) => current.is_some_and(|record| record.value == *value),
    }
}

fn last_of_each_key(batch: Batch) -> Vec<(Key, Op)> {
    let mut ops = batch.into_ops();
    if ops.len() > 1 {
        // Stable, so the operations on a key stay in order: of each run keep the last.
        ops.sort_by(|(a, _), (b, _)| a.cmp(b));
        ops.reverse();
        ops.dedup_by(|later, kept| later.0 == kept.0);
        ops.reverse();
    }
    ops
}
