use std::collections::HashMap;
use std::ops::Range;

use super::seen::Seen;
use crate::{Answer, Blob, Condition, Current, History, Operation, Request, Verdict, Violation};

/// Where an operation stands on the version line: behind all commits below its version, and behind the
/// commit of its version too if it is a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) version: u64,
    /// Whether it stands behind the commit of that version, rather than being it.
    pub(super) read: bool,
}

impl Place {
    pub(super) const END: Self = Self { version: u64::MAX, read: true };

    pub(super) const fn commit(version: u64) -> Self {
        Self { version, read: false }
    }

    pub(super) const fn view(version: u64) -> Self {
        Self { version, read: true }
    }

    /// The greatest version that a commit can have which stands before this place, or is seen from it.
    pub(super) const fn newest(self) -> u64 {
        if self.read { self.version } else { self.version.saturating_sub(1) }
    }
}

/// What the answer to an operation says of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It constrains nothing: it failed, or is a read without an answer.
    Idle,
    /// A write that took effect, as a commit of a known version.
    Commit,
    /// A write of which nobody knows whether it took effect, nor saw anything.
    Pending,
    /// It was judged in a view of a known version.
    View,
    /// It read one record in a view of an unknown version.
    Get,
}

/// What a write leaves under one of its keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect<'h> {
    pub(super) key: u32,
    pub(super) value: Option<&'h Blob>,
}

/// A history prepared for the checker: its keys are numbered in their order, so that everything else works
/// on numbers and borrows the values.
pub(super) struct Facts<'h> {
    pub(super) history: &'h History,
    /// All keys, in byte order.
    pub(super) keys: Vec<&'h Blob>,
    pub(super) roles: Vec<Role>,
    /// The place of each commit and view.
    pub(super) places: Vec<Place>,
    /// When each operation had taken effect at the latest: its return, or, for a write of unknown outcome,
    /// that of the first who saw it.
    pub(super) returned: Vec<u64>,
    /// The keys of a get, get_many, the entries of a scan, or the conditions of a write.
    read_keys: Rows<u32>,
    effects: Rows<Effect<'h>>,
}

/// A list for each operation, all in one allocation.
struct Rows<T> {
    ends: Vec<u32>,
    items: Vec<T>,
}

impl<T> Rows<T> {
    const fn new() -> Self {
        Self { ends: Vec::new(), items: Vec::new() }
    }

    fn end_row(&mut self) {
        self.ends.push(self.items.len() as u32);
    }

    fn row(&self, row: usize) -> &[T] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.items[start as usize..self.ends[row] as usize]
    }
}

impl<'h> Facts<'h> {
    /// Prepares a history, and judges what each answer says for itself.
    ///
    /// # Errors
    /// The verdict, where the history lacks what this checker needs, or an answer contradicts itself.
    pub(super) fn new(history: &'h History) -> Result<Self, Verdict> {
        history.check_form().map_err(Verdict::Undecided)?;
        let mut keys = Keys::default();
        let mut facts = Self {
            history,
            keys: Vec::new(),
            roles: Vec::with_capacity(history.operations.len()),
            places: Vec::with_capacity(history.operations.len()),
            returned: history.operations.iter().map(Operation::returned).collect(),
            read_keys: Rows::new(),
            effects: Rows::new(),
        };
        let mut wrong = None;
        for (index, operation) in history.operations.iter().enumerate() {
            let (role, place) = role_of(operation)
                .map_err(|problem| Verdict::Undecided(format!("operation {index} {problem}")))?;
            facts.roles.push(role);
            facts.places.push(place);
            facts.add_keys(operation, &mut keys);
            facts.read_keys.end_row();
            facts.effects.end_row();
            if wrong.is_none() {
                wrong = facts.contradicts_itself(index).map(|problem| (index, problem));
            }
        }
        if let Some((index, problem)) = wrong {
            let message = format!("operation {index} {problem}");
            return Err(Verdict::Violation(Violation { message, operations: vec![index] }));
        }
        let ranks = keys.into_order(&mut facts.keys);
        facts.read_keys.items.iter_mut().for_each(|key| *key = ranks[*key as usize]);
        facts.effects.items.iter_mut().for_each(|effect| effect.key = ranks[effect.key as usize]);
        Ok(facts)
    }

