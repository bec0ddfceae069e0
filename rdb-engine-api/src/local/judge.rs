//! Judging batches: what each would do, without doing it.
//!
//! Judging is given the time, reads no clock and changes nothing, so that a replica can judge the same
//! batch again and come to the same end.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::expiry::{self, Due};
use super::row::{self, Encoded};
use super::time::{Reading, from_millis, to_millis, whole_millis};
use crate::{
    Batch, Cause, ChangeSet, CommittedBatch, CommittedOp, Condition, Conflict, ErrorKind, Key, Op, Previous,
    Record, Result, Space, Store, Version,
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
    /// Whether to keep what each change replaces, and how many bytes of what one commit replaces.
    looks_back: Option<usize>,
    /// The bytes of replaced records that are kept.
    replaced_bytes: usize,
    /// The time of the group: from it the lives of its records are counted (C15).
    now: Reading,
    /// Whether the store holds records that expire: then a change has to know what it replaces.
    is_expiring: bool,
    /// Entries of the expiry index that stand for no record.
    strays: Vec<Bytes>,
}

/// What a group has made of a key: none where it removed the record.
#[derive(Debug)]
struct Changed {
    row: Option<Bytes>,
    record: Option<Record>,
    /// When the store's record expires.
    stored_expiry: Option<u64>,
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
    /// A view in which about `len` keys will change.
    pub(super) fn new(
        store: &'s S,
        len: usize,
        version: Version,
        looks_back: Option<usize>,
        now: Reading,
        is_expiring: bool,
    ) -> Self {
        Self {
            store,
            version,
            changed: HashMap::with_capacity(len),
            commits: Vec::with_capacity(len),
            looks_back,
            replaced_bytes: 0,
            now,
            is_expiring,
            strays: Vec::new(),
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
        !self.changed.is_empty() || !self.strays.is_empty()
    }

    /// Judges a batch: all conditions against this view, in order (C3), then what the operations would
    /// change (C4).
    pub(super) fn judge(&self, batch: Batch) -> Result<Verdict> {
        if let Some(conflict) = self.conflict(&batch)? {
            return Ok(Verdict::Conflict(conflict));
        }
        let mut changes = last_of_each_key(batch);
        let mut failure = None;
        changes.retain(|(key, op)| match op {
            Op::Delete if failure.is_none() => match self.current(key) {
                Ok(current) => current.is_some(),
                Err(error) => {
                    failure = Some(error);
                    false
                }
            },
            _ => true,
        });
        match failure {
            Some(error) => Err(error),
            None if changes.is_empty() => Ok(Verdict::Unchanged),
            None => Ok(Verdict::Change(changes)),
        }
    }

    /// The first condition that does not hold.
    pub(super) fn conflict(&self, batch: &Batch) -> Result<Option<Conflict>> {
        for (index, (key, condition)) in batch.conditions().iter().enumerate() {
            let current = self.current(key)?;
            if !holds(condition, current.as_ref()) {
                let (key, version) = (key.clone(), self.version);
                return Ok(Some(Conflict::new(index, key, version, current)));
            }
        }
        Ok(None)
    }

    /// The keys that the latest commit of the group has changed.
    pub(super) fn touched(&self) -> impl Iterator<Item = &Key> {
        self.commits.last().into_iter().flat_map(|commit| commit.ops.iter().map(|op| &op.key))
    }

    /// Makes changes part of the view, as one commit. An error leaves the view as it was.
    pub(super) fn apply(&mut self, version: Version, cause: Cause, changes: Vec<(Key, Op)>) -> Result<()> {
        let mut replaced = Vec::new();
        if self.looks_back.is_some() || self.is_expiring {
            let mut bytes = 0;
            let each = changes.iter().map(|(key, _)| self.replaced(key, &mut bytes));
            replaced = each.collect::<Result<_>>()?;
            self.replaced_bytes += bytes;
        }
        let mut replaced = replaced.into_iter();
        let mut ops = Vec::with_capacity(changes.len());
        self.changed.reserve(changes.len());
        for (key, op) in changes {
            let record = match op {
                Op::Put { value, ttl } => {
                    let mut record = Record::new(value, version);
                    record.expires_at =
                        ttl.and_then(|ttl| from_millis(self.now.reached.saturating_add(whole_millis(ttl))));
                    Some(record)
                }
                Op::Delete => None,
            };
            ops.push(self.change(key, record, replaced.next().unwrap_or((Previous::NotAsked, None))));
        }
        self.commits.push(CommittedBatch { version, cause, ops });
        self.version = version;
        Ok(())
    }

    /// Removes the record that an entry of the expiry index stands for, by a commit of its own, if the record
    /// still is that one (C15); tells its size.
    pub(super) fn expire(&mut self, due: Due, version: Version) -> Result<Option<usize>> {
        let is_meant = |record: &Record| {
            (record.version, record.expires_at.map(to_millis)) == (due.version, Some(due.expires))
        };
        let Some(record) = self.current(&due.key)?.filter(is_meant) else { return Ok(None) };
        let size = due.key.len() + record.value.len();
        let previous = self.looks_back.map_or(Previous::NotAsked, |_| Previous::Record(record));
        let op = self.change(due.key, None, (previous, Some(due.expires)));
        self.commits.push(CommittedBatch { version, cause: Cause::Expiry, ops: vec![op] });
        self.version = version;
        Ok(Some(size))
    }

    /// Removes an entry of the expiry index that stands for no record.
    pub(super) fn remove_entry(&mut self, entry: Bytes) {
        self.strays.push(entry);
    }

    fn change(
        &mut self,
        key: Key,
        record: Option<Record>,
        (previous, stored_expiry): (Previous, Option<u64>),
    ) -> CommittedOp {
        // The history has a key of its own: the batch's may be a slice of the request, which must not be kept
        // for its sake.
        let (kept, row, record) = match record {
            Some(record) => {
                let Encoded { key: kept, row, record } = row::encode(&key, &record);
                (kept, Some(row), Some(record))
            }
            None => (key.moved_to(Bytes::copy_from_slice(key.as_bytes())), None, None),
        };
        let changed = Changed { row, record: record.clone(), stored_expiry };
        self.changed.insert(key, changed);
        CommittedOp { key: kept, record, previous }
    }

    /// What the store must change to hold this view, and the commits that led to it.
    ///
    /// In the order of the commits, each of which is in the order of its keys: a store that sorts what it is
    /// given finds neighbours together.
    pub(super) fn into_changes(mut self) -> (ChangeSet, Vec<CommittedBatch>) {
        let mut changes = ChangeSet::new();
        let mut entries: BTreeMap<Bytes, Option<Bytes>> =
            self.strays.into_iter().map(|entry| (entry, None)).collect();
        let ops = self.commits.iter().flat_map(|commit| &commit.ops);
        for (key, changed) in ops.filter_map(|op| self.changed.remove_entry(&op.key)) {
            if let Some(expires) = changed.stored_expiry {
                entries.entry(expiry::entry_key(expires, &key)).or_default();
            }
            if let Some(record) = &changed.record
                && let Some((entry, value)) = expiry::entry_of(&key, record)
            {
                entries.insert(entry, Some(value));
            }
            changes.push(Space::Data, key.into_bytes(), changed.row);
        }
        for (entry, value) in entries {
            changes.push(Space::System, entry, value);
        }
        (changes, self.commits)
    }

    /// The first of the entries that this view adds to the expiry index.
    pub(super) fn first_entry(&self) -> Option<Bytes> {
        let records = self.changed.iter().filter_map(|(key, changed)| Some((key, changed.record.as_ref()?)));
        let first = records.filter_map(|(key, record)| Some((record.expires_at?, key))).min();
        first.map(|(expires_at, key)| expiry::entry_key(to_millis(expires_at), key))
    }

    /// What a change of this key replaces, as far as anybody wants to know and the commit has room for it, and
    /// when the store's record expires.
    fn replaced(&self, key: &Key, bytes: &mut usize) -> Result<(Previous, Option<u64>)> {
        let changed = self.changed.get(key);
        let stored = changed.and_then(|changed| changed.stored_expiry);
        // Of a key that was changed before, the index is concerned with what that change replaced.
        let asks_expiry = self.is_expiring && changed.is_none();
        if self.looks_back.is_none() && !asks_expiry {
            return Ok((Previous::NotAsked, stored));
        }
        let current = match self.current(key) {
            // A put mends what is damaged. If that has an entry in the index, it is a stray from now on.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let previous = self.looks_back.map_or(Previous::NotAsked, |_| Previous::Omitted);
                return Ok((previous, stored));
            }
            current => current?,
        };
        let stored = if asks_expiry {
            current.as_ref().and_then(|record| record.expires_at).map(to_millis)
        } else {
            stored
        };
        let previous = match (self.looks_back, current) {
            (None, _) => Previous::NotAsked,
            (Some(_), None) => Previous::Absent,
            // Of a whole group too: writes that wait may have their turns all at once (C14, C20).
            (Some(most), Some(record))
                if *bytes + record.value.len() > most
                    || self.replaced_bytes + *bytes + record.value.len() > most.saturating_mul(2) =>
            {
                Previous::Omitted
            }
            (Some(_), Some(record)) => {
                *bytes += record.value.len();
                Previous::Record(record)
            }
        };
        Ok((previous, stored))
    }

