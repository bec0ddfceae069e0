use std::collections::HashMap;

use super::facts::{Facts, Place, Role};
use super::seen::Seen;
use super::wording;
use crate::{Answer, Blob, Request, Violation};

/// Who wrote each version.
pub(super) struct Owners {
    /// The commits, by version.
    pub(super) commits: Vec<(u64, u32)>,
    /// Whether a version could have been given to several unknown writes, so that the owner is a guess.
    pub(super) guessed: bool,
}

/// A record or version that was seen, and that no answered write owns.
struct Sighting<'h> {
    version: u64,
    key: u32,
    /// None for a condition that names the version alone.
    value: Option<&'h Blob>,
    by: u32,
}

/// Finds the commit of every version that was seen. A write of unknown outcome whose records were seen
/// becomes a commit of that version, which had happened when the first who saw it returned.
pub(super) fn find<'h>(facts: &mut Facts<'h>) -> Result<Owners, (Violation, bool)> {
    let mut commits = Vec::new();
    for op in 0..facts.count() {
        if facts.roles[op as usize] == Role::Commit {
            commits.push((facts.places[op as usize].version, op));
        }
    }
    commits.sort_unstable();
    if let Some(pair) = commits.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let (version, one, other) = (pair[0].0, pair[0].1, pair[1].1);
        let message = format!("version {version} was given twice, to operations {one} and {other}");
        return Err((wording::violation(message, &[one, other]), false));
    }
    let mut owners = Owners { commits, guessed: false };
    let mut witnesses: Vec<u32> = (0..facts.count()).collect();
    loop {
        let sightings = unowned(facts, &owners.commits, &witnesses);
        let sightings = sightings.map_err(|violation| (violation, owners.guessed))?;
        if sightings.is_empty() {
            return Ok(owners);
        }
        // A write that was found to have taken effect has seen what its conditions name.
        let known = owners.commits.len();
        assign(facts, &sightings, &mut owners)?;
        witnesses = owners.commits[known..].iter().map(|(_, op)| *op).collect();
        owners.commits.sort_unstable();
    }
}

/// All sightings of versions that no answered write owns, by version. Those of owned ones are compared with
/// what the owner wrote.
fn unowned<'h>(
    facts: &Facts<'h>,
    commits: &[(u64, u32)],
    witnesses: &[u32],
) -> Result<Vec<Sighting<'h>>, Violation> {
    let mut sightings = Vec::new();
    let mut wrong = None;
    let owners: HashMap<u64, u32> = commits.iter().copied().collect();
    for by in witnesses.iter().copied() {
        if matches!(facts.roles[by as usize], Role::Idle | Role::Pending) {
            continue;
        }
        facts.for_each_seen(by, |key, seen| {
            let (version, value) = match seen {
                Seen::Record(version, value) => (version, Some(value)),
                Seen::Version(version) => (version, None),
                _ => return,
            };
            let Some(owner) = owners.get(&version) else {
                sightings.push(Sighting { version, key, value, by });
                return;
            };
            let wrote = facts.effect(*owner, key).flatten();
            if wrong.is_none() && (wrote.is_none() || value.is_some_and(|value| Some(value) != wrote)) {
                let key = facts.keys[key as usize];
                let wrote = match wrote {
                    Some(wrote) => format!("put {wrote} there"),
                    None => "put nothing there".to_owned(),
                };
                let message = format!(
                    "operation {by} found key {key} to hold {seen}, but operation {owner}, which committed \
                     version {version}, {wrote}"
                );
                wrong = Some(wording::violation(message, &[by, *owner]));
            }
        });
    }
    sightings.sort_by_key(|sighting| (sighting.version, facts.called(sighting.by)));
    wrong.map_or(Ok(sightings), Err)
}

