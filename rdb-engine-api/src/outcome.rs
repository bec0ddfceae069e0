use crate::{Durability, Key, Record, Version};

/// What became of a batch that was judged. A conflict is a value here, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a batch may have ended in a conflict"]
pub enum Outcome {
    /// All conditions held and something changed.
    Committed(Commit),
    /// All conditions held and nothing changed: conditions alone, or deletes of absent keys (C4). The
    /// version is that of the view it was judged in, the durability that of the whole view.
    Unchanged(Commit),
    /// A condition did not hold; nothing changed.
    Conflict(Conflict),
}

impl Outcome {
    /// The version of the commit, or of the view in which the batch was judged.
    pub const fn version(&self) -> Version {
        match self {
            Self::Committed(commit) | Self::Unchanged(commit) => commit.version,
            Self::Conflict(conflict) => conflict.version,
        }
    }

    /// Whether all conditions held.
    pub const fn succeeded(&self) -> bool {
        matches!(self, Self::Committed(_) | Self::Unchanged(_))
    }
}

/// A version, and how safe everything up to it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The version.
    pub version: Version,
    /// The durability reached: never less than was asked for (C9).
    pub durability: Durability,
}

/// A condition that did not hold, with what is needed to try again without another read (C7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The condition's place in the batch, from 0.
    pub index: usize,
    /// The condition's key.
    pub key: Key,
    /// The version of the view in which the batch was judged.
    pub version: Version,
    /// The record under the key in that view, or that there was none.
    pub current: Option<Record>,
    /// Set only where a write of a session arrived again (C17) and the record that it met the first time is
    /// gone since: the version of that record. `current` is none then, though there was one.
    pub replaced: Option<Version>,
}

impl Conflict {
    /// A conflict, as met by the first arrival of a write.
    pub const fn new(index: usize, key: Key, version: Version, current: Option<Record>) -> Self {
        Self { index, key, version, current, replaced: None }
    }
}
