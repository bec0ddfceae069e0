use std::collections::HashMap;

use super::facts::{Facts, Role};

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
}
