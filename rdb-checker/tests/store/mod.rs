//! A true store, as the documentation of the format has it: nothing shared with the checkers.

// Each test uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::ops::Bound;

use rdb_checker::{Answer, Blob, Condition, Current, Record, Request};

/// SplitMix64, so that a seed names a history for ever.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}

/// The store as the format's documentation has it: nothing shared with the checker.
pub(crate) type Model = BTreeMap<Blob, (Blob, Option<u64>)>;

pub(crate) fn range<'a>(model: &'a Model, request: &Request) -> Vec<(&'a Blob, &'a (Blob, Option<u64>))> {
    let Request::Scan { start, end, reverse, limit } = request else { return Vec::new() };
    let inside = model.range((Bound::Included(start.clone()), Bound::Unbounded));
    let mut inside: Vec<_> = inside.filter(|(key, _)| end.as_ref().is_none_or(|end| *key < end)).collect();
    if *reverse {
        inside.reverse();
    }
    inside.truncate(limit.unwrap_or(u64::MAX).min(99) as usize);
    inside
}

pub(crate) fn effective(ops: &[(Blob, Option<Blob>)]) -> BTreeMap<Blob, Option<Blob>> {
    ops.iter().cloned().collect()
}

pub(crate) fn changes(model: &Model, ops: &[(Blob, Option<Blob>)]) -> bool {
    effective(ops).iter().any(|(key, value)| value.is_some() || model.contains_key(key))
}

pub(crate) fn apply(model: &mut Model, ops: &[(Blob, Option<Blob>)], version: Option<u64>) {
    for (key, value) in effective(ops) {
        match value {
            Some(value) => _ = model.insert(key, (value, version)),
            None => _ = model.remove(&key),
        }
    }
}

/// Whether a condition can hold and whether it can fail: both where it names a version nobody knows.
pub(crate) fn judge(model: &Model, (key, condition): &(Blob, Condition), owned: &[u64]) -> (bool, bool) {
    let record = model.get(key);
    let sure = match condition {
        Condition::Absent => record.is_none(),
        Condition::Present => record.is_some(),
        Condition::Value(value) => record.is_some_and(|record| record.0 == *value),
        Condition::Version(version) => match record {
            Some((_, None)) if !owned.contains(version) => return (true, true),
            Some((_, own)) => *own == Some(*version),
            None => false,
        },
    };
    (sure, !sure)
}

/// What a true store answers.
pub(crate) fn truth(model: &mut Model, request: &Request, version: &mut u64) -> Answer {
    let record = |record: &(Blob, Option<u64>)| Record { value: record.0.clone(), version: record.1 };
    match request {
        Request::Get { key } => Answer::Record(model.get(key).map(record)),
        Request::GetMany { keys } => {
            let records = keys.iter().map(|key| model.get(key).map(record)).collect();
            Answer::Records { version: Some(*version), records }
        }
        Request::Scan { .. } => {
            let keys_only = asks_for_keys_only(request);
            let entries = range(model, request);
            let entries =
                entries.into_iter().map(|(key, own)| (key.clone(), (!keys_only).then(|| record(own))));
            Answer::Entries { version: Some(*version), entries: entries.collect() }
        }
        Request::Write { conditions, ops, .. } => {
            if let Some(index) = conditions.iter().position(|held| !judge(model, held, &[]).0) {
                let current = model.get(&conditions[index].0).map(record);
                let current = current.map_or(Current::Absent, Current::Present);
                return Answer::Conflict { index, version: Some(*version), current };
            }
            if !changes(model, ops) {
                return Answer::Unchanged { version: Some(*version) };
            }
            *version += 1;
            apply(model, ops, Some(*version));
            Answer::Committed { version: Some(*version) }
        }
    }
}

/// Some scans ask for keys only: those without an end.
fn asks_for_keys_only(request: &Request) -> bool {
    matches!(request, Request::Scan { end: None, .. })
}
