//! What watches and times to live tell, put as operations of nobody, so that all else works on operations.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::facts::Facts;
use super::owners;
use crate::expiry::{self, ttl_of};
use crate::{Answer, Blob, Condition, Delivered, History, Operation, Outcome, Request, Verdict, Violation};

/// A history with operations of nobody behind its own.
pub(super) struct Told {
    pub(super) history: History,
    /// Whether a removal that a watch saw may be that of several writes of unknown outcome.
    pub(super) guessed: bool,
    /// For each operation of nobody, what it stands for.
    names: Vec<String>,
    /// How many operations are somebody's.
    own: usize,
}

/// Adds to a history, where it has watches or times to live:
/// - for each answer and event of a watch a read of that view, which had returned when the event was there;
/// - for each removal that a watch saw a write at its version, called when the record's time was over;
/// - for each other removal that times to live permit a write of unknown outcome, called then.
///
/// # Errors
/// The verdict, where what a watch delivered cannot be right.
pub(super) fn tell(history: &History) -> Result<Option<Told>, Verdict> {
    let removals = expiry::removals(history);
    if history.watches.is_empty() && removals.is_empty() {
        return Ok(None);
    }
    let own = history.operations.len();
    let mut told = Told { history: history.clone(), guessed: false, names: Vec::new(), own };
    told.add_sightings();
    let mut versions = told.versions()?;
    if told.find_deletes(&mut versions)? {
        versions = told.versions()?;
    }
    let mut changes = Changes::of(&told.history, &versions);
    told.add_expiries(&mut changes)?;
    let permitted: Vec<_> = removals
        .into_iter()
        .filter_map(|removal| {
            let version = versions.get(&removal.put).copied();
            if version.is_some_and(|version| changes.shown(history, removal.key, version)) {
                return None;
            }
            let condition =
                version.map_or_else(|| Condition::Value(removal.value.clone()), Condition::Version);
            let name = format!("the removal of what operation {} put under {}", removal.put, removal.key);
            Some((removal.operation(condition), name))
        })
        .collect();
    permitted.into_iter().for_each(|(operation, name)| told.push(operation, name));
    Ok(Some(told))
}

impl Told {
    fn push(&mut self, operation: Operation, name: String) {
        self.history.operations.push(operation);
        self.names.push(name);
    }

    /// The verdict in terms of the history as it was: operations of nobody are described.
    pub(super) fn retell(&self, verdict: Verdict) -> Verdict {
        let Verdict::Violation(mut violation) = verdict else { return verdict };
        for op in violation.operations.iter().filter(|op| **op >= self.own) {
            violation.message.push_str(&format!("; operation {op} is {}", self.names[op - self.own]));
        }
        violation.operations.retain(|op| *op < self.own);
        Verdict::Violation(violation)
    }

    fn add_sightings(&mut self) {
        let watches = std::mem::take(&mut self.history.watches);
        for (number, watch) in watches.iter().enumerate() {
            let Some((at, version)) = watch.began else { continue };
            // A start that the reader chose may lie in the past, but not beyond the present.
            let called = if watch.after.is_none() { watch.called } else { 0 };
            self.push(view(called, at, version, &[]), format!("the start of watch {number}"));
            for event in &watch.events {
                let (version, ops) = match &event.delivered {
                    Delivered::Commit { version, ops, .. } => (*version, &ops[..]),
                    Delivered::Progress { version } => (*version, &[][..]),
                };
                let name = format!("what watch {number} delivered at {} of version {version}", event.at);
                self.push(view(0, event.at, version, ops), name);
            }
        }
        self.history.watches = watches;
    }

    /// The version of every write that took effect, as far as it is known.
    fn versions(&mut self) -> Result<HashMap<usize, u64>, Verdict> {
        let mut facts = Facts::new(&self.history).map_err(|verdict| self.retell(verdict))?;
        let owners = owners::find(&mut facts).map_err(|(violation, guessed)| {
            self.retell(super::contradiction(violation, guessed || self.guessed))
        })?;
        let guessed = owners.guessed;
        let versions = owners.commits.into_iter().map(|(version, op)| (op as usize, version)).collect();
        self.guessed |= guessed;
        Ok(versions)
    }

