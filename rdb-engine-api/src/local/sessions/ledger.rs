//! What is remembered of one session.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use crate::{Conflict, Key, Result, Version};

/// What became of a write of a session.
#[derive(Clone, Debug)]
pub(in crate::local) enum Fate {
    Committed(Version),
    Unchanged(Version),
    Conflict(Box<Met>),
    /// Waits for its conditions to hold (C20).
    Parked,
    /// Settled before it was executed: it never is.
    Never,
}

/// A conflict without the record, which is told again only while it is there.
#[derive(Clone, Debug)]
pub(in crate::local) struct Met {
    pub(in crate::local) index: usize,
    pub(in crate::local) key: Key,
    pub(in crate::local) version: Version,
    /// The version of the record that was there.
    pub(in crate::local) current: Option<Version>,
}

impl Met {
    /// A key of its own: the conflict's may be a slice of a long message.
    pub(in crate::local) fn of(conflict: &Conflict) -> Result<Self> {
        Ok(Self {
            index: conflict.index,
            key: Key::new(conflict.key.as_bytes().to_vec())?,
            version: conflict.version,
            current: conflict.current.as_ref().map(|record| record.version),
        })
    }

    /// What one with a key of this length takes in memory.
    pub(super) fn bytes_of(key_len: usize) -> usize {
        size_of::<Self>() + key_len
    }
}

/// A committed write, as the rows keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) sequence: u64,
    pub(super) digest: u64,
    pub(super) version: Version,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) digest: u64,
    pub(super) fate: Fate,
}

impl Slot {
    /// What it takes in memory beside itself.
    pub(super) fn bytes(&self) -> usize {
        match &self.fate {
            Fate::Conflict(met) => Met::bytes_of(met.key.len()),
            _ => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) idle: Duration,
    /// The monotonic time of its last use.
    pub(super) used: Duration,
    /// When to look next whether it has been idle for too long.
    pub(super) check: Duration,
    /// The greatest acknowledged number.
    floor: u64,
    /// What became of the numbers behind the floor, the next one first.
    slots: VecDeque<Option<Slot>>,
    /// What the present group has committed.
    pub(super) fresh: Vec<Done>,
    /// The rows with its outcomes: the greatest number in each, and the version that its key has.
    pub(super) rows: BTreeMap<u64, Version>,
}

impl Ledger {
    pub(super) fn new(idle: Duration, now: Duration, floor: u64) -> Self {
        Self {
            idle,
            used: now,
            check: now.saturating_add(idle),
            floor,
            slots: VecDeque::new(),
            fresh: Vec::new(),
            rows: BTreeMap::new(),
        }
    }

    /// Takes a stored row in.
    pub(super) fn recover(&mut self, version: Version, floor: u64, done: Vec<Done>) {
        self.acknowledge(floor, drop);
        let greatest = done.iter().map(|done| done.sequence).max();
        self.rows.insert(greatest.unwrap_or_default(), version);
        for Done { sequence, digest, version } in done {
            self.remember(sequence, Slot { digest, fate: Fate::Committed(version) });
        }
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Forgets what became of the numbers up to this one, handing it over.
    pub(super) fn acknowledge(&mut self, number: u64, mut forgotten: impl FnMut(Slot)) {
        if number <= self.floor {
            return;
        }
        let count = usize::try_from(number - self.floor).unwrap_or(usize::MAX).min(self.slots.len());
        self.slots.drain(..count).flatten().for_each(&mut forgotten);
        self.floor = number;
    }

    /// The place of a number; none at or below the floor.
    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.floor)?.checked_sub(1)?).ok()
    }

    /// Whether a number is behind the floor by at most the window.
    pub(super) fn is_within(&self, number: u64, window: NonZeroU64) -> bool {
        self.place(number).is_some_and(|place| (place as u64) < window.get())
    }

    pub(super) fn find(&self, number: u64) -> Option<&Slot> {
        self.slots.get(self.place(number)?)?.as_ref()
    }

    /// Remembers what became of a number within the window.
    pub(super) fn remember(&mut self, number: u64, slot: Slot) {
        let Some(place) = self.place(number) else { return };
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, || None);
        }
        self.slots[place] = Some(slot);
    }

    /// Forgets a number that has waited for its conditions.
    pub(super) fn forget(&mut self, number: u64) {
        if let Some(place) = self.place(number)
            && let Some(slot) = self.slots.get_mut(place)
        {
            *slot = None;
        }
    }

    /// Whether a write waits for its conditions.
    pub(super) fn has_parked(&self) -> bool {
        self.slots.iter().flatten().any(|slot| matches!(slot.fate, Fate::Parked))
    }

    /// All that is remembered.
    pub(super) fn into_slots(self) -> impl Iterator<Item = Slot> {
        self.slots.into_iter().flatten()
    }

    /// Takes out the rows of which everything has been acknowledged.
    pub(super) fn take_acknowledged_rows(&mut self, mut taken: impl FnMut(Version)) {
        while let Some(row) = self.rows.first_entry()
            && *row.key() <= self.floor
        {
            taken(row.remove());
        }
    }
}
