use std::ops::Range;

use super::facts::{Facts, Place};
use crate::Blob;

/// No operation: what was there at the start.
pub(super) const NOBODY: u32 = u32::MAX;

/// A state of a key, from one commit that touches it to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'h> {
    pub(super) version: u64,
    pub(super) key: u32,
    /// The commit, or [`NOBODY`].
    pub(super) op: u32,
    pub(super) value: Option<&'h Blob>,
}

/// The states of every key, key by key, in the order of their versions. Each key begins absent at version 0.
pub(super) struct Timeline<'h> {
    pub(super) entries: Vec<Entry<'h>>,
    /// Where each key's entries begin, and where the last one's end.
    starts: Vec<u32>,
    /// For each entry the first of its key that is absent, itself or behind it; else one past all entries.
    next_absent: Vec<u32>,
}

impl<'h> Timeline<'h> {
    /// From commits and their versions.
    pub(super) fn new(facts: &Facts<'h>, commits: impl Iterator<Item = (u32, u64)>) -> Self {
        let start = |key| Entry { version: 0, key, op: NOBODY, value: None };
        let mut entries: Vec<_> = (0..facts.keys.len() as u32).map(start).collect();
        for (op, version) in commits {
            let entry = |effect: &super::facts::Effect<'h>| Entry {
                version,
                key: effect.key,
                op,
                value: effect.value,
            };
            entries.extend(facts.effects(op).iter().map(entry));
        }
        // Only commits that this checker supposes can share a version; replay has the same order of them.
        entries.sort_by_cached_key(|entry| {
            let called = if entry.op == NOBODY { 0 } else { facts.called(entry.op) };
            (entry.key, entry.version, called, entry.op)
        });
        let mut starts = Vec::with_capacity(facts.keys.len() + 1);
        for (index, entry) in (0..).zip(&entries) {
            if entry.op == NOBODY {
                starts.push(index);
            }
        }
        starts.push(entries.len() as u32);
        let none = entries.len() as u32;
        let mut next_absent = vec![none; entries.len()];
        for (index, entry) in entries.iter().enumerate().rev() {
            next_absent[index] = match entries.get(index + 1) {
                _ if entry.value.is_none() => index as u32,
                Some(next) if next.key == entry.key => next_absent[index + 1],
                _ => none,
            };
        }
        Self { entries, starts, next_absent }
    }

    /// The entries of a key.
    pub(super) fn of(&self, key: u32) -> Range<usize> {
        self.starts[key as usize] as usize..self.starts[key as usize + 1] as usize
    }

    /// The state of a key at a place; a commit there is in it.
    pub(super) fn at(&self, key: u32, place: Place) -> usize {
        let range = self.of(key);
        let behind =
            self.entries[range.clone()].partition_point(|entry| Place::commit(entry.version) <= place);
        range.start + behind.max(1) - 1
    }

    /// The state of a key just before a commit.
    pub(super) fn before(&self, key: u32, version: u64) -> usize {
        self.at(key, Place::view(version.saturating_sub(1)))
    }

    /// The next state of the same key.
    pub(super) fn next(&self, index: usize) -> Option<usize> {
        let next = self.entries.get(index + 1)?;
        (next.key == self.entries[index].key).then_some(index + 1)
    }

    /// One past the last state of the same key that holds a record, of those that follow each other from this
    /// one on.
    pub(super) fn until_absent(&self, index: usize) -> usize {
        self.next_absent(index).unwrap_or_else(|| self.of(self.entries[index].key).end).max(index + 1)
    }

    /// The first state of the same key that is absent, from this one on.
    pub(super) fn next_absent(&self, index: usize) -> Option<usize> {
        let next = self.next_absent[index] as usize;
        (next < self.entries.len()).then_some(next)
    }
}
