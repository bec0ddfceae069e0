use std::collections::{HashMap, HashSet};

use crate::{Answer, Blob, Condition, Current, Operation, Record, Request};

use super::partition::{Group, Partitions};
use super::unknown::{Kept, Prepared, effects};

/// The operations on one set of keys, in the form in which they are tried over and over.
pub(super) struct Problem<'a> {
    /// The operations.
    pub(super) steps: Vec<Step>,
    pub(super) keys: Vec<&'a Blob>,
    /// All records that the operations write, from number 1; 0 stands for none.
    pub(super) records: Vec<Stored>,
    /// How many facts there are: that a key has no record, or one with a certain value.
    pub(super) facts: usize,
    values: HashMap<u32, &'a Blob>,
    owned: &'a HashSet<u64>,
}

/// An operation: it fits a state or not, and changes it.
#[derive(Debug)]
pub(super) struct Step {
    /// Its place in the history.
    pub(super) place: usize,
    pub(super) called: u64,
    /// None where it may take effect at any later time or never.
    pub(super) returned: Option<u64>,
    pub(super) form: Form,
}

/// What an operation does; of two with equal forms and no answer the order does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// What has to hold of the keys, all of it.
    pub(super) expects: Vec<(u32, Expect)>,
    /// Where not empty, one of these keys has to have a record.
    pub(super) any: Vec<u32>,
    /// The number of the record that each of these keys has then.
    pub(super) effects: Vec<(u32, u32)>,
}

/// What has to hold of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Expect {
    Absent,
    Present,
    /// This fact is so.
    Is(u32),
    /// It is not so.
    IsNot(u32),
    Version(u64),
    NotVersion(u64),
}

/// A record that an operation writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    fact: u32,
    version: Option<u64>,
}

/// Where the search got furthest.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// How many operations with an answer it placed.
    pub(super) placed: usize,
    /// The operations of which one had to be next.
    pub(super) open: Vec<usize>,
    /// The records of the keys.
    pub(super) state: Vec<u32>,
    /// The place in time of the first return of those.
    pub(super) first_return: u32,
    /// Operations that were called later and expect what one of those overwrites or puts.
    pub(super) later: Vec<usize>,
    /// Writes that had returned by then, and overwrite what one of those puts.
    pub(super) between: Vec<usize>,
}

impl Form {
    /// The facts that have to be so.
    pub(super) fn facts(&self) -> impl Iterator<Item = u32> {
        self.expects.iter().filter_map(|(cell, expect)| match expect {
            Expect::Absent => Some(*cell),
            Expect::Is(fact) => Some(*fact),
            _ => None,
        })
    }
}

impl<'a> Problem<'a> {
    pub(super) fn new(prepared: &'a Prepared<'a>, partitions: &Partitions<'a>, group: &Group) -> Self {
        let keys: Vec<&Blob> = group.keys.iter().map(|place| partitions.keys[*place]).collect();
        let operation = |index: usize| &prepared.history.operations[prepared.kept[index].place];
        let mut compiler = Compiler {
            partitions,
            facts: keys.len(),
            numbers: HashMap::new(),
            records: HashMap::new(),
            versions: group.operations.iter().any(|index| names_a_version(operation(*index))),
        };
        let step = |index: &usize| {
            let Kept { place, returned, version } = prepared.kept[*index];
            let operation = operation(*index);
            let form = compiler.form(operation, version);
            Step { place, called: operation.called, returned, form }
        };
        let steps = group.operations.iter().map(step).collect();
        let mut records = vec![Stored { fact: 0, version: None }; compiler.records.len() + 1];
        compiler.records.iter().for_each(|(stored, number)| records[*number as usize] = *stored);
        let values = compiler.numbers.iter().map(|((_, value), fact)| (*fact, *value)).collect();
        Self { steps, keys, records, facts: compiler.facts, values, owned: &prepared.owned }
    }

    /// The fact that a key has a record, of which 0 is none.
    pub(super) fn fact(&self, cell: u32, record: u32) -> u32 {
        if record == 0 { cell } else { self.records[record as usize].fact }
    }

