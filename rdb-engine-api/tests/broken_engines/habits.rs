use std::fmt;

use rdb_engine_api::{Cause, CommittedOp, Record, Version};

/// What the sound engine does by itself, behind its callers' backs: each method is a place to break it. What
/// is not overridden is done soundly.
pub(crate) trait Habits: fmt::Debug + Send + Sync + 'static {
    /// Whether a record that expires then, in milliseconds, is to be removed now (C15).
    fn is_due(&self, expires: u64, now: u64) -> bool {
        expires <= now
    }

    /// Whether what is due was meant for the record that is there: its own version (C15).
    fn is_its_own(&self, due: Version, there: &Record) -> bool {
        due == there.version
    }

    /// Whether a removal is told to watches (C15, C16).
    fn tells_removals(&self) -> bool {
        true
    }

    /// Whether an operation wakes the writes that wait for its key (C20).
    fn wakes(&self, _: Cause, _: &CommittedOp) -> bool {
        true
    }

    /// Which of the writes that have a turn has the first one, by the order in which they came (C20).
    fn first_of(&self, waiting: &[u64]) -> Option<u64> {
        waiting.iter().min().copied()
    }
}

/// Habits without a defect.
#[derive(Debug)]
pub(crate) struct Good;

impl Habits for Good {}
