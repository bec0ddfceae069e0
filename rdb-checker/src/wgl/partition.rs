use std::collections::HashMap;

use crate::{Answer, Blob, Operation, Request};

use super::unknown::Prepared;

/// The keys of a history, divided into sets that no operation connects.
pub(super) struct Partitions<'a> {
    /// All keys that occur, in order.
    pub(super) keys: Vec<&'a Blob>,
    /// For each key, its place among those of its group.
    pub(super) cells: Vec<u32>,
    pub(super) groups: Vec<Group>,
}

/// Keys that operations connect, and those operations.
#[derive(Default)]
pub(super) struct Group {
    /// Places in [`Partitions::keys`], in order.
    pub(super) keys: Vec<usize>,
    /// Places in [`Prepared::kept`], in order.
    pub(super) operations: Vec<usize>,
}

impl<'a> Partitions<'a> {
    pub(super) fn new(prepared: &Prepared<'a>) -> Self {
        let operations =
            || prepared.kept.iter().map(|kept| &prepared.history.operations[kept.place]).enumerate();
        let mut keys: Vec<&Blob> = operations().flat_map(|(_, operation)| keys_of(operation)).collect();
        keys.sort_unstable();
        keys.dedup();
        let groups = Vec::new();
        let mut this = Self { cells: vec![0; keys.len()], keys, groups };

        let mut sets = Sets::new(this.keys.len());
        // For each key, the scans that begin with it less those that end with it.
        let mut scans = vec![0_i64; this.keys.len() + 1];
        for (_, operation) in operations() {
            let places: Vec<usize> = keys_of(operation).filter_map(|key| this.place(key)).collect();
            places.windows(2).for_each(|pair| sets.join(pair[0], pair[1]));
            let range = this.range(operation);
            if !range.is_empty() {
                scans[range.start] += 1;
                scans[range.end - 1] -= 1;
            }
        }
        let mut open = 0;
        for place in 1..this.keys.len() {
            open += scans[place - 1];
            if open > 0 {
                sets.join(place - 1, place);
            }
        }

        let mut group_of = HashMap::new();
        for place in 0..this.keys.len() {
            let group = *group_of.entry(sets.root(place)).or_insert_with(|| {
                this.groups.push(Group::default());
                this.groups.len() - 1
            });
            this.cells[place] = this.groups[group].keys.len() as u32;
            this.groups[group].keys.push(place);
        }
        for (index, operation) in operations() {
            // Without a key there is nothing that the state could tell of it.
            let first = keys_of(operation).find_map(|key| this.place(key));
            let range = this.range(operation);
            if let Some(place) = first.or_else(|| range.into_iter().next()) {
                this.groups[group_of[&sets.root(place)]].operations.push(index);
            }
        }
        this
    }

    /// The place of a key that occurs.
    pub(super) fn place(&self, key: &Blob) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// The places of the keys in the range of a scan; of other operations none.
    pub(super) fn range(&self, operation: &Operation) -> std::ops::Range<usize> {
        let Request::Scan { start, end, .. } = &operation.request else { return 0..0 };
        let from = self.keys.partition_point(|key| *key < start);
        let to = end.as_ref().map_or(self.keys.len(), |end| self.keys.partition_point(|key| *key < end));
        from..to.max(from)
    }
}

/// The keys that an operation and its answer name.
fn keys_of(operation: &Operation) -> impl Iterator<Item = &Blob> {
    let (one, several, conditions, ops) = match &operation.request {
        Request::Get { key } => (Some(key), &[][..], &[][..], &[][..]),
        Request::GetMany { keys } => (None, &keys[..], &[][..], &[][..]),
        Request::Scan { .. } => (None, &[][..], &[][..], &[][..]),
        Request::Write { conditions, ops, .. } => (None, &[][..], &conditions[..], &ops[..]),
    };
    let entries = match operation.answer() {
        Some(Answer::Entries { entries, .. }) => &entries[..],
        _ => &[],
    };
    one.into_iter()
        .chain(several)
        .chain(conditions.iter().map(|(key, _)| key))
        .chain(ops.iter().map(|(key, _)| key))
        .chain(entries.iter().map(|(key, _)| key))
}

/// Disjoint sets (Galler and Fischer), with halved paths.
struct Sets(Vec<usize>);

impl Sets {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut place: usize) -> usize {
        while self.0[place] != place {
            self.0[place] = self.0[self.0[place]];
            place = self.0[place];
        }
        place
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        // The smaller stays: runs of neighbours, the common case, stay flat.
        self.0[one.max(other)] = one.min(other);
    }
}
