//! Lies to plant in a true history, since a checker counts only once it was seen to catch one.

use std::collections::HashMap;

use crate::{Answer, Blob, Condition, Current, History, Operation, Record, Request};

/// What a store may lie about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lie {
    /// A get shows a record although another one had been acknowledged in its place before the get began.
    StaleRead,
    /// A get shows what was there before a write that had been acknowledged, and nobody ever sees that write.
    LostWrite,
    /// A get shows a write that came back, under a new version, after another had replaced it.
    DoubleWrite,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StaleRead, Self::LostWrite, Self::DoubleWrite];

    /// Changes the answer of one get, the `seed`-th (modulo their number) of those where the change is
    /// certainly a lie; returns its place, or none where the history has no such get. The history must be
    /// linearizable, with versions, and each of its values written once.
    pub fn plant(self, history: &mut History, seed: usize) -> Option<usize> {
        let lies = self.candidates(history);
        let (place, told) = lies.get(seed.checked_rem(lies.len())?)?.clone();
        if let Some(outcome) = &mut history.operations[place].outcome {
            outcome.answer = Answer::Record(Some(told));
        }
        Some(place)
    }

    fn candidates(self, history: &History) -> Vec<(usize, Record)> {
        let facts = Facts::of(history);
        let mut lies = Vec::new();
        for (place, operation) in history.operations.iter().enumerate() {
            let (Request::Get { key }, Some(Answer::Record(seen))) = (&operation.request, operation.answer())
            else {
                continue;
            };
            let Some(written) = facts.written.get(key) else { continue };
            let Some(version) = seen.as_ref().and_then(|record| record.version) else { continue };
            let seen = written.partition_point(|write| write.version <= version);
            // What the get saw, and what was there before.
            let Some([first, second]) = seen.checked_sub(2).map(|at| [&written[at], &written[at + 1]]) else {
                continue;
            };
            let in_order = first.returned < second.called && second.returned < operation.called;
            let Some(old) = first.value.clone().filter(|_| in_order) else { continue };
            let version = match self {
                Self::StaleRead => first.version,
                Self::LostWrite if facts.rests_on(key, second.version) > 1 || second.many => continue,
                Self::LostWrite => first.version,
                Self::DoubleWrite => facts.last_version + 1,
            };
            lies.push((place, Record { value: old, version: Some(version) }));
        }
        lies
    }
}

/// A key's acknowledged change.
struct Written {
    version: u64,
    value: Option<Blob>,
    called: u64,
    returned: u64,
    /// Whether its batch changed other keys too.
    many: bool,
}

/// What was acknowledged, and who relied on it.
struct Facts {
    /// By key, in the order of versions.
    written: HashMap<Blob, Vec<Written>>,
    /// How many operations saw a key's version, or were judged by it.
    rested: HashMap<(Blob, u64), usize>,
    last_version: u64,
}

impl Facts {
    fn of(history: &History) -> Self {
        let mut facts = Self { written: HashMap::new(), rested: HashMap::new(), last_version: 0 };
        for operation in &history.operations {
            facts.add(operation);
        }
        for written in facts.written.values_mut() {
            written.sort_by_key(|write| write.version);
        }
        facts
    }

    fn add(&mut self, operation: &Operation) {
        let mut saw = |key: &Blob, record: &Option<Record>| {
            if let Some(version) = record.as_ref().and_then(|record| record.version) {
                *self.rested.entry((key.clone(), version)).or_default() += 1;
            }
        };
        match (&operation.request, operation.answer()) {
            (Request::Get { key }, Some(Answer::Record(record))) => saw(key, record),
            (Request::GetMany { keys }, Some(Answer::Records { records, .. })) => {
                keys.iter().zip(records).for_each(|(key, record)| saw(key, record));
            }
            (_, Some(Answer::Entries { entries, .. })) => {
                entries.iter().for_each(|(key, record)| saw(key, record))
            }
            (
                Request::Write { conditions, .. },
                Some(Answer::Conflict { index, current: Current::Present(record), .. }),
            ) => saw(&conditions[*index].0, &Some(record.clone())),
            (Request::Write { conditions, ops, .. }, Some(Answer::Committed { version: Some(version) })) => {
                for (key, condition) in conditions {
                    if let Condition::Version(version) = condition {
                        *self.rested.entry((key.clone(), *version)).or_default() += 1;
                    }
                }
                self.last_version = self.last_version.max(*version);
                let last: HashMap<&Blob, &Option<Blob>> =
                    ops.iter().map(|(key, value)| (key, value)).collect();
                for (key, value) in &last {
                    self.written.entry((*key).clone()).or_default().push(Written {
                        version: *version,
                        value: (*value).clone(),
                        called: operation.called,
                        returned: operation.returned(),
                        many: last.len() > 1,
                    });
                }
            }
            _ => {}
        }
    }

    fn rests_on(&self, key: &Blob, version: u64) -> usize {
        self.rested.get(&(key.clone(), version)).copied().unwrap_or(0)
    }
}