    /// Gives the removals that watches saw, and that no write is known to have made, to writes of unknown
    /// outcome. Whether there were any.
    fn find_deletes(&mut self, versions: &mut HashMap<usize, u64>) -> Result<bool, Verdict> {
        let mut owned: BTreeSet<u64> = versions.values().copied().collect();
        let mut found = Vec::new();
        for (number, watch) in self.history.watches.iter().enumerate() {
            for event in &watch.events {
                let Delivered::Commit { version, expiry: false, ops } = &event.delivered else { continue };
                if !owned.insert(*version) {
                    continue;
                }
                let fits = |op: &usize| {
                    let operation = &self.history.operations[*op];
                    let Request::Write { ops: wrote, .. } = &operation.request else { return false };
                    let deletes =
                        |key| wrote.iter().rfind(|(other, _)| other == key).is_some_and(|op| op.1.is_none());
                    let puts = wrote
                        .iter()
                        .any(|(key, value)| value.is_some() && watch.covers(key) && !deletes(key));
                    operation.outcome.is_none()
                        && operation.called <= event.at
                        && !versions.contains_key(op)
                        && !puts
                        && ops.iter().all(|(key, _)| deletes(key))
                };
                let mut candidates: Vec<usize> = (0..self.own).filter(fits).collect();
                candidates.sort_by_key(|op| self.history.operations[*op].called);
                let Some(op) = candidates.first().copied() else {
                    let message = format!(
                        "watch {number} delivered a commit of version {version}, which nobody can have made"
                    );
                    let violation = Violation { message, operations: Vec::new() };
                    return Err(super::contradiction(violation, self.guessed));
                };
                self.guessed |= candidates.len() > 1;
                versions.insert(op, *version);
                found.push((op, event.at, *version));
            }
        }
        for (op, returned, version) in &found {
            let answer = Answer::Committed { version: Some(*version) };
            self.history.operations[*op].outcome = Some(Outcome { returned: *returned, answer });
        }
        Ok(!found.is_empty())
    }

    /// Adds the removals that watches saw: each at its version, and not before the record's time was over.
    fn add_expiries(&mut self, changes: &mut Changes) -> Result<(), Verdict> {
        let mut seen: BTreeMap<u64, (u64, usize, BTreeSet<Blob>)> = BTreeMap::new();
        for (number, watch) in self.history.watches.iter().enumerate() {
            for event in &watch.events {
                let Delivered::Commit { version, expiry: true, ops } = &event.delivered else { continue };
                let (at, _, keys) = seen.entry(*version).or_insert((event.at, number, BTreeSet::new()));
                *at = event.at.min(*at);
                keys.extend(ops.iter().map(|(key, _)| key.clone()));
            }
        }
        for (version, (at, watch, keys)) in seen {
            let (mut called, mut conditions, mut ops) = (0, Vec::new(), Vec::new());
            for key in keys {
                let (due, condition) = Self::due(changes, &key, version, at).map_err(|(problem, by)| {
                    let message = format!(
                        "watch {watch} saw at {at} that {key} was removed at version {version} because its \
                         time was over, but {problem}"
                    );
                    super::contradiction(Violation { message, operations: by }, self.guessed)
                })?;
                called = due.max(called);
                conditions.extend(condition.map(|condition| (key.clone(), condition)));
                changes.add(&key, version, Change::Expired);
                ops.push((key, None));
            }
            let outcome =
                Some(Outcome { returned: at, answer: Answer::Committed { version: Some(version) } });
            let request = Request::Write { conditions, ops, ttls: Vec::new() };
            let operation = Operation { process: u64::MAX, request, called, outcome };
            self.push(operation, format!("the removal at version {version} that watch {watch} saw"));
        }
        Ok(())
    }