    /// The record under a key in this view.
    pub(super) fn current(&self, key: &Key) -> Result<Option<Record>> {
        if let Some(changed) = self.changed.get(key) {
            return Ok(changed.record.clone());
        }
        let row = self.store.get(Space::Data, key.as_bytes())?;
        row.map(|row| row::decode(key.as_bytes(), row)).transpose()
    }
}

/// Whether a condition holds of a record, or of there being none.
pub(super) fn holds(condition: &Condition, current: Option<&Record>) -> bool {
    match condition {
        Condition::Absent => current.is_none(),
        Condition::Present => current.is_some(),
        Condition::Version(version) => current.is_some_and(|record| record.version == *version),
        Condition::Value(value) => current.is_some_and(|record| record.value == *value),
    }
}

fn last_of_each_key(batch: Batch) -> Vec<(Key, Op)> {
    let mut ops = batch.into_ops();
    // What comes from a scan, or from a sorted file, is in order already.
    if !ops.is_sorted_by(|(a, _), (b, _)| a < b) {
        // Stable, so the operations on a key stay in order: of each run keep the last.
        ops.sort_by(|(a, _), (b, _)| a.cmp(b));
        ops.reverse();
        ops.dedup_by(|later, kept| later.0 == kept.0);
        ops.reverse();
    }
    ops
}
