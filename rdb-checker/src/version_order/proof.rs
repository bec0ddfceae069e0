use std::collections::HashMap;

use super::facts::{Facts, Role};
use super::pending::Pending;
use super::placing::Placed;
use super::replay::{Replayed, Trouble};
use super::seen::Seen;
use super::timeline::{NOBODY, Timeline};
use super::wording;
use crate::Violation;

/// Looks for a trouble that no pending write can explain, wherever it stands. The places are the earliest
/// that any explanation can give, so that what is found is a proof.
pub(super) fn violation<'h>(
    facts: &Facts<'h>,
    line: &Timeline<'h>,
    pending: &Pending,
    placed: &Placed,
    replayed: &Replayed<'h>,
) -> Option<Violation> {
    let mut proof = Proof { facts, line, pending, placed, replayed, vanished: HashMap::new() };
    replayed.troubles.iter().find_map(|trouble| proof.judge(trouble))
}

struct Proof<'a, 'h> {
    facts: &'a Facts<'h>,
    line: &'a Timeline<'h>,
    pending: &'a Pending,
    placed: &'a Placed,
    replayed: &'a Replayed<'h>,
    /// For each key the last of its records that vanished, and how many did.
    vanished: HashMap<u32, (u32, usize)>,
}

impl<'h> Proof<'_, 'h> {
    fn judge(&mut self, trouble: &Trouble<'h>) -> Option<Violation> {
        let facts = self.facts;
        let explained = match *trouble {
            Trouble::Time { .. } => false,
            Trouble::NoChange { op, .. } => {
                let returned = facts.returned[op as usize];
                facts.effects(op).iter().any(|effect| self.pending.putter(facts, effect.key, returned, None))
            }
            Trouble::Seen { op, key, seen, entry, .. } => {
                let returned = facts.returned[op as usize];
                match seen {
                    Seen::Record(..) | Seen::Version(_) => false,
                    Seen::Present => self.pending.putter(facts, key, returned, None),
                    Seen::Value(value) => self.pending.putter(facts, key, returned, Some(value)),
                    Seen::NotVersion(_) | Seen::NotValue(_) => {
                        self.pending.of(facts, key, returned).next().is_some()
                    }
                    Seen::Absent => return self.judge_absence(trouble, op, key, entry),
                }
            }
        };
        (!explained).then(|| wording::trouble(facts, trouble, &self.line.entries))
    }

    /// A record was not found where it should be. Each record that vanishes so takes a pending delete of its
    /// own, and none that were missed come back.
    fn judge_absence(&mut self, trouble: &Trouble<'h>, op: u32, key: u32, entry: u32) -> Option<Violation> {
        let facts = self.facts;
        let place = self.placed.places[op as usize];
        // A get may stand further behind, in the time of another record.
        let fixed = facts.roles[op as usize] != Role::Get;
        let state = &self.line.entries[entry as usize];
        let deleters = self.pending.of(facts, key, facts.returned[op as usize]).filter(|pending| {
            facts.effect(*pending, key) == Some(None)
                && (!fixed || self.placed.places[*pending as usize] < place)
        });
        let deleters: Vec<u32> = deleters.collect();
        let mut plain = wording::trouble(facts, trouble, &self.line.entries);
        if deleters.is_empty() {
            return Some(plain);
        }
        let by = facts.returned[op as usize];
        let states =
            entry as usize..if fixed { entry as usize + 1 } else { self.line.until_absent(entry as usize) };
        if !deleters
            .iter()
            .any(|pending| self.pending.can_delete(facts, self.line, *pending, states.clone(), by))
        {
            let rest = "the conditions of the deletes of unknown outcome do not allow for it";
            plain.message = format!("{}; {rest}", plain.message);
            return Some(plain);
        }
        if !fixed {
            return None;
        }
        let held = self.replayed.held[entry as usize];
        let again = state.value.is_some_and(|value| self.pending.putter(facts, key, u64::MAX, Some(value)));
        if held.exact_by != NOBODY && held.exact >= place && !again {
            let rest = format!(
                "operation {} found it there later, and what is deleted does not return",
                held.exact_by
            );
            plain.message = format!("{}, and {rest}", plain.message);
            plain.operations.push(held.exact_by as usize);
            return Some(plain);
        }
        let vanished = self.vanished.entry(key).or_insert((NOBODY, 0));
        if vanished.0 != entry {
            *vanished = (entry, vanished.1 + 1);
        }
        if vanished.1 > deleters.len() {
            let rest = format!(
                "it is the {}. record of the key to vanish, and there are only {} deletes of unknown outcome",
                vanished.1,
                deleters.len()
            );
            plain.message = format!("{}; {rest}", plain.message);
            plain.operations.extend(deleters.iter().map(|op| *op as usize));
            return Some(plain);
        }
        None
    }
}
