//! Lies of a watch, or of expiry, each at a place where no explanation is left for it.

use std::collections::HashMap;

use rdb_checker::{Answer, Blob, Delivered, History, Operation, Request, WatchEvent};

use crate::generator::Random;

/// A defect of a store, as it shows in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// A watch leaves out a commit, and goes on.
    Skipped,
    Repeated,
    Reordered,
    /// A watch delivers a commit without one of its keys.
    Torn,
    /// A watch delivers the halves of a commit one after the other.
    Split,
    /// A watch delivers another value than was put.
    Changed,
    /// A watch delivers a record with another version than the commit's.
    Misnumbered,
    /// A watch delivers a commit that nobody made.
    Invented,
    /// A watch delivers what had not begun.
    TooSoon,
    /// A read that was called after a watch had delivered a record shows the one before.
    StaleAfterWatch,
    /// A record is removed, as a watch sees, before its time is over.
    RemovedEarly,
    /// A record that was to stay for ever is removed, as a watch sees.
    RemovedForNothing,
    /// A removal by a caller is said to be the store's, or the other way about.
    WrongCause,
    /// A get misses a record whose time is not over.
    VanishedEarly,
}

impl Lie {
    pub(crate) const ALL: [Self; 14] = [
        Self::Skipped,
        Self::Repeated,
        Self::Reordered,
        Self::Torn,
        Self::Split,
        Self::Changed,
        Self::Misnumbered,
        Self::Invented,
        Self::TooSoon,
        Self::StaleAfterWatch,
        Self::RemovedEarly,
        Self::RemovedForNothing,
        Self::WrongCause,
        Self::VanishedEarly,
    ];

    /// The history with the lie at a random one of the places for it, if there is one. `clear` is the first
    /// key that no write of unknown outcome touches.
    pub(crate) fn plant(self, truth: &History, clear: &Blob, random: &mut Random) -> Option<History> {
        let known = Known::new(truth, clear);
        let mut history = truth.clone();
        match self {
            Self::VanishedEarly => {
                let op = random.choose(&known.young_reads())?;
                history.operations[op].outcome.as_mut()?.answer = Answer::Record(None);
                return Some(history);
            }
            Self::StaleAfterWatch => {
                let (op, answer) = random.choose(&known.stale_reads())?;
                history.operations[op].outcome.as_mut()?.answer = answer;
                return Some(history);
            }
            _ => {}
        }
        let mut places = Vec::new();
        for (number, watch) in truth.watches.iter().enumerate() {
            for (place, event) in watch.events.iter().enumerate() {
                let Delivered::Commit { version, expiry, ops } = &event.delivered else { continue };
                if ops.iter().any(|(key, _)| key < clear) {
                    continue;
                }
                let last = place + 1 == watch.events.len();
                let puts = ops.iter().any(|(_, record)| record.is_some());
                let next = watch.events.get(place + 1).map(|event| &event.delivered);
                let writer = known.writers.get(version);
                let fits = match self {
                    // Where a batch only deletes, it may have changed other keys alone.
                    Self::Skipped => !*expiry && !last && puts,
                    Self::Repeated | Self::WrongCause | Self::Invented => true,
                    Self::Reordered => matches!(next, Some(Delivered::Commit { .. })),
                    Self::Torn | Self::Split => ops.len() > 1 && puts,
                    Self::Changed | Self::Misnumbered => puts,
                    Self::TooSoon => writer.is_some_and(|op| truth.operations[*op].called > 0),
                    // Those before it would be delivered before they were committed.
                    Self::RemovedEarly => *expiry,
                    Self::RemovedForNothing => *expiry && known.put_before(&ops[0].0, *version).is_some(),
                    Self::StaleAfterWatch | Self::VanishedEarly => false,
                };
                if fits {
                    places.push((number, place));
                }
            }
        }
        let (number, place) = random.choose(&places)?;
        let event = truth.watches[number].events[place].clone();
        let Delivered::Commit { version, expiry, ops } = event.delivered.clone() else { return None };
        let events = &mut history.watches[number].events;
        let put = ops.iter().position(|(_, record)| record.is_some());
        let with = |ops| WatchEvent { at: event.at, delivered: Delivered::Commit { version, expiry, ops } };
        match self {
            Self::Skipped => _ = events.remove(place),
            Self::Repeated => events.insert(place, event),
            Self::Reordered => events.swap(place, place + 1),
            Self::Torn => {
                let mut ops = ops.clone();
                ops.remove(put?);
                events[place] = with(ops);
            }
            Self::Split => {
                events[place] = with(ops[..1].to_vec());
                events.insert(place + 1, with(ops[1..].to_vec()));
            }
            Self::Changed | Self::Misnumbered => {
                let mut ops = ops.clone();
                let record = ops[put?].1.as_mut()?;
                match self {
                    Self::Changed => record.value = "never".into(),
                    _ => record.version = Some(version + 1),
                }
                events[place] = with(ops);
            }
            Self::Invented => {
                let ops = ops.iter().map(|(key, _)| (key.clone(), None)).collect();
                let version = version + 1_000_000;
                let delivered = Delivered::Commit { version, expiry: false, ops };
                events.truncate(place + 1);
                events.push(WatchEvent { at: event.at, delivered });
                history.watches[number].ended = None;
                // Else a later watch of the reader contradicts it, for another reason.
                history.watches.truncate(number + 1);
            }
            Self::TooSoon => {
                let at = truth.operations[known.writers[&version]].called - 1;
                events[place].at = at;
            }
            Self::RemovedEarly => {
                let (_, due) = known.put_before(&ops[0].0, version)?;
                events[place].at = due? - 1;
            }
            Self::RemovedForNothing => {
                let (put, _) = known.put_before(&ops[0].0, version)?;
                let Request::Write { ttls, .. } = &mut history.operations[put].request else { return None };
                ttls.retain(|(key, _)| *key != ops[0].0);
            }
            Self::WrongCause => {
                events[place].delivered = Delivered::Commit { version, expiry: !expiry, ops };
                // Of several watches that saw it, one that tells the truth is not enough.
            }
            Self::StaleAfterWatch | Self::VanishedEarly => return None,
        }
        Some(history)
    }
}

