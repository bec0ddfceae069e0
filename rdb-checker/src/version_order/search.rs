use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::facts::{Effect, Facts, Place, Role};
use super::owners::Owners;
use super::pending::Pending;
use super::placing::{Absence, Clock, Placed};
use super::replay::{self, Held, Replayed, Trouble};
use super::respect::Respect;
use super::seen::Seen;
use super::timeline::{Entry, NOBODY, Timeline};

/// How often the search begins anew, each time with another order of preference.
const ATTEMPTS: u64 = 100;

/// How many operations the search replays, about, before it gives up.
const EFFORT: usize = 64_000_000;

/// Supposes that pending writes took effect where that explains what was found, until everything fits.
/// Whether it found such an explanation: without one there may be another.
pub(super) fn explain<'h>(
    facts: &Facts<'h>,
    owners: &Owners,
    pending: &Pending,
    clock: &Clock,
    base: &Timeline<'h>,
) -> bool {
    let latest = clock.latest(facts, base);
    let mut rounds = EFFORT / facts.roles.len().max(1_000);
    for attempt in 0..ATTEMPTS {
        let mut search = Search {
            facts,
            owners,
            pending,
            attempt,
            latest: &latest,
            supposed: Vec::new(),
            refuted: HashSet::new(),
        };
        loop {
            if rounds == 0 {
                return false;
            }
            rounds -= 1;
            match search.round(clock) {
                Round::Fits => return true,
                Round::Stuck => break,
                Round::Changed => {}
            }
        }
    }
    false
}

enum Round {
    Fits,
    Stuck,
    Changed,
}

/// A pending write that is supposed to have taken effect.
#[derive(Clone, Copy, Debug)]
struct Supposed {
    op: u32,
    version: u64,
    /// The greatest version at which it still explains what it is there for.
    high: u64,
    /// The key for whose sake it is there.
    key: u32,
}

struct Search<'a, 'h> {
    facts: &'a Facts<'h>,
    owners: &'a Owners,
    pending: &'a Pending,
    attempt: u64,
    latest: &'a [Place],
    supposed: Vec<Supposed>,
    /// Writes that were tried for the sake of a key, and failed.
    refuted: HashSet<(u32, u32)>,
}

/// What a round works with.
struct Now<'a, 'h> {
    line: &'a Timeline<'h>,
    placed: &'a Placed,
    held: &'a [Held],
}

