//! Lies to plant in a history, each at a place where no explanation is left for it.

use std::collections::HashMap;

use rdb_checker::{Answer, Blob, Condition, Current, History, Operation, Outcome, Record, Request};

use crate::generator::Random;

/// A defect of a store, as it shows in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    StaleRead,
    LostWrite,
    DoubleWrite,
    SwappedVersions,
    WrongIndex,
    WrongCurrent,
    TornBatch,
    MissingEntry,
    Inversion,
    VersionForNothing,
    VersionTwice,
}

impl Lie {
    pub(crate) const ALL: [Self; 11] = [
        Self::StaleRead,
        Self::LostWrite,
        Self::DoubleWrite,
        Self::SwappedVersions,
        Self::WrongIndex,
        Self::WrongCurrent,
        Self::TornBatch,
        Self::MissingEntry,
        Self::Inversion,
        Self::VersionForNothing,
        Self::VersionTwice,
    ];

    /// The history with the lie at a random one of the places for it, if there is one. `clear` is the first
    /// key that no write of unknown outcome touches.
    pub(crate) fn plant(self, truth: &History, clear: &Blob, random: &mut Random) -> Option<History> {
        let known = Known::new(truth, clear);
        let lies: Vec<(usize, Answer)> = match self {
            Self::StaleRead => known.stale_reads(),
            Self::LostWrite => known.lost_writes(),
            Self::DoubleWrite => known.double_writes(),
            Self::WrongIndex => known.wrong_indices(),
            Self::WrongCurrent => known.wrong_currents(),
            Self::TornBatch => known.torn_batches(),
            Self::MissingEntry => known.missing_entries(),
            Self::VersionForNothing => known.versions_for_nothing(),
            Self::SwappedVersions | Self::VersionTwice | Self::Inversion => {
                return self.plant_in_two(truth, &known, random);
            }
        };
        let (index, answer) = random.choose(&lies)?;
        let mut history = truth.clone();
        history.operations[index].outcome.as_mut()?.answer = answer;
        Some(history)
    }

    fn plant_in_two(self, truth: &History, known: &Known<'_>, random: &mut Random) -> Option<History> {
        let pairs = if self == Self::Inversion { known.inversions() } else { known.successions() };
        let (one, other) = random.choose(&pairs)?;
        let mut history = truth.clone();
        let version = |index: usize| known.committed(index);
        match self {
            Self::Inversion => {
                let before = history.operations[one].called;
                let reader = &mut history.operations[other];
                reader.called = before - 1;
                reader.outcome.as_mut()?.returned = before - 1;
                history.operations.sort_by_key(|operation| operation.called);
            }
            Self::SwappedVersions => {
                history.operations[one].outcome.as_mut()?.answer =
                    Answer::Committed { version: version(other) };
                history.operations[other].outcome.as_mut()?.answer =
                    Answer::Committed { version: version(one) };
            }
            _ => {
                history.operations[other].outcome.as_mut()?.answer =
                    Answer::Committed { version: version(one) };
            }
        }
        Some(history)
    }
}

/// What is known of the clear keys.
struct Known<'h> {
    operations: &'h [Operation],
    clear: &'h Blob,
    /// Who committed each version.
    writers: HashMap<u64, usize>,
    /// For each clear key what its commits left, in their order.
    states: HashMap<&'h Blob, Vec<(u64, Option<Record>)>>,
    last: u64,
}

impl<'h> Known<'h> {
    fn new(history: &'h History, clear: &'h Blob) -> Self {
        let operations = &history.operations;
        let mut known = Self { operations, clear, writers: HashMap::new(), states: HashMap::new(), last: 0 };
        for index in 0..operations.len() {
            if let Some(version) = known.committed(index) {
                known.writers.insert(version, index);
                known.last = known.last.max(version);
            }
        }
        let mut writers: Vec<_> = known.writers.iter().map(|(version, index)| (*version, *index)).collect();
        writers.sort_unstable();
        for (version, index) in writers {
            let Request::Write { ops, .. } = &operations[index].request else { continue };
            let last: HashMap<_, _> = ops.iter().map(|(key, value)| (key, value)).collect();
            for (key, value) in last.into_iter().filter(|(key, _)| *key >= clear) {
                let record =
                    value.as_ref().map(|value| Record { value: value.clone(), version: Some(version) });
                known.states.entry(key).or_default().push((version, record));
            }
        }
        // Views may show versions behind the last commit.
        known.last += 1_000_000;
        known
    }

    fn committed(&self, index: usize) -> Option<u64> {
        match self.operations[index].answer()? {
            Answer::Committed { version } => *version,
            _ => None,
        }
    }

    /// The state of a key before a version of it.
    fn before(&self, key: &Blob, version: u64) -> Option<Record> {
        let states = self.states.get(key)?;
        let place = states.iter().position(|(other, _)| *other == version)?;
        states[place.checked_sub(1)?].1.clone()
    }

    fn answered(&self) -> impl Iterator<Item = (usize, &'h Operation, &'h Outcome)> {
        let operations = self.operations.iter().enumerate();
        operations.filter_map(|(index, operation)| Some((index, operation, operation.outcome.as_ref()?)))
    }

    /// A get that finds the record before one whose writer had returned when it was called, and which it
    /// found.
    fn stale_reads(&self) -> Vec<(usize, Answer)> {
        let mut lies = Vec::new();
        for (index, operation, outcome) in self.answered() {
            let (Request::Get { key }, Answer::Record(Some(record))) = (&operation.request, &outcome.answer)
            else {
                continue;
            };
            let Some(writer) = record.version.and_then(|version| self.writers.get(&version)) else {
                continue;
            };
            let stale = self.before(key, record.version.unwrap_or_default());
            if key >= self.clear && self.operations[*writer].returned() < operation.called && stale.is_some()
            {
                lies.push((index, Answer::Record(stale)));
            }
        }
        lies
    }

