//! What times to live permit: removals that nobody may have seen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use crate::{Answer, Blob, Condition, History, Operation, Request};

/// A removal that the store may have made: of the record that a write put under a key.
#[derive(Clone, Debug)]
pub(crate) struct Removal<'h> {
    /// The place of the write.
    pub(crate) put: usize,
    pub(crate) key: &'h Blob,
    pub(crate) value: &'h Blob,
    /// Not before this: the write's call, and the time to live.
    pub(crate) due: u64,
}

impl Removal<'_> {
    /// The removal as a write of nobody and of unknown outcome: called when the time was over, so that it
    /// explains no absence that was found earlier, and conditional on the record itself.
    pub(crate) fn operation(&self, condition: Condition) -> Operation {
        Operation {
            process: u64::MAX,
            request: Request::Write {
                conditions: vec![(self.key.clone(), condition)],
                ops: vec![(self.key.clone(), None)],
                ttls: Vec::new(),
            },
            called: self.due,
            outcome: None,
        }
    }
}

/// Every removal that the times to live of a history permit, except those that nobody can have noticed: no
/// answer at or after their time depends on that the key had no record, or another one. Without such a
/// removal the rest of an order that explains the history is one still.
pub(crate) fn removals(history: &History) -> Vec<Removal<'_>> {
    let mut removals = Vec::new();
    for (put, operation) in history.operations.iter().enumerate() {
        let Request::Write { ops, ttls, .. } = &operation.request else { continue };
        let happened = matches!(operation.answer(), None | Some(Answer::Committed { .. } | Answer::Applied));
        for (place, (key, value)) in ops.iter().enumerate() {
            let Some(value) = value.as_ref().filter(|_| happened) else { continue };
            let Some(ttl) = ttl_of(ttls, key) else { continue };
            if ops[place + 1..].iter().all(|(other, _)| other != key) {
                removals.push(Removal { put, key, value, due: operation.called.saturating_add(ttl) });
            }
        }
    }
    if removals.is_empty() {
        return removals;
    }
    let keys: BTreeSet<&Blob> = removals.iter().map(|removal| removal.key).collect();
    let noticed = noticed(history, &keys);
    removals.retain(|removal| noticed.get(removal.key).is_some_and(|last| *last >= removal.due));
    removals
}

/// How long a write lets the record of a key live; none for ever.
pub(crate) fn ttl_of(ttls: &[(Blob, u64)], key: &Blob) -> Option<u64> {
    ttls.iter().rfind(|(other, _)| other == key).map(|(_, ttl)| *ttl)
}

/// For each key the last return of those whose answer can depend on that the key had no record, or another.
fn noticed<'h>(history: &'h History, keys: &BTreeSet<&'h Blob>) -> HashMap<&'h Blob, u64> {
    let mut noticed = HashMap::new();
    for operation in &history.operations {
        let returned = operation.returned();
        let mut notice = |key: &'h Blob| {
            let last = noticed.entry(key).or_insert(0);
            *last = returned.max(*last);
        };
        match (&operation.request, operation.answer()) {
            (Request::Get { key }, Some(Answer::Record(None))) => notice(key),
            (Request::GetMany { keys }, Some(Answer::Records { records, .. })) => {
                let missing = keys.iter().zip(records).filter(|(_, record)| record.is_none());
                missing.for_each(|(key, _)| notice(key));
            }
            (Request::Scan { start, end, .. }, Some(Answer::Entries { entries, .. })) => {
                let delivered: HashSet<&Blob> = entries.iter().map(|(key, _)| key).collect();
                let inside = keys.range::<Blob, _>((Bound::Included(start), Bound::Unbounded));
                let inside = inside.take_while(|key| end.as_ref().is_none_or(|end| **key < end));
                inside.filter(|key| !delivered.contains(**key)).for_each(|key| notice(key));
            }
            (Request::Write { conditions, ops, .. }, answer) => {
                let failed = match answer {
                    Some(Answer::Conflict { index, .. }) => Some(*index),
                    Some(Answer::Failed) => continue,
                    _ => None,
                };
                let judged = &conditions[..failed.map_or(conditions.len(), |index| index + 1)];
                for (place, (key, condition)) in judged.iter().enumerate() {
                    if Some(place) == failed || *condition == Condition::Absent {
                        notice(key);
                    }
                }
                if matches!(answer, Some(Answer::Unchanged { .. })) {
                    ops.iter().for_each(|(key, _)| notice(key));
                }
            }
            _ => {}
        }
    }
    noticed
}