    /// Whether an expectation holds of a key that has a record.
    pub(super) fn holds(&self, cell: u32, expect: Expect, record: u32) -> bool {
        match expect {
            Expect::Absent => record == 0,
            Expect::Present => record != 0,
            Expect::Is(fact) => self.fact(cell, record) == fact,
            Expect::IsNot(fact) => self.fact(cell, record) != fact,
            Expect::Version(version) => {
                record != 0
                    && match self.records[record as usize].version {
                        Some(own) => own == version,
                        None => !self.owned.contains(&version),
                    }
            }
            Expect::NotVersion(version) => {
                record == 0 || self.records[record as usize].version != Some(version)
            }
        }
    }

    /// The keys, for people.
    pub(super) fn keys(&self) -> String {
        const SHOWN: usize = 8;
        let shown: Vec<String> = self.keys.iter().take(SHOWN).map(ToString::to_string).collect();
        match self.keys.len().saturating_sub(SHOWN) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }

    pub(super) fn places(&self, stuck: &Stuck) -> Vec<usize> {
        const LATER: usize = 8;
        let told = |steps| <[usize]>::iter(steps).take(LATER);
        let steps = stuck.open.iter().chain(told(&stuck.between)).chain(told(&stuck.later));
        steps.map(|step| self.steps[*step].place).collect()
    }

    /// In words, where the search got furthest, and what is in the way.
    pub(super) fn explain(&self, stuck: &Stuck) -> String {
        let answered = self.steps.iter().filter(|step| step.returned.is_some()).count();
        let mut looked: Vec<u32> = stuck
            .open
            .iter()
            .map(|step| &self.steps[*step].form)
            .flat_map(|form| {
                let changed = form.effects.iter().map(|(cell, _)| *cell);
                form.expects.iter().map(|(cell, _)| *cell).chain(form.any.iter().copied()).chain(changed)
            })
            .collect();
        looked.sort_unstable();
        looked.dedup();
        let state: Vec<String> = looked
            .into_iter()
            .map(|cell| {
                let key = self.keys[cell as usize];
                match stuck.state[cell as usize] {
                    0 => format!("{key} is absent"),
                    record => {
                        let value = self.values.get(&self.records[record as usize].fact);
                        value.map_or_else(|| format!("{key} is there"), |value| format!("{key} is {value}"))
                    }
                }
            })
            .collect();
        let then = if state.is_empty() { String::new() } else { format!(" (there, {})", state.join(", ")) };
        let mut later = match stuck.later.len() {
            0 => String::new(),
            later => format!(", while {later} called later still expect what they overwrite or put"),
        };
        if !stuck.between.is_empty() {
            later.push_str(&format!(", and {} had overwritten it by then", stuck.between.len()));
        }
        format!(
            "no order of the operations explains every answer: the longest places {} of {answered} that have to be \
             in it, and none of those under way can be next{then}{later}. keys=`{}`",
            stuck.placed,
            self.keys()
        )
    }
}

fn names_a_version(operation: &Operation) -> bool {
    let Request::Write { conditions, .. } = &operation.request else { return false };
    conditions.iter().any(|(_, condition)| matches!(condition, Condition::Version(_)))
}

/// Gives numbers to facts and records.
struct Compiler<'a, 'b> {
    partitions: &'b Partitions<'a>,
    /// The first are those that a key is absent, by the number of its cell.
    facts: usize,
    numbers: HashMap<(u32, &'a Blob), u32>,
    records: HashMap<Stored, u32>,
    /// Whether a condition names a version; else records that differ in nothing else are equal.
    versions: bool,
}

impl<'a> Compiler<'a, '_> {
    fn cell(&self, key: &Blob) -> Option<u32> {
        self.partitions.place(key).map(|place| self.partitions.cells[place])
    }

    fn fact(&mut self, cell: u32, value: &'a Blob) -> u32 {
        let facts = &mut self.facts;
        *self.numbers.entry((cell, value)).or_insert_with(|| {
            *facts += 1;
            *facts as u32 - 1
        })
    }

    fn record(&mut self, cell: u32, value: &'a Blob, version: Option<u64>) -> u32 {
        let version = version.filter(|_| self.versions);
        let stored = Stored { fact: self.fact(cell, value), version };
        let next = self.records.len() as u32 + 1;
        *self.records.entry(stored).or_insert(next)
    }

    fn seen(&mut self, cell: u32, record: Option<&'a Record>) -> Expect {
        record.map_or(Expect::Absent, |record| Expect::Is(self.fact(cell, &record.value)))
    }

    fn holds(&mut self, cell: u32, condition: &'a Condition) -> Expect {
        match condition {
            Condition::Absent => Expect::Absent,
            Condition::Present => Expect::Present,
            Condition::Version(version) => Expect::Version(*version),
            Condition::Value(value) => Expect::Is(self.fact(cell, value)),
        }
    }

