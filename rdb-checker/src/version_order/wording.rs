use super::facts::Facts;
use super::replay::Trouble;
use super::timeline::{Entry, NOBODY};
use crate::Violation;

pub(super) fn violation(message: String, operations: &[u32]) -> Violation {
    let mut places: Vec<usize> = Vec::with_capacity(operations.len());
    for op in operations.iter().filter(|op| **op != NOBODY) {
        if !places.contains(&(*op as usize)) {
            places.push(*op as usize);
        }
    }
    Violation { message, operations: places }
}

/// What a key holds, and by whom.
pub(super) fn state(entry: &Entry<'_>) -> String {
    let Entry { version, op, value, .. } = entry;
    match value {
        _ if *op == NOBODY => "nobody had written it yet".to_owned(),
        Some(value) => format!("operation {op} had put {value} there at version {version}"),
        None => format!("operation {op} had deleted it at version {version}"),
    }
}

/// A trouble for which there is no way out.
pub(super) fn trouble(facts: &Facts<'_>, trouble: &Trouble<'_>, entries: &[Entry<'_>]) -> Violation {
    match trouble {
        Trouble::Time { before, behind } => {
            let message = format!(
                "operation {behind} had returned when operation {before} was called, but by their versions \
                 operation {before} took effect first"
            );
            violation(message, &[*behind, *before])
        }
        Trouble::NoChange { op, place } => {
            let version = place.version;
            let message = format!(
                "operation {op} was answered committed at version {version}, but it deletes only keys that \
                 were absent already, which is no change"
            );
            violation(message, &[*op])
        }
        Trouble::Seen { op, key, seen, entry, after, place, .. } => {
            let entry = &entries[*entry as usize];
            let (key, state, version) = (facts.keys[*key as usize], state(entry), place.version);
            if *after == NOBODY {
                let message = format!(
                    "operation {op} found key {key} {seen}, but at its place, version {version}, {state}"
                );
                violation(message, &[*op, entry.op])
            } else {
                let message = format!(
                    "operation {op} found key {key} {seen}; it was called after operation {after} had \
                     returned, and so saw version {version} or a later one, but {state}, and nothing that \
                     is known gives it what it saw in its time"
                );
                violation(message, &[*op, *after, entry.op])
            }
        }
    }
}
