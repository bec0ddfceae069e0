use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::{Batch, Condition, Durability, Key, Outcome, Result, Stamp, Version};
use tokio::sync::oneshot;

pub(crate) type Reply = oneshot::Receiver<Result<Outcome>>;

/// The writes that wait for their conditions to hold, in the order in which they came (C20).
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    last: u64,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) number: u64,
    /// The key of the condition that failed.
    pub(crate) key: Key,
    pub(crate) batch: Batch,
    pub(crate) asked: Option<Durability>,
    pub(crate) stamp: Option<(Stamp, Bytes)>,
    pub(crate) until: Duration,
    /// Whether its key was touched since it was judged.
    pub(crate) has_a_turn: bool,
    /// All who want its outcome: the arrivals of a write of a session may be several.
    pub(crate) replies: Vec<oneshot::Sender<Result<Outcome>>>,
}

impl Waiters {
    /// The next number in line.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// How many there are, without those that nobody waits for any more.
    pub(crate) fn count(&mut self) -> usize {
        // A write of a session may arrive again, until its time is over.
        self.waiting
            .retain(|waiter| waiter.stamp.is_some() || waiter.replies.iter().any(|reply| !reply.is_closed()));
        self.waiting.len()
    }

    pub(crate) fn push(&mut self, waiter: Waiter) {
        self.waiting.push(waiter);
    }

    /// One more who wants the outcome of a write.
    pub(crate) fn join(&mut self, number: u64) -> Reply {
        let (sender, receiver) = oneshot::channel();
        if let Some(waiter) = self.waiting.iter_mut().find(|waiter| waiter.number == number) {
            waiter.replies.push(sender);
        }
        receiver
    }

    pub(crate) fn touch(&mut self, key: &Key) {
        for waiter in self.waiting.iter_mut().filter(|waiter| waiter.key == *key) {
            waiter.has_a_turn = true;
        }
    }

    /// The numbers of those that have a turn.
    pub(crate) fn turns(&mut self) -> Vec<u64> {
        self.count();
        self.waiting.iter().filter(|waiter| waiter.has_a_turn).map(|waiter| waiter.number).collect()
    }

    /// The numbers of those whose time is over.
    pub(crate) fn over(&self, now: Duration) -> Vec<u64> {
        self.waiting.iter().filter(|waiter| waiter.until <= now).map(|waiter| waiter.number).collect()
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<Waiter> {
        let place = self.waiting.iter().position(|waiter| waiter.number == number)?;
        Some(self.waiting.remove(place))
    }
}

impl Waiter {
    pub(crate) fn answer(self, answer: &Result<Outcome>) {
        for reply in self.replies {
            // Whoever has gone away does not want to know.
            drop(reply.send(answer.clone()));
        }
    }
}

/// Whether a condition that fails in a view of this version can hold in a later one: a version that is not
/// there now, and was given before, never comes back (C5).
pub(crate) fn can_hold(condition: &Condition, view: Version) -> bool {
    !matches!(condition, Condition::Version(version) if *version <= view)
}
