use serde::{Deserialize, Serialize};

use crate::{Blob, Record};

/// A watch of a range, and what it delivered. Times are those of the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The first key of the range.
    pub start: Blob,
    /// The key behind its last; none for no end.
    pub end: Option<Blob>,
    /// The version behind which it was to begin; none for the present.
    pub after: Option<u64>,
    /// When it was asked for.
    pub called: u64,
    /// When it had begun, and behind which version; none where it was refused, or never answered.
    pub began: Option<(u64, u64)>,
    /// What it delivered, in the order in which that came.
    pub events: Vec<WatchEvent>,
    /// How it ended; none where its reader was the one to leave, or nobody knows.
    pub ended: Option<WatchEnd>,
}

impl Watch {
    /// Whether a key is one of those watched.
    pub fn covers(&self, key: &Blob) -> bool {
        *key >= self.start && self.end.as_ref().is_none_or(|end| key < end)
    }

    /// The version up to which the watch says to have delivered everything; none where it never began.
    pub fn complete_to(&self) -> Option<u64> {
        let (_, began) = self.began?;
        let told = self.events.iter().map(|event| event.delivered.version());
        Some(told.chain(self.ended.as_ref().and_then(|end| end.version)).fold(began, u64::max))
    }
}

/// Something that a watch delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// When its reader had it.
    pub at: u64,
    /// What it was.
    pub delivered: Delivered,
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Delivered {
    /// A commit.
    Commit {
        /// Its version.
        version: u64,
        /// Whether it is a removal by the store, of a record whose time was over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        expiry: bool,
        /// What it left under each of the watched keys that it touched: a record, or none.
        ops: Vec<(Blob, Option<Record>)>,
    },
    /// A mark: everything up to a version was delivered.
    Progress {
        /// The version.
        version: u64,
    },
}

impl Delivered {
    /// The version up to which everything was delivered with this.
    pub const fn version(&self) -> u64 {
        match self {
            Self::Commit { version, .. } | Self::Progress { version } => *version,
        }
    }
}

/// How a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEnd {
    /// When.
    pub at: u64,
    /// Why, in a word of the store's.
    pub why: String,
    /// The version up to which, by the store's own account, everything had been delivered.
    pub version: Option<u64>,
}
