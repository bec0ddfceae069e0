use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::compare::record;
use crate::{
    Batch, Condition, Direction, Durability, Entry, Key, Op, Outcome, Projection, Record, Scan, Version,
};

/// What is stored.
pub(super) type State = BTreeMap<Key, Record>;

/// What a batch does to each key that it touches: the value to store, or none to remove the record.
type Changes = BTreeMap<Key, Option<Bytes>>;

/// Where an engine and the contract part: the promise that is broken, and what was seen instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) promise: String,
    pub(super) seen: String,
}

/// Fails with the promise, unless it was kept.
pub(super) fn promised(kept: bool, promise: &str, seen: impl FnOnce() -> String) -> Result<(), Broken> {
    if kept { Ok(()) } else { Err(Broken { promise: promise.to_owned(), seen: seen() }) }
}

/// The contract as a sorted map and a line of versions: what an engine has to answer to one caller.
///
/// What the contract leaves open, the model learns from the answers: which versions are given, which
/// version the view has after an opening, and how many of the last commits a crash took away.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// The commits in order, each with the state it made; the empty store comes first.
    commits: Vec<(Option<Version>, State)>,
    /// The place of the latest commit that a crash has to spare.
    safe: usize,
    /// The version of the present view, where an answer has told it.
    view: Option<Version>,
    /// The least that the version of the present view can be.
    view_floor: Option<Version>,
    /// The greatest version that anyone has seen.
    seen: Option<Version>,
    /// The versions of the commits that are gone.
    lost: BTreeSet<Version>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            commits: vec![(None, State::new())],
            safe: 0,
            view: None,
            view_floor: None,
            seen: None,
            lost: BTreeSet::new(),
        }
    }

    /// What is stored now.
    pub(super) fn state(&self) -> &State {
        &self.commits[self.latest()].1
    }

    /// A version that was not given yet.
    pub(super) fn never(&self) -> Version {
        let seen = self.seen.map_or(0, Version::get);
        Version::new(seen.saturating_add(1_000_000)).unwrap_or(Version::MIN)
    }

    fn latest(&self) -> usize {
        self.commits.len() - 1
    }

    /// The entries that a scan delivers (C8).
    pub(super) fn scan(&self, scan: &Scan) -> Vec<Entry> {
        let in_range = self.state().iter().filter(|(key, _)| scan.range.contains(key.as_bytes()));
        let records = scan.projection == Projection::Records;
        let mut entries: Vec<Entry> =
            in_range.map(|(key, record)| Entry::new(key.clone(), records.then(|| record.clone()))).collect();
        if scan.direction == Direction::Reverse {
            entries.reverse();
        }
        entries.truncate(scan.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
        entries
    }

    /// The place of the first condition that does not hold (C3, C6).
    fn fails(&self, batch: &Batch) -> Option<usize> {
        batch.conditions().iter().position(|(key, condition)| {
            let current = self.state().get(key);
            !match condition {
                Condition::Absent => current.is_none(),
                Condition::Present => current.is_some(),
                Condition::Version(version) => current.is_some_and(|record| record.version == *version),
                Condition::Value(value) => current.is_some_and(|record| record.value == value),
            }
        })
    }

    /// What the operations change (C2, C4): the last one on a key wins, and a delete needs a record.
    fn changes(&self, batch: &Batch) -> Changes {
        let mut changes = Changes::new();
        for (key, op) in batch.ops() {
            let value = if let Op::Put { value, .. } = op { Some(value.clone()) } else { None };
            changes.insert(key.clone(), value);
        }
        changes.retain(|key, value| value.is_some() || self.state().contains_key(key));
        changes
    }

    /// Compares what became of a batch, which asked for a level, with what has to become of it.
    pub(super) fn saw_outcome(
        &mut self,
        batch: &Batch,
        asked: Durability,
        best: Durability,
        outcome: &Outcome,
    ) -> Result<(), Broken> {
        let fails = self.fails(batch);
        let changes = self.changes(batch);
        let what = || format!("{outcome:?}");
        match outcome {
            Outcome::Conflict(conflict) => {
                let Some(index) = fails else {
                    return promised(
                        false,
                        "a batch whose conditions all hold is no conflict (C3, C6)",
                        what,
                    );
                };
                let key = &batch.conditions()[index].0;
                let place = conflict.index == index && conflict.key == *key;
                promised(place, "the first condition that fails is the one reported (C3)", || {
                    format!("{conflict:?}, but condition {index} on {key} is the first that fails")
                })?;
                let current = self.state().get(key);
                promised(
                    conflict.current.as_ref() == current,
                    "a conflict carries the current record (C7)",
                    || format!("{}, but there is {}", record(conflict.current.as_ref()), record(current)),
                )?;
                self.saw_view(conflict.version)
            }
            Outcome::Unchanged(answer) => {
                promised(
                    fails.is_none(),
                    "a batch with a condition that fails is a conflict (C3, C6)",
                    what,
                )?;
                promised(changes.is_empty(), "a batch that changes something is a commit (C4)", what)?;
                self.saw_view(answer.version)?;
                self.saw_level(asked, best, answer.durability)
            }
            Outcome::Committed(commit) => {
                promised(
                    fails.is_none(),
                    "a batch with a condition that fails is a conflict (C3, C6)",
                    what,
                )?;
                promised(!changes.is_empty(), "a batch that changes nothing is not a commit (C4)", what)?;
                self.commit(commit.version, changes)?;
                self.saw_level(asked, best, commit.durability)
            }
        }
    }

    fn commit(&mut self, version: Version, changes: Changes) -> Result<(), Broken> {
        let greater = self.seen.is_none_or(|seen| version > seen);
        promised(greater, "a commit's version is greater than all that were seen before (C4, C5)", || {
            format!("version {version} after {}", shown(self.seen))
        })?;
        let mut state = self.state().clone();
        for (key, value) in changes {
            match value {
                Some(value) => drop(state.insert(key, Record::new(value, version))),
                None => drop(state.remove(&key)),
            }
        }
        self.commits.push((Some(version), state));
        (self.view, self.seen) = (Some(version), Some(version));
        Ok(())
    }

    fn saw_level(&mut self, asked: Durability, best: Durability, reached: Durability) -> Result<(), Broken> {
        let enough = asked <= reached && reached <= best;
        promised(enough, "the level reached is at least the level asked, and at most the best (C9)", || {
            format!("{reached}, where {asked} was asked and {best} is the best")
        })?;
        if reached > Durability::Volatile {
            self.safe = self.latest();
        }
        Ok(())
    }

    /// Compares a version that an answer gave for the present view.
    pub(super) fn saw_view(&mut self, version: Version) -> Result<(), Broken> {
        if let Some(view) = self.view {
            return promised(
                version == view,
                "a view's version stays until the next commit (C4, C8)",
                || format!("version {version}, but the view is that of {view}"),
            );
        }
        let floor = self.view_floor.max(self.commits[self.latest()].0);
        promised(
            floor.is_none_or(|floor| version >= floor),
            "a view's version never goes back (C5)",
            || format!("version {version} after {}", shown(floor)),
        )?;
        promised(!self.lost.contains(&version), "no version stands for two states (C5)", || {
            format!("version {version}, that of a commit which is gone")
        })?;
        self.view = Some(version);
        self.seen = self.seen.max(Some(version));
        Ok(())
    }

    /// The engine came to an orderly end and was opened again; a volatile one starts empty.
    pub(super) fn reopened(&mut self, volatile: bool) {
        if volatile {
            self.keep(0);
        }
        // Not known any more: an opening may go on behind versions that it reserved.
        self.view_floor = self.view_floor.max(self.view.take());
    }

    /// The process died; [`settle`](Self::settle) has to tell what survived.
    pub(super) fn crashed(&mut self) {
        (self.view, self.view_floor) = (None, None);
    }

    fn keep(&mut self, place: usize) {
        self.lost.extend(self.commits.drain(place + 1..).filter_map(|(version, _)| version));
        self.safe = self.safe.min(place);
    }

    /// Compares what is there after a crash with what may be: a prefix of the commits, with all that were
    /// answered at a level which a crash spares (C9).
    pub(super) fn settle(&mut self, version: Version, state: &State) -> Result<(), Broken> {
        let places: Vec<usize> =
            (0..self.commits.len()).filter(|place| self.commits[*place].1 == *state).collect();
        let seen = || {
            let safe = shown(self.commits[self.safe].0);
            format!("view {version}, {}; safe is {safe} and all before", list(state.values()))
        };
        promised(
            !places.is_empty(),
            "what survives a crash is a prefix of the commits, each whole (C2, C9)",
            seen,
        )?;
        let spared = places.iter().any(|place| *place >= self.safe);
        promised(spared, "a commit that was answered as safe survives a crash (C9)", seen)?;
        // Where several states are equal, the latest: it leaves the most open for the next crash.
        let place = places.into_iter().rev().filter(|place| *place >= self.safe).find(|place| {
            self.commits[*place].0.is_none_or(|kept| version >= kept)
                && self.commits[place + 1..].iter().all(|(gone, _)| *gone != Some(version))
        });
        let Some(place) = place else {
            return promised(false, "after a crash a view has the version of its own commits (C5)", seen);
        };
        self.keep(place);
        self.saw_view(version)
    }
}

