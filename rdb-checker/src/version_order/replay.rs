use std::collections::BTreeSet;

use super::facts::{Facts, Place, Role};
use super::placing::Placed;
use super::seen::Seen;
use super::timeline::{NOBODY, Timeline};
use crate::Answer;

/// Something that does not fit at its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble<'h> {
    /// An operation found a key otherwise than it is there.
    Seen {
        op: u32,
        key: u32,
        seen: Seen<'h>,
        /// The state of the key there.
        entry: u32,
        /// The last before it that found this state.
        held: Held,
        place: Place,
        /// For a get, the operation that keeps it from an earlier place.
        after: u32,
    },
    /// A commit changes nothing.
    NoChange { op: u32, place: Place },
    /// An operation had returned when another was called that stands before it.
    Time { before: u32, behind: u32 },
}

/// The last that found a state as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Where the last stands that found it, or one like it.
    pub(super) like: Place,
    /// Where the last stands that named its version or value, so that it is no other.
    pub(super) exact: Place,
    /// The latter.
    pub(super) exact_by: u32,
}

/// What a replay of all operations in the order of their places came to.
pub(super) struct Replayed<'h> {
    pub(super) troubles: Vec<Trouble<'h>>,
    /// For each state of the timeline, the last who found it. That a scan found a key absent is not noted.
    pub(super) held: Vec<Held>,
}

/// The operations in the order of their places, those of one place in the order of their calls.
pub(super) fn order(facts: &Facts<'_>, placed: &Placed, supposed: &[u32]) -> Vec<u32> {
    let known = |op: &u32| matches!(facts.roles[*op as usize], Role::Commit | Role::View | Role::Get);
    let mut order: Vec<u32> = (0..facts.count()).filter(known).collect();
    order.extend(supposed);
    order.sort_by_cached_key(|op| (placed.places[*op as usize], facts.called(*op), *op));
    order
}

/// Replays operations over an empty store.
pub(super) fn replay<'h>(
    facts: &Facts<'h>,
    line: &Timeline<'h>,
    placed: &Placed,
    order: &[u32],
) -> Replayed<'h> {
    let states = (0..facts.keys.len() as u32).map(|key| line.of(key).start as u32).collect();
    let nobody = Held { like: Place::default(), exact: Place::default(), exact_by: NOBODY };
    let replayed = Replayed { troubles: Vec::new(), held: vec![nobody; line.entries.len()] };
    let mut store = Store { facts, line, placed, states, present: BTreeSet::new(), replayed };
    let (mut called, mut called_by) = (0, NOBODY);
    for op in order.iter().copied() {
        if facts.returned[op as usize] < called {
            store.replayed.troubles.push(Trouble::Time { before: called_by, behind: op });
        }
        if facts.called(op) > called {
            (called, called_by) = (facts.called(op), op);
        }
        store.take(op);
    }
    store.replayed
}

struct Store<'a, 'h> {
    facts: &'a Facts<'h>,
    line: &'a Timeline<'h>,
    placed: &'a Placed,
    /// For each key its state now, in the timeline.
    states: Vec<u32>,
    /// The keys that are present now.
    present: BTreeSet<u32>,
    replayed: Replayed<'h>,
}

impl<'h> Store<'_, 'h> {
    fn take(&mut self, op: u32) {
        let facts = self.facts;
        facts.for_each_seen(op, |key, seen| self.find(op, key, seen));
        match facts.roles[op as usize] {
            Role::View => {
                if let Some(Answer::Entries { .. }) = facts.operation(op as usize).answer() {
                    self.find_no_other(op);
                }
            }
            Role::Commit => {
                let deletes = facts.effects(op).iter().all(|effect| effect.value.is_none());
                self.apply(op, deletes);
            }
            Role::Pending => self.apply(op, false),
            Role::Get | Role::Idle => {}
        }
    }

    /// Compares what was seen of a key with its state.
    fn find(&mut self, op: u32, key: u32, seen: Seen<'h>) {
        let entry = self.states[key as usize];
        let state = &self.line.entries[entry as usize];
        let place = self.placed.places[op as usize];
        let held = &mut self.replayed.held[entry as usize];
        if seen.agrees(state.version, state.value) {
            match seen {
                Seen::Record(..) | Seen::Version(_) | Seen::Value(_) => {
                    *held = Held { like: place, exact: place, exact_by: op };
                }
                // It can stand behind a later delete as well.
                Seen::Absent if self.facts.roles[op as usize] == Role::Get => {}
                Seen::Absent | Seen::Present => held.like = place,
                // Others than this state are of another version or value too.
                Seen::NotVersion(_) | Seen::NotValue(_) => {}
            }
        } else {
            let (held, after) = (*held, self.placed.after[op as usize]);
            self.replayed.troubles.push(Trouble::Seen { op, key, seen, entry, held, place, after });
        }
    }

    /// Compares what a scan left out with what is there.
    fn find_no_other(&mut self, scan: u32) {
        let Some(range) = self.facts.covered(scan) else { return };
        let delivered = self.facts.delivered(scan);
        let missing =
            |key: &u32| delivered.binary_search_by(|other| order_of(delivered, other, key)).is_err();
        let missing: Vec<u32> = self.present.range(range).copied().filter(missing).collect();
        missing.into_iter().for_each(|key| self.find(scan, key, Seen::Absent));
    }

    /// Lets a write take effect.
    fn apply(&mut self, op: u32, must_find: bool) {
        let mut found = false;
        let place = self.placed.places[op as usize];
        let effects = self.facts.effects(op);
        for effect in effects {
            let state = &mut self.states[effect.key as usize];
            if must_find && self.line.entries[*state as usize].value.is_some() {
                found = true;
                // Of several deletes one is enough, and which one is not said.
                if effects.len() == 1 {
                    self.replayed.held[*state as usize].like = place;
                }
            }
            // The timeline holds the same commits in the same order.
            *state += 1;
            match effect.value {
                Some(_) => self.present.insert(effect.key),
                None => self.present.remove(&effect.key),
            };
        }
        if must_find && !found {
            self.replayed.troubles.push(Trouble::NoChange { op, place });
        }
    }
}

/// Compares keys in the order in which a scan delivers them.
fn order_of(delivered: &[u32], one: &u32, other: &u32) -> std::cmp::Ordering {
    let backward = delivered.len() > 1 && delivered[0] > delivered[1];
    if backward { other.cmp(one) } else { one.cmp(other) }
}