impl<'h> Search<'_, 'h> {
    /// Places and replays everything, and supposes or moves a write for each trouble. Writes move to higher
    /// versions only.
    fn round(&mut self, clock: &Clock) -> Round {
        let facts = self.facts;
        let known = self.owners.commits.iter().map(|(version, op)| (*op, *version));
        let line = Timeline::new(facts, known.chain(self.supposed.iter().map(|one| (one.op, one.version))));
        let mut placed = clock.place(facts, &line, self.pending, &Absence::By(self.latest));
        let lowest: Vec<u64> = self
            .supposed
            .iter()
            .map(|one| placed.places[one.op as usize].version.saturating_add(1))
            .collect();
        for one in &self.supposed {
            placed.places[one.op as usize] = Place::commit(one.version);
        }
        let ops: Vec<u32> = self.supposed.iter().map(|one| one.op).collect();
        let order = replay::order(facts, &placed, &ops);
        let Replayed { troubles, held } = replay::replay(facts, &line, &placed, &order);
        let now = Now { line: &line, placed: &placed, held: &held };
        let mut changed = HashSet::new();
        for (index, lowest) in lowest.into_iter().enumerate().rev() {
            if self.supposed[index].version < lowest {
                self.touch(self.supposed[index].op, &mut changed);
                self.raise_or_refute(&now, index, lowest);
            }
        }
        if !changed.is_empty() {
            return Round::Changed;
        }
        let mut late = false;
        for trouble in &troubles {
            let solved = match *trouble {
                Trouble::Time { .. } => {
                    late = true;
                    continue;
                }
                Trouble::Seen { key, .. } if changed.contains(&key) => continue,
                Trouble::Seen { .. } => self.solve(&now, trouble, &mut changed),
                Trouble::NoChange { op, place } => {
                    let keys = facts.effects(op).iter().map(|effect| effect.key);
                    keys.into_iter().any(|key| {
                        let entry = line.before(key, place.version) as u32;
                        let (held, seen, after) = (held[entry as usize], Seen::Present, NOBODY);
                        let wanted = Trouble::Seen { op, key, seen, entry, held, place, after };
                        changed.contains(&key) || self.solve(&now, &wanted, &mut changed)
                    })
                }
            };
            if !solved && self.refute_one(trouble, &mut changed) {
                continue;
            }
            if !solved {
                return Round::Stuck;
            }
        }
        match (troubles.is_empty(), changed.is_empty() && late) {
            (true, _) => Round::Fits,
            (_, true) => Round::Stuck,
            _ => Round::Changed,
        }
    }

    fn touch(&self, op: u32, changed: &mut HashSet<u32>) {
        changed.extend(self.facts.effects(op).iter().map(|effect| effect.key));
    }

    /// Moves a supposed write up, or drops it where it cannot move.
    fn raise_or_refute(&mut self, now: &Now<'_, 'h>, index: usize, low: u64) -> bool {
        let Supposed { op, high, key, .. } = self.supposed[index];
        let version = self.fit(now, op, key, Respect::Exact, low..=high);
        match version {
            Some(version) => self.supposed[index].version = version,
            None => {
                self.refuted.insert((op, key));
                self.supposed.swap_remove(index);
            }
        }
        version.is_some()
    }

    /// Gives up one supposed write that might be needed for a finding for which there is no other way.
    fn refute_one(&mut self, trouble: &Trouble<'h>, changed: &mut HashSet<u32>) -> bool {
        let touches = |op: u32, key: u32| self.facts.effect(op, key).is_some();
        let wanted = |one: &Supposed| match *trouble {
            Trouble::Seen { key, .. } => touches(one.op, key),
            Trouble::NoChange { op, .. } => {
                self.facts.effects(op).iter().any(|effect| touches(one.op, effect.key))
            }
            Trouble::Time { .. } => false,
        };
        let finder = match *trouble {
            Trouble::Seen { op, .. } => self.supposed.iter().position(|one| one.op == op),
            _ => None,
        };
        let Some(index) = finder.or_else(|| self.supposed.iter().position(wanted)) else { return false };
        let Supposed { op, key, .. } = self.supposed.swap_remove(index);
        self.refuted.insert((op, key));
        self.touch(op, changed);
        true
    }

    /// Explains one finding. False if there is no way.
    fn solve(&mut self, now: &Now<'_, 'h>, trouble: &Trouble<'h>, changed: &mut HashSet<u32>) -> bool {
        let facts = self.facts;
        let Trouble::Seen { op, seen, entry, held, place, .. } = *trouble else { return false };
        let (index, state) = (entry as usize, &now.line.entries[entry as usize]);
        let culprit = self.supposed.iter().position(|one| one.op == state.op);
        if let Some(culprit) = culprit {
            let before = &now.line.entries[index - 1];
            self.touch(state.op, changed);
            // Behind the one who found it not to be there yet.
            if seen.agrees(before.version, before.value) {
                let low = place.version.saturating_add(1);
                let Supposed { high, key: sake, .. } = self.supposed[culprit];
                if let Some(version) = self.fit(now, state.op, sake, Respect::Exact, low..=high) {
                    self.supposed[culprit].version = version;
                    return true;
                }
            }
        }
        let get = facts.roles[op as usize] == Role::Get;
        let found = [Respect::Like, Respect::Exact, Respect::Bold].into_iter().any(|respect| match seen {
            Seen::Absent if get => self.suppose_for_get(now, trouble, respect, changed),
            Seen::Absent => {
                let low = respect.behind(&now.held[index], state);
                self.suppose(now, trouble, respect, low..=place.newest(), changed)
            }
            // Others that found nothing may stand behind the one who found something.
            _ => self.suppose(now, trouble, respect, respect.behind(&held, state)..=place.newest(), changed),
        });
        if let (false, Some(culprit)) = (found, culprit) {
            self.refuted.insert((state.op, self.supposed[culprit].key));
            self.supposed.swap_remove(culprit);
            return true;
        }
        found
    }

    /// A get that found nothing may stand behind any record of its key that can have vanished in its time.
    fn suppose_for_get(
        &mut self,
        now: &Now<'_, 'h>,
        trouble: &Trouble<'h>,
        respect: Respect,
        changed: &mut HashSet<u32>,
    ) -> bool {
        let Trouble::Seen { op, entry, .. } = *trouble else { return false };
        let latest = self.latest[op as usize];
        let mut entry = Some(entry as usize);
        while let Some(index) = entry {
            let state = &now.line.entries[index];
            if Place::commit(state.version) > latest {
                return false;
            }
            entry = now.line.next(index);
            if state.value.is_some() {
                let end = entry.map_or(u64::MAX, |next| now.line.entries[next].version - 1);
                let low = respect.behind(&now.held[index], state);
                if self.suppose(now, trouble, respect, low..=latest.newest().min(end), changed) {
                    return true;
                }
            }
        }
        false
    }

    /// Supposes that a pending write took effect between two versions.
    fn suppose(
        &mut self,
        now: &Now<'_, 'h>,
        trouble: &Trouble<'h>,
        respect: Respect,
        range: RangeInclusive<u64>,
        changed: &mut HashSet<u32>,
    ) -> bool {
        let Trouble::Seen { op, key, seen, .. } = *trouble else { return false };
        let facts = self.facts;
        let useful = |candidate: &u32| {
            let used = self.supposed.iter().any(|one| one.op == *candidate);
            let leaves = facts.effect(*candidate, key);
            // Its version is still open: none that was seen.
            !used
                && !self.refuted.contains(&(*candidate, key))
                && leaves.is_some_and(|value| seen.agrees(0, value))
        };
        let (low, high) = range.into_inner();
        let by = facts.returned[op as usize];
        let mut candidates: Vec<u32> = self.pending.of(facts, key, by).filter(useful).collect();
        candidates.sort_by_cached_key(|candidate| self.preference(*candidate));
        for candidate in candidates {
            let low = low.max(now.placed.places[candidate as usize].version.saturating_add(1));
            let version = if seen == Seen::Absent {
                self.fit(now, candidate, key, respect, low..=high)
            } else {
                self.fit_late(now, candidate, key, respect, low..=high)
            };
            if let Some(version) = version {
                self.supposed.push(Supposed { op: candidate, version, high, key });
                self.touch(candidate, changed);
                return true;
            }
        }
        false
    }

    /// Those first that fit in fewest places: with conditions, and with few effects.
    fn preference(&self, op: u32) -> (u64, usize, usize, u64) {
        let conditions = usize::MAX - self.facts.conditions(op).count();
        let effects = self.facts.effects(op).len();
        let called = self.facts.called(op);
        match self.attempt {
            0 => (0, conditions, effects, called),
            1 => (0, conditions, effects, u64::MAX - called),
            // Any order, another in each attempt.
            attempt => {
                ((u64::from(op) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (attempt << 7)) >> 40, 0, 0, 0)
            }
        }
    }

    /// The first free version in a range at which a write's conditions hold, and its effects contradict
    /// nobody.
    fn fit(
        &self,
        now: &Now<'_, 'h>,
        op: u32,
        sake: u32,
        respect: Respect,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let (low, high) = range.into_inner();
        let mut version = low.max(1);
        loop {
            version = self.free(version, high)?;
            let mut next = version;
            for (key, condition) in self.facts.conditions(op) {
                let index = before(now.line, key, version, op);
                let Entry { version: since, value, .. } = now.line.entries[index];
                if respect != Respect::Bold && !Seen::held(condition).agrees(since, value) {
                    let changes = following(now.line, index, op)?;
                    next = next.max(now.line.entries[changes].version.saturating_add(1));
                }
            }
            for Effect { key, value } in self.facts.effects(op) {
                let index = before(now.line, *key, version, op);
                let changes = value.is_some() || now.line.entries[index].value.is_some();
                let held = respect.of(&now.held[index]).version;
                if *key != sake && changes && held >= version {
                    next = next.max(held.saturating_add(1));
                }
            }
            if next == version {
                return Some(version);
            }
            version = next;
        }
    }

    /// A late version at which a write fits: for one that nobody saw but the one who needs it. It is in the
    /// way of those who found the key absent before.
    fn fit_late(
        &self,
        now: &Now<'_, 'h>,
        op: u32,
        sake: u32,
        respect: Respect,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let (low, high) = range.into_inner();
        let starts = (0..u64::BITS).map(|shift| high.saturating_sub((1 << shift) - 1));
        let starts = starts.take_while(|start| *start > low).chain([low]);
        starts.into_iter().find_map(|start| self.fit(now, op, sake, respect, start..=high))
    }

    /// The first version of a range that no commit has. Those of other supposed writes are free: which of
    /// them has which is not worth a search.
    fn free(&self, low: u64, high: u64) -> Option<u64> {
        let commits = &self.owners.commits;
        let from = commits.partition_point(|(version, _)| *version < low);
        let mut free = low;
        for (version, _) in &commits[from..] {
            if *version > free || free > high {
                break;
            }
            free = version.checked_add(1)?;
        }
        (free <= high).then_some(free)
    }
}

/// The state of a key before a version, leaving out what a write itself did.
fn before(line: &Timeline<'_>, key: u32, version: u64, op: u32) -> usize {
    let index = line.before(key, version);
    if line.entries[index].op == op { index - 1 } else { index }
}

/// The state of the same key behind another, leaving out what a write itself did.
fn following(line: &Timeline<'_>, index: usize, op: u32) -> Option<usize> {
    let next = line.next(index)?;
    if line.entries[next].op == op { line.next(next) } else { Some(next) }
}
