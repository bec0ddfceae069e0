use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Answer, Blob, Condition, Current, History, Operation, Record, Request, Violation};

/// The operations that have to be judged, and what is known of the writes whose outcome is not: points 1 to
/// 3 of the module's documentation.
pub(super) struct Prepared<'a> {
    pub(super) history: &'a History,
    pub(super) kept: Vec<Kept>,
    /// The versions that a write of the history is known to have.
    pub(super) owned: HashSet<u64>,
    /// An answer that is impossible in itself, whatever the others are.
    pub(super) impossible: Option<Violation>,
}

/// An operation that constrains or may explain others.
pub(super) struct Kept {
    /// Its place in the history.
    pub(super) place: usize,
    /// When it ended at the latest; none for never.
    pub(super) returned: Option<u64>,
    /// The version of what it wrote, where that is known.
    pub(super) version: Option<u64>,
}

/// What a write leaves behind: of two operations on one key the last wins.
pub(super) fn effects(ops: &[(Blob, Option<Blob>)]) -> BTreeMap<&Blob, Option<&Blob>> {
    ops.iter().map(|(key, value)| (key, value.as_ref())).collect()
}

impl<'a> Prepared<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        let mut impossible = None;
        let mut evidence = Evidence::default();
        let mut owned = HashSet::new();
        for (place, operation) in history.operations.iter().enumerate() {
            if let (None, Some(problem)) = (&impossible, contradiction(operation)) {
                impossible = Some(Violation { message: problem.to_owned(), operations: vec![place] });
            }
            if let Some(Answer::Committed { version: Some(version) }) = operation.answer() {
                owned.insert(*version);
            }
            evidence.take(operation);
        }
        let mut kept = Vec::new();
        for (place, operation) in history.operations.iter().enumerate() {
            let (returned, version) = match (&operation.request, &operation.outcome) {
                (_, Some(outcome)) if outcome.answer == Answer::Failed => continue,
                (_, Some(outcome)) => {
                    let Answer::Committed { version } = outcome.answer else {
                        kept.push(Kept { place, returned: Some(outcome.returned), version: None });
                        continue;
                    };
                    (Some(outcome.returned), version)
                }
                (Request::Write { ops, .. }, None) => {
                    let effects = effects(ops);
                    if evidence.unnoticed(&effects) {
                        continue;
                    }
                    let seen = evidence.first_sight(&effects);
                    // Seen before it was called: no order explains that, and the search says where.
                    (seen.filter(|seen| *seen >= operation.called), evidence.version(&effects))
                }
                (_, None) => continue,
            };
            owned.extend(version);
            kept.push(Kept { place, returned, version });
        }
        Self { history, kept, owned, impossible }
    }
}

/// Everything the answers say of the records under each key.
#[derive(Default)]
struct Evidence<'a> {
    /// How many writes put a value under a key, those that certainly did not aside.
    writers: HashMap<(&'a Blob, &'a Blob), u32>,
    sights: HashMap<(&'a Blob, &'a Blob), Sight>,
    /// What writes without an answer expect.
    expected: HashSet<(&'a Blob, &'a Blob)>,
    /// The keys of which an answer tells that there is a record, or what it is not, but not what it is.
    hinted: HashSet<&'a Blob>,
}

/// Who saw a value under a key.
#[derive(Default)]
struct Sight {
    /// The earliest return of those who saw it.
    returned: Option<u64>,
    /// The versions it was seen with.
    versions: HashSet<u64>,
}