    fn add_keys(&mut self, operation: &'h Operation, keys: &mut Keys<'h>) {
        let read_keys = &mut self.read_keys.items;
        match (&operation.request, operation.answer()) {
            (Request::Get { key }, _) => read_keys.push(keys.number(key)),
            (Request::GetMany { keys: asked }, _) => {
                read_keys.extend(asked.iter().map(|key| keys.number(key)));
            }
            (Request::Scan { .. }, Some(Answer::Entries { entries, .. })) => {
                read_keys.extend(entries.iter().map(|(key, _)| keys.number(key)));
            }
            (Request::Scan { .. }, _) => {}
            (Request::Write { conditions, ops, .. }, _) => {
                read_keys.extend(conditions.iter().map(|(key, _)| keys.number(key)));
                let row = self.effects.items.len();
                // Of two operations on one key the last wins.
                keys.writes += 1;
                for (key, value) in ops.iter().rev() {
                    let key = keys.number(key);
                    if keys.first_in_write(key) {
                        self.effects.items.push(Effect { key, value: value.as_ref() });
                    }
                }
                self.effects.items[row..].reverse();
            }
        }
    }

    /// What an answer says that no store can mean. The keys are still numbered as they came.
    fn contradicts_itself(&self, index: usize) -> Option<String> {
        let operation = self.operation(index);
        let effects = self.effects.row(index);
        match (&operation.request, operation.answer()?) {
            (_, Answer::Committed { version: Some(0) }) => {
                Some("committed at version 0, which is the version of the empty store".to_owned())
            }
            (_, Answer::Committed { .. }) if effects.is_empty() => {
                Some("was answered committed, but it is a batch of conditions alone".to_owned())
            }
            (_, Answer::Unchanged { .. }) if effects.iter().any(|effect| effect.value.is_some()) => {
                Some("was answered unchanged, but it puts a record, which is always a change".to_owned())
            }
            (Request::Scan { start, end, reverse, limit }, Answer::Entries { entries, .. }) => {
                let outside = |key: &Blob| key < start || end.as_ref().is_some_and(|end| key >= end);
                if let Some((key, _)) = entries.iter().find(|(key, _)| outside(key)) {
                    return Some(format!("delivered key {key}, which is outside the range it asked for"));
                }
                let disordered = |pair: &&[(Blob, _)]| {
                    if *reverse { pair[0].0 <= pair[1].0 } else { pair[0].0 >= pair[1].0 }
                };
                if let Some(pair) = entries.windows(2).find(disordered) {
                    return Some(format!(
                        "delivered key {} behind key {}, out of order",
                        pair[1].0, pair[0].0
                    ));
                }
                let most = limit.filter(|limit| entries.len() as u64 > *limit)?;
                Some(format!("delivered {} records, but asked for {most} at most", entries.len()))
            }
            _ => None,
        }
    }

    pub(super) fn operation(&self, op: usize) -> &'h Operation {
        &self.history.operations[op]
    }

    pub(super) fn called(&self, op: u32) -> u64 {
        self.operation(op as usize).called
    }

    pub(super) fn count(&self) -> u32 {
        self.history.operations.len() as u32
    }

    pub(super) fn effects(&self, op: u32) -> &[Effect<'h>] {
        self.effects.row(op as usize)
    }

    /// What a write leaves under a key, if it touches it.
    pub(super) fn effect(&self, op: u32, key: u32) -> Option<Option<&'h Blob>> {
        self.effects(op).iter().find(|effect| effect.key == key).map(|effect| effect.value)
    }

    pub(super) fn key_of_get(&self, get: u32) -> u32 {
        self.read_keys.row(get as usize)[0]
    }

    /// The keys that a scan delivered, in its order.
    pub(super) fn delivered(&self, scan: u32) -> &[u32] {
        self.read_keys.row(scan as usize)
    }

    /// The conditions of a write, with their keys.
    pub(super) fn conditions(&self, op: u32) -> impl Iterator<Item = (u32, &'h Condition)> {
        let conditions: &[_] = match &self.operation(op as usize).request {
            Request::Write { conditions, .. } => conditions,
            _ => &[],
        };
        let keys = self.read_keys.row(op as usize).iter();
        keys.zip(conditions).map(|(key, (_, condition))| (*key, condition))
    }

    /// What an operation saw of single keys, in the state in which it was judged. For a write that is not
    /// answered: what it must have seen to take effect. That a scan leaves a key out is not listed here.
    pub(super) fn for_each_seen(&self, op: u32, mut with: impl FnMut(u32, Seen<'h>)) {
        let operation = self.operation(op as usize);
        let keys = self.read_keys.row(op as usize);
        let record = |record: &'h Option<_>| record.as_ref().map_or(Seen::Absent, Seen::record);
        match operation.answer() {
            Some(Answer::Record(got)) => with(keys[0], record(got)),
            Some(Answer::Records { records, .. }) => {
                keys.iter().zip(records).for_each(|(key, got)| with(*key, record(got)));
            }
            Some(Answer::Entries { entries, .. }) => {
                for (key, (_, got)) in keys.iter().zip(entries) {
                    with(*key, got.as_ref().map_or(Seen::Present, Seen::record));
                }
            }
            Some(Answer::Conflict { index, current, .. }) => {
                let mut conditions = self.conditions(op);
                for (key, condition) in conditions.by_ref().take(*index) {
                    with(key, Seen::held(condition));
                }
                if let Some((key, condition)) = conditions.next() {
                    with(key, Seen::failed(condition));
                    match current {
                        Current::Unsaid => {}
                        Current::Absent => with(key, Seen::Absent),
                        Current::Present(got) => with(key, Seen::record(got)),
                    }
                }
            }
            Some(Answer::Committed { .. } | Answer::Unchanged { .. }) | None => {
                for (key, condition) in self.conditions(op) {
                    with(key, Seen::held(condition));
                }
                if matches!(operation.answer(), Some(Answer::Unchanged { .. })) {
                    self.effects(op).iter().for_each(|effect| with(effect.key, Seen::Absent));
                }
            }
            Some(Answer::Applied | Answer::Failed) => {}
        }
    }

    /// The keys of which a scan says that there are no others than it delivered.
    pub(super) fn covered(&self, op: u32) -> Option<Range<u32>> {
        let operation = self.operation(op as usize);
        let Request::Scan { start, end, reverse, limit } = &operation.request else { return None };
        let rank = |bound: &Blob| self.keys.partition_point(|key| *key < bound) as u32;
        let mut range = rank(start)..end.as_ref().map_or(self.keys.len() as u32, rank);
        let delivered = self.read_keys.row(op as usize);
        if limit.is_some_and(|limit| delivered.len() as u64 >= limit) {
            // It stopped at its limit: it says nothing of what comes behind its last.
            match delivered.last() {
                None => return None,
                Some(last) if *reverse => range.start = *last,
                Some(last) => range.end = *last + 1,
            }
        }
        (range.start < range.end).then_some(range)
    }
}

