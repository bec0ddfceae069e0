//! Writes that wait for their conditions to hold (C20).
//!
//! Each waits under the key of the condition that failed, and has its turn when a commit touches that key: those
//! that came first, first. Turns are had right after the commit and before the next request is judged, so
//! nobody who comes later can take what a waiting write was waiting for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::oneshot;

use super::judge::holds;
use super::queue::Write;
use crate::{Condition, Error, ErrorKind, Key, Limits, Outcome, Record, Result, Stamp, Version};

/// A write, and who wants to know what becomes of it.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) write: Write,
    /// What it counts for (C14).
    pub(super) bytes: usize,
    /// Later arrivals of the same write of a session (C17).
    pub(super) joined: Vec<oneshot::Sender<Result<Outcome>>>,
    /// Where it has waited, if it has.
    place: Option<Place>,
}

/// A place in the order of those that wait.
#[derive(Clone, Debug)]
struct Place {
    /// Ascending in the order of their coming.
    ticket: u64,
    key: Key,
    /// The place of the failed condition in the batch.
    index: usize,
}

impl Waiter {
    pub(super) fn new(write: Write, bytes: usize) -> Self {
        Self { write, bytes, joined: Vec::new(), place: None }
    }

    pub(super) fn has_waited(&self) -> bool {
        self.place.is_some()
    }

    /// Whether nobody wants to know any more.
    pub(super) fn is_forgotten(&self) -> bool {
        self.write.answer.is_closed() && self.joined.iter().all(oneshot::Sender::is_closed)
    }

    pub(super) fn into_answers(self) -> impl Iterator<Item = oneshot::Sender<Result<Outcome>>> {
        std::iter::once(self.write.answer).chain(self.joined)
    }

    fn condition(&self) -> Option<&Condition> {
        let place = self.place.as_ref()?;
        self.write.batch.conditions().get(place.index).map(|(_, condition)| condition)
    }

    fn stamp(&self) -> Option<(NonZeroU64, u64)> {
        self.write.stamped.map(|stamped| (stamped.stamp.session, stamped.stamp.sequence.get()))
    }
}

#[derive(Debug)]
pub(super) struct Blocked {
    max_writes: usize,
    waiters: HashMap<u64, Waiter>,
    /// Those that wait under a key, in order.
    under: HashMap<Key, BTreeSet<u64>>,
    /// Those that end at a time.
    ends: BTreeSet<(Duration, u64)>,
    /// Those of sessions.
    stamped: BTreeMap<(NonZeroU64, u64), u64>,
    /// Answers that are waited for: the waiters' and those who have joined them.
    answers: usize,
    next_ticket: u64,
    /// Keys that were touched, and whose waiters have not had their turns yet.
    touched: VecDeque<Key>,
    /// The same, for each to be there once.
    is_touched: HashSet<Key>,
    /// When to look for the forgotten again.
    sweep: Duration,
}

/// How often to look for waiters whose callers are gone.
const SWEEP: Duration = Duration::from_millis(200);

