use std::collections::HashMap;
use std::ops::Range;

use super::facts::{Facts, Place, Role};
use super::timeline::Timeline;
use crate::{Blob, Condition};

/// The writes of unknown outcome whose records nobody saw, by the keys that they touch.
pub(super) struct Pending {
    by_key: HashMap<u32, Vec<u32>>,
}

impl Pending {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        let mut by_key: HashMap<u32, Vec<u32>> = HashMap::new();
        for op in (0..facts.count()).filter(|op| facts.roles[*op as usize] == Role::Pending) {
            for effect in facts.effects(op) {
                by_key.entry(effect.key).or_default().push(op);
            }
        }
        Self { by_key }
    }

    /// Those that touch a key and were called by a time.
    pub(super) fn of(&self, facts: &Facts<'_>, key: u32, by: u64) -> impl Iterator<Item = u32> {
        let ops = self.by_key.get(&key).map_or(&[][..], Vec::as_slice);
        ops.iter().copied().filter(move |op| facts.called(*op) <= by)
    }

    /// Whether one of them deletes it.
    pub(super) fn deleter(&self, facts: &Facts<'_>, key: u32, by: u64) -> bool {
        self.of(facts, key, by).any(|op| facts.effect(op, key) == Some(None))
    }

    /// Whether one of them puts a record, of that value if one is asked for.
    pub(super) fn putter(&self, facts: &Facts<'_>, key: u32, by: u64, value: Option<&Blob>) -> bool {
        self.of(facts, key, by).any(|op| match facts.effect(op, key) {
            Some(Some(puts)) => value.is_none_or(|value| value == puts),
            _ => false,
        })
    }

    /// Whether one of them can delete one of some states of a key, which follow each other.
    pub(super) fn deleter_of(
        &self,
        facts: &Facts<'_>,
        line: &Timeline<'_>,
        states: Range<usize>,
        by: u64,
    ) -> bool {
        let key = line.entries[states.start].key;
        self.of(facts, key, by).any(|op| {
            facts.effect(op, key) == Some(None) && self.can_delete(facts, line, op, states.clone(), by)
        })
    }

    /// Whether a write's conditions on the key itself let it delete one of its states.
    pub(super) fn can_delete(
        &self,
        facts: &Facts<'_>,
        line: &Timeline<'_>,
        op: u32,
        states: Range<usize>,
        by: u64,
    ) -> bool {
        let key = line.entries[states.start].key;
        let states = &line.entries[states];
        facts.conditions(op).filter(|(of, _)| *of == key).all(|(_, condition)| match condition {
            Condition::Absent => false,
            Condition::Present => true,
            Condition::Version(version) => {
                let named = &line.entries[line.at(key, Place::commit(*version))];
                if named.version == *version {
                    states.iter().any(|state| state.version == *version)
                } else {
                    // That of a pending put between, whose version nobody saw.
                    self.putter(facts, key, by, None)
                }
            }
            Condition::Value(value) => {
                states.iter().any(|state| state.value == Some(value))
                    || self.putter(facts, key, by, Some(value))
            }
        })
    }
}