    /// Each record of a clear key in a get_many, and the answer with another in its stead.
    fn in_views(&self, instead: impl Fn(&Blob, &Record) -> Option<Option<Record>>) -> Vec<(usize, Answer)> {
        let mut lies = Vec::new();
        for (index, operation, outcome) in self.answered() {
            let (Request::GetMany { keys }, Answer::Records { version, records }) =
                (&operation.request, &outcome.answer)
            else {
                continue;
            };
            for (place, (key, record)) in keys.iter().zip(records).enumerate() {
                let Some(record) = record.as_ref().filter(|_| key >= self.clear) else { continue };
                if let Some(lie) = instead(key, record) {
                    let mut records = records.clone();
                    records[place] = lie;
                    lies.push((index, Answer::Records { version: *version, records }));
                }
            }
        }
        lies
    }

    fn lost_writes(&self) -> Vec<(usize, Answer)> {
        self.in_views(|key, record| Some(self.before(key, record.version?)))
    }

    fn double_writes(&self) -> Vec<(usize, Answer)> {
        self.in_views(|_, record| Some(Some(Record { version: Some(self.last), ..record.clone() })))
    }

    fn torn_batches(&self) -> Vec<(usize, Answer)> {
        self.in_views(|key, record| {
            let version = record.version?;
            let batch = &self.operations[*self.writers.get(&version)?];
            let Request::Write { ops, .. } = &batch.request else { return None };
            let several = ops.iter().any(|(other, _)| other != key);
            several.then(|| self.before(key, version))
        })
    }

    fn wrong_indices(&self) -> Vec<(usize, Answer)> {
        let mut lies = Vec::new();
        for (index, operation, outcome) in self.answered() {
            let (Request::Write { conditions, .. }, Answer::Conflict { index: failed, version, .. }) =
                (&operation.request, &outcome.answer)
            else {
                continue;
            };
            // An earlier one, which held.
            if *failed > 0 && conditions[0].0 >= *self.clear {
                let answer = Answer::Conflict { index: 0, version: *version, current: Current::Unsaid };
                lies.push((index, answer));
            }
            // A later one: the first then is said to have held.
            if *failed == 0 && conditions.len() > 1 && conditions[0].0 >= *self.clear {
                let answer = Answer::Conflict { index: 1, version: *version, current: Current::Unsaid };
                lies.push((index, answer));
            }
        }
        lies
    }

    fn wrong_currents(&self) -> Vec<(usize, Answer)> {
        let mut lies = Vec::new();
        for (index, operation, outcome) in self.answered() {
            let (Request::Write { conditions, .. }, Answer::Conflict { index: failed, version, current }) =
                (&operation.request, &outcome.answer)
            else {
                continue;
            };
            let (key, condition) = &conditions[*failed];
            let lie = match current {
                Current::Present(_) if !matches!(condition, Condition::Absent) => Current::Absent,
                Current::Present(record) => match self.before(key, record.version.unwrap_or_default()) {
                    Some(record) => Current::Present(record),
                    None => continue,
                },
                _ => continue,
            };
            if key >= self.clear {
                lies.push((index, Answer::Conflict { index: *failed, version: *version, current: lie }));
            }
        }
        lies
    }

    fn missing_entries(&self) -> Vec<(usize, Answer)> {
        let mut lies = Vec::new();
        for (index, _, outcome) in self.answered() {
            let Answer::Entries { version, entries } = &outcome.answer else { continue };
            for place in (0..entries.len()).filter(|place| entries[*place].0 >= *self.clear) {
                let mut entries = entries.clone();
                entries.remove(place);
                lies.push((index, Answer::Entries { version: *version, entries }));
            }
        }
        lies
    }

    fn versions_for_nothing(&self) -> Vec<(usize, Answer)> {
        let mut lies = Vec::new();
        for (index, operation, outcome) in self.answered() {
            let Request::Write { ops, .. } = &operation.request else { continue };
            if let Answer::Unchanged { version: Some(version) } = outcome.answer {
                // A version of its own, and the state it was judged in: no commit lies between.
                let free = !self.writers.contains_key(&(version + 1));
                if free && ops.iter().all(|(key, _)| key >= self.clear) {
                    lies.push((index, Answer::Committed { version: Some(version + 1) }));
                }
            }
        }
        lies
    }

    /// Two commits of which one had returned when the other was called.
    fn successions(&self) -> Vec<(usize, usize)> {
        let commits: Vec<usize> = self.writers.values().copied().collect();
        let mut pairs = Vec::new();
        for one in &commits {
            let returned = self.operations[*one].returned();
            let later = commits.iter().filter(|other| self.operations[**other].called > returned);
            pairs.extend(later.map(|other| (*one, *other)));
        }
        pairs.sort_unstable();
        pairs
    }

    /// A commit and a view that shows it.
    fn inversions(&self) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for (reader, _, outcome) in self.answered() {
            if let Answer::Records { version: Some(view), .. } | Answer::Entries { version: Some(view), .. } =
                outcome.answer
            {
                let seen = self.writers.iter().filter(|(version, _)| **version <= view);
                let seen = seen.filter(|(_, writer)| self.operations[**writer].called > 0);
                pairs.extend(seen.map(|(_, writer)| (*writer, reader)));
            }
        }
        pairs.sort_unstable();
        pairs
    }
}