/// What is known of the clear keys.
struct Known<'h> {
    history: &'h History,
    clear: &'h Blob,
    writers: HashMap<u64, usize>,
}

impl<'h> Known<'h> {
    fn new(history: &'h History, clear: &'h Blob) -> Self {
        let mut writers = HashMap::new();
        for (index, operation) in history.operations.iter().enumerate() {
            if let Some(Answer::Committed { version: Some(version) }) = operation.answer() {
                writers.insert(*version, index);
            }
        }
        Self { history, clear, writers }
    }

    /// Who put the record that was under a key before a version, and when it may be removed.
    fn put_before(&self, key: &Blob, version: u64) -> Option<(usize, Option<u64>)> {
        let touches = |op: usize| effect(&self.history.operations[op], key).is_some();
        let before = self.writers.iter().filter(|(other, op)| **other < version && touches(**op));
        let (_, op) = before.max_by_key(|(other, _)| **other)?;
        Some((*op, due(&self.history.operations[*op], key)))
    }

    /// Gets of clear keys that returned while the record they found could not yet be removed.
    fn young_reads(&self) -> Vec<usize> {
        let mut reads = Vec::new();
        for (index, operation) in self.history.operations.iter().enumerate() {
            let (Request::Get { key }, Some(Answer::Record(Some(record)))) =
                (&operation.request, operation.answer())
            else {
                continue;
            };
            let Some(put) = record.version.and_then(|version| self.writers.get(&version)) else { continue };
            let put = &self.history.operations[*put];
            // Nobody else touches the key from the put's return to the get's.
            let alone = self.history.operations.iter().all(|other| {
                std::ptr::eq(other, put)
                    || effect(other, key).is_none()
                    || other.returned() < put.called
                    || other.called > operation.returned()
            });
            let young = due(put, key).is_some_and(|due| operation.returned() < due);
            if key >= self.clear && young && alone && put.returned() < operation.called {
                reads.push(index);
            }
        }
        reads
    }

    /// Gets of clear keys called after a watch delivered the record they found, and the one before instead.
    fn stale_reads(&self) -> Vec<(usize, Answer)> {
        let mut seen = HashMap::new();
        for event in self.history.watches.iter().flat_map(|watch| &watch.events) {
            if let Delivered::Commit { version, .. } = &event.delivered {
                let at = seen.entry(*version).or_insert(event.at);
                *at = event.at.min(*at);
            }
        }
        let mut lies = Vec::new();
        for (index, operation) in self.history.operations.iter().enumerate() {
            let (Request::Get { key }, Some(Answer::Record(Some(record)))) =
                (&operation.request, operation.answer())
            else {
                continue;
            };
            let Some(version) = record.version.filter(|_| key >= self.clear) else { continue };
            let Some((put, _)) = self.put_before(key, version) else { continue };
            let Some(value) = effect(&self.history.operations[put], key).flatten() else { continue };
            let Some(Answer::Committed { version: old }) = self.history.operations[put].answer() else {
                continue;
            };
            if seen.get(&version).is_some_and(|at| *at < operation.called) {
                let stale = rdb_checker::Record { value: value.clone(), version: *old };
                lies.push((index, Answer::Record(Some(stale))));
            }
        }
        lies
    }
}

/// What an operation leaves under a key, if it may have changed it.
fn effect<'h>(operation: &'h Operation, key: &Blob) -> Option<Option<&'h Blob>> {
    let Request::Write { ops, .. } = &operation.request else { return None };
    if !matches!(operation.answer(), None | Some(Answer::Committed { .. })) {
        return None;
    }
    ops.iter().rfind(|(other, _)| other == key).map(|(_, value)| value.as_ref())
}

fn due(operation: &Operation, key: &Blob) -> Option<u64> {
    let Request::Write { ttls, .. } = &operation.request else { return None };
    let ttl = ttls.iter().rfind(|(other, _)| other == key)?.1;
    effect(operation, key).flatten().map(|_| operation.called + ttl)
}
