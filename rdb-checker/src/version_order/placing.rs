use super::facts::{Facts, Place, Role};
use super::pending::Pending;
use super::timeline::{NOBODY, Timeline};
use crate::Answer;

/// The operations in the order of their calls, and in that of their returns.
pub(super) struct Clock {
    by_call: Vec<u32>,
    by_return: Vec<u32>,
}

/// How to place a get that found nothing.
pub(super) enum Absence<'a> {
    /// Where its record, or one that follows, may have been deleted by a write of unknown outcome, at once: the places are then the
    /// earliest that any explanation can give.
    Lenient,
    /// Where its key is absent, but at once if that is only after the latest place it can have (by get).
    By(&'a [Place]),
}

/// Where everything stands.
pub(super) struct Placed {
    /// The places of commits, views and gets. For pending writes the place behind which they would stand.
    pub(super) places: Vec<Place>,
    /// For each get the operation that had returned before its call and stands last.
    pub(super) after: Vec<u32>,
}

impl Clock {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let active = |op: &u32| facts.roles[*op as usize] != Role::Idle;
        let mut by_call: Vec<u32> = (0..facts.count()).filter(active).collect();
        let known = |op: &&u32| facts.roles[**op as usize] != Role::Pending;
        let mut by_return: Vec<u32> = by_call.iter().filter(known).copied().collect();
        by_call.sort_by_key(|op| facts.called(*op));
        by_return.sort_by_key(|op| facts.returned[*op as usize]);
        Self { by_call, by_return }
    }

    /// Places every get, in the order of calls, as early as what it saw and what had returned before it
    /// allow.
    pub(super) fn place(
        &self,
        facts: &Facts<'_>,
        line: &Timeline<'_>,
        pending: &Pending,
        absence: &Absence<'_>,
    ) -> Placed {
        let mut placed = Placed { places: facts.places.clone(), after: vec![NOBODY; facts.roles.len()] };
        let (mut last, mut last_by) = (Place::default(), NOBODY);
        let mut returns = self.by_return.iter().copied().peekable();
        for op in self.by_call.iter().copied() {
            let called = facts.called(op);
            while let Some(returned) = returns.next_if(|op| facts.returned[*op as usize] < called) {
                if placed.places[returned as usize] > last {
                    (last, last_by) = (placed.places[returned as usize], returned);
                }
            }
            match facts.roles[op as usize] {
                Role::Get => {
                    placed.places[op as usize] = place_of_get(facts, line, pending, absence, op, last);
                    placed.after[op as usize] = last_by;
                }
                Role::Pending => placed.places[op as usize] = last,
                Role::Commit | Role::View | Role::Idle => {}
            }
        }
        placed
    }

    /// For every get a place behind which it cannot stand: no operation called after its return may stand
    /// before it, and the record it saw must still be there. The line holds known commits alone.
    pub(super) fn latest(&self, facts: &Facts<'_>, line: &Timeline<'_>) -> Vec<Place> {
        let mut latest = vec![Place::END; facts.roles.len()];
        let mut calls = self.by_call.iter().rev().copied().peekable();
        let mut first = Place::END;
        for op in self.by_return.iter().rev().copied() {
            let returned = facts.returned[op as usize];
            while let Some(later) = calls.next_if(|later| facts.called(*later) > returned) {
                match facts.roles[later as usize] {
                    Role::Get => first = first.min(latest[later as usize]),
                    Role::Commit | Role::View => first = first.min(facts.places[later as usize]),
                    Role::Pending | Role::Idle => {}
                }
            }
            if facts.roles[op as usize] == Role::Get {
                latest[op as usize] = first;
                if let Some(version) = version_of_get(facts, op) {
                    let entry = line.at(facts.key_of_get(op), Place::commit(version));
                    if let Some(next) = line.next(entry) {
                        latest[op as usize] = first.min(Place::commit(line.entries[next].version));
                    }
                }
            }
        }
        latest
    }
}

fn version_of_get(facts: &Facts<'_>, get: u32) -> Option<u64> {
    match facts.operation(get as usize).answer() {
        Some(Answer::Record(record)) => record.as_ref()?.version,
        _ => None,
    }
}

fn place_of_get(
    facts: &Facts<'_>,
    line: &Timeline<'_>,
    pending: &Pending,
    absence: &Absence<'_>,
    get: u32,
    last: Place,
) -> Place {
    let earliest = Place::view(last.version);
    if let Some(version) = version_of_get(facts, get) {
        // Where the record is gone by then, replay finds it out.
        return earliest.max(Place::view(version));
    }
    let key = facts.key_of_get(get);
    let entry = line.at(key, earliest);
    let place = match line.next_absent(entry) {
        Some(absent) if absent == entry => return earliest,
        Some(absent) => Place::view(line.entries[absent].version),
        None => return earliest,
    };
    let at_once = match absence {
        Absence::Lenient => {
            pending.deleter_of(facts, line, entry..line.until_absent(entry), facts.returned[get as usize])
        }
        Absence::By(latest) => place > latest[get as usize],
    };
    if at_once { earliest } else { place }
}