impl Blocked {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            max_writes: limits.max_blocked_writes,
            waiters: HashMap::new(),
            under: HashMap::new(),
            ends: BTreeSet::new(),
            stamped: BTreeMap::new(),
            answers: 0,
            next_ticket: 0,
            touched: VecDeque::new(),
            is_touched: HashSet::new(),
            sweep: Duration::ZERO,
        }
    }

    /// Answers that are waited for.
    pub(super) fn count(&self) -> usize {
        self.answers
    }

    /// Whether one more may wait.
    pub(super) fn check_room(&self) -> Result<()> {
        if self.answers < self.max_writes {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exhausted, "too many writes wait for their conditions")
            .with("limit", self.max_writes))
    }

    /// Lets a write wait under the key of the condition that failed: in its old place if that is the key it
    /// has waited under, else behind all others.
    pub(super) fn park(&mut self, mut waiter: Waiter, index: usize, until: Duration) {
        let Some((key, _)) = waiter.write.batch.conditions().get(index) else { return };
        let ticket = match &waiter.place {
            Some(place) if place.key == *key => place.ticket,
            _ => {
                self.next_ticket += 1;
                self.next_ticket
            }
        };
        let key = key.clone();
        waiter.write.until = Some(until);
        self.answers += 1 + waiter.joined.len();
        self.under.entry(key.clone()).or_default().insert(ticket);
        self.ends.insert((until, ticket));
        if let Some(stamp) = waiter.stamp() {
            self.stamped.insert(stamp, ticket);
        }
        waiter.place = Some(Place { ticket, key, index });
        self.waiters.insert(ticket, waiter);
    }

    fn take(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        self.answers -= 1 + waiter.joined.len();
        if let Some(until) = waiter.write.until {
            self.ends.remove(&(until, ticket));
        }
        if let Some(stamp) = waiter.stamp() {
            self.stamped.remove(&stamp);
        }
        if let Some(place) = &waiter.place
            && let Some(tickets) = self.under.get_mut(&place.key)
        {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.under.remove(&place.key);
            }
        }
        Some(waiter)
    }

    /// Lets another arrival of a write that waits have its answer too; gives it back where it cannot.
    pub(super) fn join(&mut self, write: Write) -> Option<Write> {
        let stamp = write.stamped.map(|stamped| (stamped.stamp.session, stamped.stamp.sequence.get()));
        let ticket = stamp.and_then(|stamp| self.stamped.get(&stamp));
        let Some(waiter) = ticket.and_then(|ticket| self.waiters.get_mut(ticket)) else {
            return Some(write);
        };
        waiter.write.durability = waiter.write.durability.max(write.durability);
        waiter.joined.push(write.answer);
        self.answers += 1;
        None
    }

    /// Takes note of keys that a commit has changed.
    pub(super) fn touch<'a>(&mut self, keys: impl Iterator<Item = &'a Key>) {
        if self.waiters.is_empty() {
            return;
        }
        for key in keys {
            if self.under.contains_key(key) && self.is_touched.insert(key.clone()) {
                self.touched.push_back(key.clone());
            }
        }
    }

    /// The next key whose waiters are to have their turns.
    pub(super) fn next_touched(&mut self) -> Option<Key> {
        let key = self.touched.pop_front()?;
        self.is_touched.remove(&key);
        Some(key)
    }

    /// Whether waiters under this key are to have their turns.
    pub(super) fn is_touched(&self, key: &Key) -> bool {
        self.is_touched.contains(key)
    }

    /// The next waiter under a key behind `after` whose turn it is: it may be judged again, since the condition
    /// that it waits for holds and its time is not over. One whose condition can never hold again is made to end
    /// at once.
    pub(super) fn next_turn(
        &mut self,
        key: &Key,
        after: &mut u64,
        current: Option<&Record>,
        view: Version,
        now: Duration,
    ) -> Option<Waiter> {
        loop {
            let ticket = *self.under.get(key)?.range(*after + 1..).next()?;
            *after = ticket;
            let waiter = self.waiters.get_mut(&ticket)?;
            let Some(condition) = waiter.condition() else { continue };
            if waiter.write.until.is_some_and(|until| until <= now) {
                continue;
            }
            if holds(condition, current) {
                return self.take(ticket);
            }
            if is_dead(condition, view)
                && let Some(until) = waiter.write.until.replace(Duration::ZERO)
            {
                self.ends.remove(&(until, ticket));
                self.ends.insert((Duration::ZERO, ticket));
            }
        }
    }

    /// Whether the time of a waiter is over.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.wakes_at().is_some_and(|until| until <= now)
    }

    /// A waiter whose time is over.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Waiter> {
        let (_, ticket) = *self.ends.first().filter(|(until, _)| *until <= now)?;
        let mut waiter = self.take(ticket)?;
        waiter.write.until = None;
        Some(waiter)
    }

    /// The monotonic time at which the next one's time is over, or at which to look for the forgotten.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.ends.first().map(|(until, _)| (*until).min(self.sweep))
    }

    /// Takes the write of a session that waits under a number.
    pub(super) fn take_stamped(&mut self, stamp: &Stamp) -> Option<Waiter> {
        let ticket = *self.stamped.get(&(stamp.session, stamp.sequence.get()))?;
        self.take(ticket)
    }

    /// Takes a write of a session up to a number, as long as there is one.
    pub(super) fn take_up_to(&mut self, session: NonZeroU64, number: u64) -> Option<Waiter> {
        let (_, ticket) = self.stamped.range((session, 0)..=(session, number)).next()?;
        self.take(*ticket)
    }

    /// Takes those that nobody wants to know of any more, now and then, and always if `at_rest`.
    pub(super) fn take_forgotten(&mut self, now: Duration, at_rest: bool) -> Vec<Waiter> {
        if self.waiters.is_empty() || now < self.sweep && !at_rest {
            return Vec::new();
        }
        self.sweep = now + SWEEP;
        let forgotten = self.waiters.iter().filter(|(_, waiter)| waiter.is_forgotten());
        let tickets: Vec<_> = forgotten.map(|(ticket, _)| *ticket).collect();
        tickets.into_iter().filter_map(|ticket| self.take(ticket)).collect()
    }

    /// Takes any.
    pub(super) fn take_any(&mut self) -> Option<Waiter> {
        let ticket = *self.waiters.keys().next()?;
        self.take(ticket)
    }
}

/// Whether a condition that does not hold never will: versions are never given twice (C5).
pub(super) fn is_dead(condition: &Condition, view: Version) -> bool {
    matches!(condition, Condition::Version(version) if *version <= view)
}