impl<'a> Evidence<'a> {
    fn take(&mut self, operation: &'a Operation) {
        let returned = operation.returned();
        match (&operation.request, operation.answer()) {
            (_, Some(Answer::Failed)) => {}
            (Request::Get { key }, Some(Answer::Record(Some(record)))) => self.saw(key, record, returned),
            (Request::GetMany { keys }, Some(Answer::Records { records, .. })) => {
                for (key, record) in keys.iter().zip(records) {
                    if let Some(record) = record {
                        self.saw(key, record, returned);
                    }
                }
            }
            (Request::Scan { .. }, Some(Answer::Entries { entries, .. })) => {
                for (key, record) in entries {
                    match record {
                        Some(record) => self.saw(key, record, returned),
                        None => _ = self.hinted.insert(key),
                    }
                }
            }
            (Request::Write { conditions, .. }, Some(Answer::Conflict { index, current, .. })) => {
                conditions[..*index].iter().for_each(|held| self.held(held, Some(returned)));
                let (key, failed) = &conditions[*index];
                match (current, failed) {
                    (Current::Present(record), _) => self.saw(key, record, returned),
                    // Then there is no record.
                    (Current::Absent, _) | (Current::Unsaid, Condition::Present) => {}
                    (Current::Unsaid, _) => _ = self.hinted.insert(key),
                }
            }
            (Request::Write { conditions, ops, .. }, answer) => {
                let returned = answer.map(|_| returned);
                conditions.iter().for_each(|held| self.held(held, returned));
                if matches!(answer, Some(Answer::Unchanged { .. })) {
                    return;
                }
                let effects = effects(ops);
                let deletes_only = effects.values().all(Option::is_none);
                for (key, value) in effects {
                    match value {
                        Some(value) => *self.writers.entry((key, value)).or_default() += 1,
                        // That something changed tells of a record.
                        None if deletes_only && matches!(answer, Some(Answer::Committed { .. })) => {
                            self.hinted.insert(key);
                        }
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn saw(&mut self, key: &'a Blob, record: &'a Record, returned: u64) {
        let sight = self.sights.entry((key, &record.value)).or_default();
        sight.returned = Some(sight.returned.map_or(returned, |earliest| earliest.min(returned)));
        sight.versions.extend(record.version);
    }

    /// A condition held, at the latest when the operation returned; of a write without an answer it has to
    /// hold if the write takes effect.
    fn held(&mut self, (key, condition): &'a (Blob, Condition), returned: Option<u64>) {
        match (condition, returned) {
            (Condition::Absent, _) => {}
            (Condition::Present | Condition::Version(_), _) => _ = self.hinted.insert(key),
            (Condition::Value(value), None) => _ = self.expected.insert((key, value)),
            (Condition::Value(value), Some(returned)) => {
                let sight = self.sights.entry((key, value)).or_default();
                sight.returned = Some(sight.returned.map_or(returned, |earliest| earliest.min(returned)));
            }
        }
    }

    /// Point 3: whether a write without an answer makes no difference to anybody.
    fn unnoticed(&self, effects: &BTreeMap<&'a Blob, Option<&'a Blob>>) -> bool {
        effects.iter().all(|(key, value)| {
            value.is_some_and(|value| {
                !self.hinted.contains(key)
                    && !self.sights.contains_key(&(*key, value))
                    && !self.expected.contains(&(*key, value))
            })
        })
    }

    /// Point 2: when somebody had certainly seen a write without an answer.
    fn first_sight(&self, effects: &BTreeMap<&'a Blob, Option<&'a Blob>>) -> Option<u64> {
        self.own_sights(effects).filter_map(|sight| sight.returned).min()
    }

    /// The version of a write without an answer, where its values were seen with exactly one.
    fn version(&self, effects: &BTreeMap<&'a Blob, Option<&'a Blob>>) -> Option<u64> {
        let versions: HashSet<u64> =
            self.own_sights(effects).flat_map(|sight| sight.versions.iter().copied()).collect();
        if versions.len() == 1 { versions.into_iter().next() } else { None }
    }

    /// The sights of the values that no other write puts.
    fn own_sights(&self, effects: &BTreeMap<&'a Blob, Option<&'a Blob>>) -> impl Iterator<Item = &Sight> {
        effects.iter().filter_map(|(key, value)| {
            let put = (*key, (*value)?);
            if self.writers.get(&put) == Some(&1) { self.sights.get(&put) } else { None }
        })
    }
}

/// What is wrong with an answer, whatever the state of the store.
fn contradiction(operation: &Operation) -> Option<&'static str> {
    match (&operation.request, operation.answer()?) {
        (Request::Write { ops, .. }, Answer::Committed { .. }) if ops.is_empty() => {
            Some("a write without operations says that it changed something")
        }
        (Request::Write { ops, .. }, Answer::Unchanged { .. })
            if effects(ops).values().any(Option::is_some) =>
        {
            Some("a write that puts says that it changed nothing")
        }
        (Request::Scan { start, end, reverse, limit }, Answer::Entries { entries, .. }) => {
            let outside = |key: &Blob| key < start || end.as_ref().is_some_and(|end| key >= end);
            let disordered = |pair: &[(Blob, Option<Record>)]| {
                if *reverse { pair[0].0 <= pair[1].0 } else { pair[0].0 >= pair[1].0 }
            };
            if limit.is_some_and(|limit| entries.len() as u64 > limit) {
                Some("a scan delivered more records than its limit")
            } else if entries.iter().any(|(key, _)| outside(key)) {
                Some("a scan delivered a key outside its range")
            } else if entries.windows(2).any(disordered) {
                Some("a scan delivered keys out of order, or one twice")
            } else {
                None
            }
        }
        _ => None,
    }
}