    /// When the record that was there before a version could be removed, and what tells it from others.
    fn due(
        changes: &Changes,
        key: &Blob,
        version: u64,
        at: u64,
    ) -> Result<(u64, Option<Condition>), (String, Vec<usize>)> {
        // A put that nobody saw may have been in between.
        let unseen = changes.unseen.get(key).into_iter().flatten().filter(|due| **due <= at).min();
        let before = changes.before(key, version);
        if let Some(unseen) = unseen {
            let seen = if let Some((_, Change::Put { due, .. })) = before { due } else { None };
            return Ok((seen.map_or(*unseen, |seen| seen.min(*unseen)), None));
        }
        let Some((put, change)) = before else {
            return Err(("nobody had put it".to_owned(), Vec::new()));
        };
        match change {
            Change::Put { due: Some(due), .. } if due <= at => Ok((due, Some(Condition::Version(put)))),
            Change::Put { by, due: Some(due) } => {
                let problem = format!("operation {by} had put it at version {put}, to stay until {due}");
                Err((problem, vec![by]))
            }
            Change::Put { by, due: None } => {
                let problem = format!("operation {by} had put it at version {put}, to stay for ever");
                Err((problem, vec![by]))
            }
            Change::Deleted { by } => {
                Err((format!("operation {by} had deleted it at version {put}"), vec![by]))
            }
            Change::Expired => Err((format!("it had been removed already, at version {put}"), Vec::new())),
        }
    }
}

/// A read of a view, by nobody.
fn view(called: u64, returned: u64, version: u64, ops: &[(Blob, Option<crate::Record>)]) -> Operation {
    let keys = ops.iter().map(|(key, _)| key.clone()).collect();
    let records = ops.iter().map(|(_, record)| record.clone()).collect();
    let answer = Answer::Records { version: Some(version), records };
    let outcome = Some(Outcome { returned, answer });
    Operation { process: u64::MAX, request: Request::GetMany { keys }, called, outcome }
}

/// What a commit did to a key.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put { by: usize, due: Option<u64> },
    Deleted { by: usize },
    Expired,
}

/// The commits of each key, as far as their versions are known.
struct Changes {
    of: HashMap<Blob, BTreeMap<u64, Change>>,
    /// When the records that writes put of which nobody knows whether they took effect may be removed.
    unseen: HashMap<Blob, Vec<u64>>,
}

impl Changes {
    fn of(history: &History, versions: &HashMap<usize, u64>) -> Self {
        let mut changes = Self { of: HashMap::new(), unseen: HashMap::new() };
        for (by, operation) in history.operations.iter().enumerate() {
            let Request::Write { ops, ttls, .. } = &operation.request else { continue };
            let version = versions.get(&by);
            for (key, value) in ops {
                let due = ttl_of(ttls, key).map(|ttl| operation.called.saturating_add(ttl));
                let change = match value {
                    Some(_) => Change::Put { by, due },
                    None => Change::Deleted { by },
                };
                match (version, due) {
                    (Some(version), _) => changes.add(key, *version, change),
                    (None, Some(due)) if value.is_some() && operation.outcome.is_none() => {
                        changes.unseen.entry(key.clone()).or_default().push(due);
                    }
                    _ => {}
                }
            }
        }
        changes
    }

    fn add(&mut self, key: &Blob, version: u64, change: Change) {
        self.of.entry(key.clone()).or_default().insert(version, change);
    }

    fn before(&self, key: &Blob, version: u64) -> Option<(u64, Change)> {
        let changes = self.of.get(key)?;
        changes.range(..version).next_back().map(|(version, change)| (*version, *change))
    }

    /// Whether a removal of the record that was put at a version would have been seen: it was, or a watch
    /// delivered all that happened from that put to the next change of the key.
    fn shown(&self, history: &History, key: &Blob, version: u64) -> bool {
        let next = self.of.get(key).and_then(|changes| changes.range(version + 1..).next());
        let Some((next, change)) = next else { return false };
        matches!(change, Change::Expired)
            || history.watches.iter().filter(|watch| watch.covers(key)).any(|watch| {
                watch.began.is_some_and(|(_, began)| began <= version)
                    && watch.complete_to().is_some_and(|end| end >= *next)
            })
    }
}