fn shown(version: Option<Version>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

/// Records in a few words.
fn list<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let records: Vec<String> = records.map(|found| record(Some(found))).collect();
    if records.is_empty() { "no record".to_owned() } else { records.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Commit;

    fn key(name: &'static str) -> Key {
        Key::new(name).unwrap()
    }

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    fn put(name: &'static str) -> Batch {
        Batch::new().put(key(name), "v")
    }

    fn commit(number: u64, durability: Durability) -> Outcome {
        Outcome::Committed(Commit { version: version(number), durability })
    }

    impl Model {
        fn sees(&mut self, batch: &Batch, outcome: &Outcome) -> Result<(), Broken> {
            self.saw_outcome(batch, Durability::Volatile, Durability::Synced, outcome)
        }
    }

    /// A model after three puts, of which the first is safe.
    fn after_three_puts() -> Model {
        let mut model = Model::new();
        model.sees(&put("a"), &commit(3, Durability::Process)).unwrap();
        model.sees(&put("b"), &commit(5, Durability::Volatile)).unwrap();
        model.sees(&put("c"), &commit(8, Durability::Volatile)).unwrap();
        model
    }

    fn promise(seen: Result<(), Broken>) -> String {
        seen.expect_err("the promise is broken").promise
    }

    #[test]
    fn versions_may_have_gaps_but_only_grow() {
        let mut model = after_three_puts();
        assert!(promise(model.sees(&put("d"), &commit(8, Durability::Process))).contains("greater"));
        assert!(promise(model.saw_view(version(9))).contains("stays until the next commit"));
        model.sees(&put("d"), &commit(90, Durability::Process)).unwrap();
        model.saw_view(version(90)).unwrap();
    }

    #[test]
    fn what_changes_nothing_is_unchanged() {
        let mut model = after_three_puts();
        let nothing = Batch::new().put(key("d"), "v").delete(key("d")).when(key("a"), Condition::Present);
        assert!(promise(model.sees(&nothing, &commit(9, Durability::Process))).contains("not a commit"));
        let unchanged = Outcome::Unchanged(Commit { version: version(8), durability: Durability::Process });
        model.sees(&nothing, &unchanged).unwrap();
        assert!(promise(model.sees(&put("a"), &unchanged)).contains("is a commit"));
    }

    #[test]
    fn a_crash_leaves_a_prefix_of_the_commits_with_all_safe_ones() {
        let (mut all, whole) = (after_three_puts(), after_three_puts().state().clone());
        all.crashed();
        let without = |names: &[&'static str]| {
            let mut state = whole.clone();
            names.iter().for_each(|name| drop(state.remove(&key(name))));
            state
        };
        all.clone().settle(version(8), &whole).unwrap();
        all.clone().settle(version(5), &without(&["c"])).unwrap();
        all.clone().settle(version(3), &without(&["b", "c"])).unwrap();
        assert!(promise(all.clone().settle(version(8), &without(&["b"]))).contains("a prefix"));
        assert!(
            promise(all.clone().settle(version(3), &without(&["a", "b", "c"]))).contains("answered as safe")
        );
        assert!(promise(all.clone().settle(version(8), &without(&["c"]))).contains("its own commits"));
        all.settle(version(5), &without(&["c"])).unwrap();
        assert!(promise(all.sees(&put("d"), &commit(8, Durability::Process))).contains("greater"));
        // What was lost does not come back, and a second crash spares what the first had to spare.
        all.crashed();
        assert!(promise(all.clone().settle(version(8), &whole)).contains("a prefix"));
        all.settle(version(3), &without(&["b", "c"])).unwrap();
    }

    #[test]
    fn an_answer_without_a_change_vouches_for_all_before_it() {
        let mut model = after_three_puts();
        let unchanged = Outcome::Unchanged(Commit { version: version(8), durability: Durability::Synced });
        model.sees(&Batch::new(), &unchanged).unwrap();
        let mut state = model.state().clone();
        model.crashed();
        state.remove(&key("c"));
        assert!(promise(model.settle(version(5), &state)).contains("answered as safe"));
    }

    #[test]
    fn a_volatile_engine_starts_empty_with_greater_versions() {
        let mut model = after_three_puts();
        model.reopened(true);
        assert!(model.state().is_empty());
        assert!(promise(model.clone().saw_view(version(7))).contains("never goes back"));
        assert!(promise(model.clone().saw_view(version(8))).contains("two states"));
        model.saw_view(version(1_000)).unwrap();
        assert!(promise(model.sees(&put("a"), &commit(1_000, Durability::Volatile))).contains("greater"));
    }
}