/// The role and, for commits and views, the place that the answer gives; the error says what is missing.
fn role_of(operation: &Operation) -> Result<(Role, Place), &'static str> {
    const UNVERSIONED: &str = "has an answer without a version, which version order needs";
    let commit = |version: &Option<u64>| version.map(|version| (Role::Commit, Place::commit(version)));
    let view = |version: &Option<u64>| version.map(|version| (Role::View, Place::view(version)));
    let versioned = |record: &crate::Record| record.version.is_some();
    let Some(answer) = operation.answer() else {
        let role =
            if matches!(operation.request, Request::Write { .. }) { Role::Pending } else { Role::Idle };
        return Ok((role, Place::default()));
    };
    match answer {
        Answer::Failed => Some((Role::Idle, Place::default())),
        Answer::Applied => {
            return Err("was answered applied, which does not say whether it changed something");
        }
        Answer::Record(record) => record.iter().all(versioned).then_some((Role::Get, Place::default())),
        Answer::Records { version, records } => {
            view(version).filter(|_| records.iter().flatten().all(versioned))
        }
        Answer::Entries { version, entries } => {
            view(version).filter(|_| entries.iter().filter_map(|(_, record)| record.as_ref()).all(versioned))
        }
        Answer::Committed { version } => commit(version),
        Answer::Unchanged { version } => view(version),
        Answer::Conflict { version, current, .. } => {
            view(version).filter(|_| !matches!(current, Current::Present(record) if !versioned(record)))
        }
    }
    .ok_or(UNVERSIONED)
}

/// Numbers for keys, first as they come.
#[derive(Default)]
struct Keys<'h> {
    numbers: HashMap<&'h Blob, u32>,
    /// For each key the last write that touched it.
    stamps: Vec<u32>,
    writes: u32,
}

impl<'h> Keys<'h> {
    fn number(&mut self, key: &'h Blob) -> u32 {
        let next = self.stamps.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.stamps.push(0);
        }
        number
    }

    fn first_in_write(&mut self, key: u32) -> bool {
        std::mem::replace(&mut self.stamps[key as usize], self.writes) != self.writes
    }

    /// Puts the keys in byte order, and tells for each number its place there.
    fn into_order(self, keys: &mut Vec<&'h Blob>) -> Vec<u32> {
        let mut sorted: Vec<_> = self.numbers.into_iter().collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len()];
        for (rank, (key, number)) in (0..).zip(sorted) {
            keys.push(key);
            ranks[number as usize] = rank;
        }
        ranks
    }
}
