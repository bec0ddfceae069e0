//! What watches delivered, compared with what was committed.

use std::collections::{BTreeMap, HashMap};

use super::facts::Facts;
use super::pending::Pending;
use super::timeline::Timeline;
use crate::{Blob, Delivered, History, Record, Violation, Watch};

/// What is wrong with a watch whatever was committed: versions that do not ascend, keys that it does not
/// watch, a commit of nothing, a record of another version.
pub(super) fn malformed(history: &History) -> Option<Violation> {
    let violation = |message| Violation { message, operations: Vec::new() };
    history
        .watches
        .iter()
        .enumerate()
        .find_map(|(number, watch)| form(watch).map(|problem| violation(format!("watch {number} {problem}"))))
}

fn form(watch: &Watch) -> Option<String> {
    let (_, began) = watch.began?;
    if let Some(after) = watch.after.filter(|after| *after != began) {
        return Some(format!("was asked to begin behind version {after}, but began behind {began}"));
    }
    let mut last = began;
    for event in &watch.events {
        match &event.delivered {
            Delivered::Progress { version } if *version < last => {
                return Some(format!("told progress to version {version} behind version {last}"));
            }
            Delivered::Progress { version } => last = *version,
            Delivered::Commit { version, .. } if *version <= last => {
                return Some(format!(
                    "delivered version {version} behind version {last}: repeated, or out of order"
                ));
            }
            Delivered::Commit { version, expiry, ops } => {
                last = *version;
                if let Some(problem) = content(watch, *version, *expiry, ops) {
                    return Some(format!("delivered version {version} {problem}"));
                }
            }
        }
    }
    let end = watch.ended.as_ref()?.version.filter(|end| *end < last)?;
    Some(format!("ended with version {end} as the last one, but had delivered version {last}"))
}

fn content(watch: &Watch, version: u64, expiry: bool, ops: &[(Blob, Option<Record>)]) -> Option<String> {
    if ops.is_empty() {
        return Some("without any key".to_owned());
    }
    if let Some((key, _)) = ops.iter().find(|(key, _)| !watch.covers(key)) {
        return Some(format!("with key {key}, which it does not watch"));
    }
    if let Some(pair) = ops.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Some(format!("with key {} behind key {}, out of order", pair[1].0, pair[0].0));
    }
    let records = || ops.iter().filter_map(|(key, record)| Some((key, record.as_ref()?)));
    if let Some((key, _)) = records().find(|_| expiry) {
        return Some(format!("as a removal, but with a record under {key}"));
    }
    let (key, record) = records().find(|(_, record)| record.version != Some(version))?;
    Some(match record.version {
        Some(other) => format!("with a record of version {other} under {key}"),
        None => format!("with a record without a version under {key}"),
    })
}

/// What a key's commit left, by the key's number.
struct Expected<'h> {
    value: Option<&'h Blob>,
    /// Whether it may be left out: it deletes what may have been gone already.
    idle: bool,
    by: u32,
}

/// Looks for a commit that a watch left out, tore or changed. Every commit is known here, by its owner.
pub(super) fn violation<'h>(facts: &Facts<'h>, line: &Timeline<'h>, pending: &Pending) -> Option<Violation> {
    let watches = facts.history.watches.iter().enumerate();
    watches.into_iter().find_map(|(number, watch)| {
        let (problem, by) = compare(facts, line, pending, watch)?;
        let message = format!("watch {number} {problem}");
        Some(super::wording::violation(message, &[by]))
    })
}

fn compare<'h>(
    facts: &Facts<'h>,
    line: &Timeline<'h>,
    pending: &Pending,
    watch: &Watch,
) -> Option<(String, u32)> {
    let (Some((_, began)), Some(end)) = (watch.began, watch.complete_to()) else { return None };
    let mut delivered: HashMap<u64, &[(Blob, Option<Record>)]> = HashMap::new();
    for event in &watch.events {
        if let Delivered::Commit { version, ops, .. } = &event.delivered {
            delivered.insert(*version, ops);
        }
    }
    for (version, changed) in committed(facts, line, pending, watch, began, end) {
        let by = changed.values().next().map_or(super::timeline::NOBODY, |change| change.by);
        let Some(ops) = delivered.remove(&version) else {
            if changed.values().all(|change| change.idle) {
                continue;
            }
            let problem = format!(
                "delivered everything from version {began} to version {end}, but not version {version}, \
                 which operation {by} committed"
            );
            return Some((problem, by));
        };
        let torn = |key: &Blob, what: &str| {
            let problem = format!(
                "delivered version {version}, which operation {by} committed, {what} what it did to key {key}"
            );
            Some((problem, by))
        };
        for (key, change) in &changed {
            let name = facts.keys[*key as usize];
            match ops.iter().find(|(other, _)| other == name) {
                Some((_, record)) if record.as_ref().map(|record| &record.value) != change.value => {
                    return torn(name, "with something else than");
                }
                None if !change.idle => return torn(name, "without"),
                _ => {}
            }
        }
        let named = |name: &Blob| changed.keys().any(|key| facts.keys[*key as usize] == name);
        if let Some((key, _)) = ops.iter().find(|(key, _)| !named(key)) {
            return torn(key, "with a change that is none of");
        }
    }
    let version = delivered.into_keys().min()?;
    Some((
        format!("delivered version {version}, but no commit of that version touched what it watches"),
        super::timeline::NOBODY,
    ))
}

/// What the commits of a range of versions did to the watched keys.
fn committed<'h>(
    facts: &Facts<'h>,
    line: &Timeline<'h>,
    pending: &Pending,
    watch: &Watch,
    began: u64,
    end: u64,
) -> BTreeMap<u64, BTreeMap<u32, Expected<'h>>> {
    let rank = |bound: &Blob| facts.keys.partition_point(|key| *key < bound) as u32;
    let keys = rank(&watch.start)..watch.end.as_ref().map_or(facts.keys.len() as u32, rank);
    let mut commits: BTreeMap<u64, BTreeMap<u32, Expected<'h>>> = BTreeMap::new();
    for key in keys {
        for index in line.of(key).skip(1) {
            let entry = &line.entries[index];
            if entry.version <= began || entry.version > end {
                continue;
            }
            // A commit of one delete found its record.
            let alone = facts.effects(entry.op).len() == 1;
            let by = facts.returned[entry.op as usize];
            let gone = || line.entries[index - 1].value.is_none() || pending.deleter(facts, key, by);
            let idle = entry.value.is_none() && !alone && gone();
            let expected = Expected { value: entry.value, idle, by: entry.op };
            commits.entry(entry.version).or_default().insert(key, expected);
        }
    }
    commits
}