/// Gives each version that was seen and has no owner to a write of unknown outcome. Values of such writes
/// are meant to be unique, so that there is one choice. Where there are several, versions with one choice
/// come first, then the others in their order, each with the earliest call that is left.
fn assign<'h>(
    facts: &mut Facts<'h>,
    sightings: &[Sighting<'h>],
    owners: &mut Owners,
) -> Result<(), (Violation, bool)> {
    let mut by_record: HashMap<(u32, &Blob), Vec<u32>> = HashMap::new();
    let mut by_key: HashMap<u32, Vec<u32>> = HashMap::new();
    let unknown = |op: &u32| {
        let operation = facts.operation(*op as usize);
        operation.outcome.is_none() && matches!(operation.request, Request::Write { .. })
    };
    for op in (0..facts.count()).filter(unknown) {
        for effect in facts.effects(op) {
            if let Some(value) = effect.value {
                by_record.entry((effect.key, value)).or_default().push(op);
                by_key.entry(effect.key).or_default().push(op);
            }
        }
    }
    let groups: Vec<_> = sightings.chunk_by(|one, other| one.version == other.version).collect();
    let mut choices = Vec::with_capacity(groups.len());
    for group in &groups {
        let returned = group.iter().map(|sighting| facts.returned[sighting.by as usize]).min();
        let returned = returned.unwrap_or(u64::MAX);
        let wrote_all = |op: &u32| {
            group.iter().all(|Sighting { key, value, .. }| {
                let wrote = facts.effect(*op, *key).flatten();
                wrote.is_some() && value.is_none_or(|value| Some(value) == wrote)
            })
        };
        let candidates = match group[0].value {
            Some(value) => by_record.get(&(group[0].key, value)),
            None => by_key.get(&group[0].key),
        };
        let candidates = candidates.into_iter().flatten().copied();
        let mut fit: Vec<u32> =
            candidates.filter(|op| facts.called(*op) <= returned).filter(wrote_all).collect();
        if fit.is_empty() || group[0].version == 0 {
            // The one who saw it may have taken effect by a guess alone.
            return Err((nobody(facts, group), owners.guessed));
        }
        fit.sort_by_key(|op| facts.called(*op));
        choices.push((fit, returned));
    }
    let mut in_turn: Vec<usize> = (0..groups.len()).collect();
    in_turn.sort_by_key(|group| (choices[*group].0.len() > 1, *group));
    let taken = owners.commits.iter().filter(|(_, op)| facts.operation(*op as usize).outcome.is_none());
    let mut taken: HashMap<u32, u64> = taken.map(|(version, op)| (*op, *version)).collect();
    for group in in_turn {
        let (fit, returned) = &choices[group];
        let Sighting { version, by, .. } = groups[group][0];
        let mut free = fit.iter().filter(|op| !taken.contains_key(op));
        let Some(owner) = free.next().copied() else {
            let owner = fit[0];
            let other = taken[&owner];
            let message = format!(
                "operation {by} found what operation {owner} wrote at version {version}, but others found it \
                 at version {other}: it took effect twice"
            );
            return Err((wording::violation(message, &[by, owner]), owners.guessed));
        };
        owners.guessed |= free.next().is_some();
        taken.insert(owner, version);
        owners.commits.push((version, owner));
        facts.roles[owner as usize] = Role::Commit;
        facts.places[owner as usize] = Place::commit(version);
        facts.returned[owner as usize] = *returned;
    }
    Ok(())
}

/// Why a version that was seen has no owner.
fn nobody(facts: &Facts<'_>, group: &[Sighting<'_>]) -> Violation {
    let Sighting { version, key, value, by } = group[0];
    let name = facts.keys[key as usize];
    let Some(value) = value else {
        let message = format!(
            "operation {by} found key {name} to have version {version}, but no write can have been given it"
        );
        return wording::violation(message, &[by]);
    };
    let found = format!("operation {by} found key {name} to hold {value} at version {version}");
    let wrote = |op: &u32| {
        let write = matches!(facts.operation(*op as usize).request, Request::Write { .. });
        write && facts.effect(*op, key) == Some(Some(value))
    };
    let mut writers = (0..facts.count()).filter(wrote).peekable();
    let Some(first) = writers.peek().copied() else {
        return wording::violation(format!("{found}, but nobody wrote that"), &[by]);
    };
    let last = group.iter().map(|sighting| sighting.by).min_by_key(|by| facts.returned[*by as usize]);
    for writer in writers {
        let why = match facts.operation(writer as usize).answer() {
            Some(Answer::Failed) => format!(
                "the answer to operation {writer}, which writes it, said that nothing was applied, but its \
                 value was seen"
            ),
            Some(Answer::Committed { version: Some(other) }) => format!(
                "operation {writer}, which writes it, was answered version {other}: it took effect twice, or \
                 its record has another's version"
            ),
            Some(Answer::Conflict { .. } | Answer::Unchanged { .. }) => {
                format!("operation {writer}, which writes it, was answered that nothing changed")
            }
            _ => continue,
        };
        return wording::violation(format!("{found}, but {why}"), &[by, writer]);
    }
    let message = format!(
        "{found}, but operation {first}, which alone can have written it, was called later, or did not write \
         all that was seen at that version"
    );
    wording::violation(message, &[by, first, last.unwrap_or(by)])
}