    fn fails(&mut self, cell: u32, condition: &'a Condition) -> Expect {
        match condition {
            Condition::Absent => Expect::Present,
            Condition::Present => Expect::Absent,
            Condition::Version(version) => Expect::NotVersion(*version),
            Condition::Value(value) => Expect::IsNot(self.fact(cell, value)),
        }
    }

    fn form(&mut self, operation: &'a Operation, version: Option<u64>) -> Form {
        let mut form = Form::default();
        match (&operation.request, operation.answer()) {
            (Request::Get { key }, Some(Answer::Record(record))) => {
                self.expect_seen(&mut form, key, record.as_ref());
            }
            (Request::GetMany { keys }, Some(Answer::Records { records, .. })) => {
                for (key, record) in keys.iter().zip(records) {
                    self.expect_seen(&mut form, key, record.as_ref());
                }
            }
            (Request::Scan { .. }, Some(Answer::Entries { entries, .. })) => {
                self.scan(&mut form, operation, entries);
            }
            (Request::Write { conditions, .. }, Some(Answer::Conflict { index, current, .. })) => {
                self.expect_held(&mut form, &conditions[..*index]);
                let (key, condition) = &conditions[*index];
                if let Some(cell) = self.cell(key) {
                    form.expects.push((cell, self.fails(cell, condition)));
                }
                match current {
                    Current::Unsaid => {}
                    Current::Absent => self.expect_seen(&mut form, key, None),
                    Current::Present(record) => self.expect_seen(&mut form, key, Some(record)),
                }
            }
            (Request::Write { conditions, ops, .. }, answer) => {
                self.expect_held(&mut form, conditions);
                self.write(&mut form, ops, answer, version);
            }
            // A read without an answer, or one that does not fit, was sorted out before.
            _ => {}
        }
        form
    }

    fn expect_seen(&mut self, form: &mut Form, key: &Blob, record: Option<&'a Record>) {
        if let Some(cell) = self.cell(key) {
            form.expects.push((cell, self.seen(cell, record)));
        }
    }

    fn expect_held(&mut self, form: &mut Form, conditions: &'a [(Blob, Condition)]) {
        for (key, condition) in conditions {
            if let Some(cell) = self.cell(key) {
                form.expects.push((cell, self.holds(cell, condition)));
            }
        }
    }

    /// Every key of the range that a scan passed was as it says: with the record it delivered, or absent.
    /// One that ended at its limit says nothing of what lies behind the last record.
    fn scan(&mut self, form: &mut Form, operation: &Operation, entries: &'a [(Blob, Option<Record>)]) {
        let Request::Scan { reverse, limit, .. } = &operation.request else { return };
        let mut passed = self.partitions.range(operation);
        if limit.is_some_and(|limit| entries.len() as u64 >= limit) {
            match entries.last().and_then(|(key, _)| self.partitions.place(key)) {
                None => return,
                Some(last) if *reverse => passed.start = last,
                Some(last) => passed.end = last + 1,
            }
        }
        let delivered: HashMap<&Blob, Option<&Record>> =
            entries.iter().map(|(key, record)| (key, record.as_ref())).collect();
        for place in passed {
            let cell = self.partitions.cells[place];
            let expect = match delivered.get(self.partitions.keys[place]) {
                None => Expect::Absent,
                Some(None) => Expect::Present,
                Some(record) => self.seen(cell, *record),
            };
            form.expects.push((cell, expect));
        }
    }

    fn write(
        &mut self,
        form: &mut Form,
        ops: &'a [(Blob, Option<Blob>)],
        answer: Option<&Answer>,
        version: Option<u64>,
    ) {
        let effects = effects(ops);
        let deletes_only = effects.values().all(Option::is_none);
        for (key, value) in effects {
            let Some(cell) = self.cell(key) else { continue };
            match (answer, value) {
                (Some(Answer::Unchanged { .. }), _) => form.expects.push((cell, Expect::Absent)),
                (_, Some(value)) => form.effects.push((cell, self.record(cell, value, version))),
                (answer, None) => {
                    if deletes_only && matches!(answer, Some(Answer::Committed { .. })) {
                        form.any.push(cell);
                    }
                    form.effects.push((cell, 0));
                }
            }
        }
    }
}
