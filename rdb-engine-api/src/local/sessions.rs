//! Sessions: each write of one is judged once, however often it arrives (C17).
//!
//! The committer alone has the table, so an arrival is looked up in order with all else. A first arrival is
//! judged, and what became of it is remembered at once, before the group's commit: a second one in the same
//! group finds it, and both are answered after the commit. A commit that fails stops the engine (C11), so what
//! was remembered too early is never told.
//!
//! Committed outcomes are stored with the data, in its atomic commit: one row for each session and group.
//! Conflicts, unchanged outcomes and fences are in memory alone. After a restart a copy of such a write could be
//! judged again, and would be, if every arrival did not name the life of the engine that it was meant for.
//!
//! A restore (C19) leaves sessions alone: their rows are in the system's keyspace, and what became of a write
//! remains true, although the record that it wrote had to be gone before the restore. A conflict is told again
//! with the restored record only if that has the same version.

mod call;
mod digest;
mod ledger;
mod rows;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;

pub(super) use self::call::{CALL_BYTES, Call, Stamped};
use self::ledger::{Done, Ledger, Slot};
pub(super) use self::ledger::{Fate, Met};
use crate::{
    ChangeSet, Conflict, Error, ErrorKind, Limits, Result, Session, Snapshot as _, Space, Stamp, Store,
    Version,
};

/// Sessions that are ended at once for their idleness.
const ENDED_AT_ONCE: usize = 64;
/// Rows removed in one commit, unless it adds more than half as many.
const REMOVED_AT_ONCE: usize = 1024;

#[derive(Debug)]
pub(super) struct Sessions {
    life: NonZeroU64,
    window: NonZeroU64,
    max_sessions: usize,
    /// The most bytes of remembered conflicts, of all sessions.
    max_bytes: usize,
    bytes: usize,
    open: HashMap<NonZeroU64, Ledger>,
    /// When to look at which session for its idleness; one entry for each that is open.
    checks: BTreeSet<(Duration, NonZeroU64)>,
    /// Sessions whose rows the next commit adds.
    opened: Vec<NonZeroU64>,
    /// Sessions of which the next commit adds outcomes.
    fresh: Vec<NonZeroU64>,
    /// Sessions that have ended, whose own rows the next commit removes: all of them, since an end is answered
    /// after it.
    ended: Vec<NonZeroU64>,
    /// Keys of rows that mean nothing any more, and are removed piece by piece.
    garbage: VecDeque<Bytes>,
}

impl Sessions {
    /// Reads the sessions that a store holds. Their idle times begin anew.
    pub(super) fn open(store: &impl Store, limits: &Limits, life: NonZeroU64, now: Duration) -> Result<Self> {
        let mut sessions = Self {
            life,
            window: NonZeroU64::new(limits.session_window as u64).unwrap_or(NonZeroU64::MIN),
            max_sessions: limits.max_sessions,
            max_bytes: limits.max_queued_bytes,
            bytes: 0,
            open: HashMap::new(),
            checks: BTreeSet::new(),
            opened: Vec::new(),
            fresh: Vec::new(),
            ended: Vec::new(),
            garbage: VecDeque::new(),
        };
        let snapshot = store.snapshot()?;
        let [of_sessions, of_outcomes] = rows::spans();
        for row in snapshot.scan(Space::System, &of_sessions, false)? {
            let row = row?;
            let (id, idle) = rows::decode_session(&row.key, &row.value)?;
            sessions.insert(id, Ledger::new(idle.min(limits.session_idle), now, 0));
        }
        for row in snapshot.scan(Space::System, &of_outcomes, false)? {
            let row = row?;
            let (id, version, floor, done) = rows::decode_outcomes(&row.key, &row.value)?;
            match sessions.open.get_mut(&id) {
                Some(ledger) => ledger.recover(version, floor, done),
                // Of a session that was ended: its own row goes first.
                None => sessions.garbage.push_back(row.key),
            }
        }
        drop(snapshot);
        Ok(sessions)
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    fn insert(&mut self, id: NonZeroU64, ledger: Ledger) {
        self.checks.insert((ledger.check, id));
        self.open.insert(id, ledger);
    }

    fn describe(&self, id: NonZeroU64, idle: Duration) -> Session {
        Session::new(id, self.life, self.window, idle)
    }

    /// Whether one more may be opened.
    pub(super) fn check_room(&self) -> Result<()> {
        if self.open.len() < self.max_sessions {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exhausted, "too many sessions are open").with("limit", self.max_sessions))
    }

    /// Opens a session, whose row the next commit adds.
    pub(super) fn begin(&mut self, id: NonZeroU64, idle: Duration, now: Duration) -> Session {
        self.insert(id, Ledger::new(idle, now, 0));
        self.opened.push(id);
        self.describe(id, idle)
    }

    pub(super) fn resume(&mut self, id: NonZeroU64, now: Duration) -> Option<Session> {
        let ledger = self.open.get_mut(&id)?;
        ledger.used = now;
        let idle = ledger.idle;
        Some(self.describe(id, idle))
    }

    /// Ends a session, if it is open; tells whether the next commit removes its row. Its outcomes' rows become
    /// garbage, which goes with its own or later.
    pub(super) fn end(&mut self, id: NonZeroU64) -> bool {
        let Some(ledger) = self.open.remove(&id) else { return self.ended.contains(&id) };
        self.checks.remove(&(ledger.check, id));
        self.ended.push(id);
        self.garbage.extend(ledger.rows.values().map(|version| rows::outcomes_key(id, *version)));
        for slot in ledger.into_slots() {
            self.bytes -= slot.bytes();
        }
        true
    }

    /// Ends sessions that have been idle for too long, some at once; tells how many.
    pub(super) fn end_idle(&mut self, now: Duration) -> usize {
        let mut ended = 0;
        while ended < ENDED_AT_ONCE
            && let Some((_, id)) = self.checks.first().copied().filter(|(check, _)| *check <= now)
        {
            let Some(ledger) = self.open.get_mut(&id) else { break };
            if ledger.has_parked() {
                ledger.used = now;
            }
            let over = ledger.used.saturating_add(ledger.idle);
            if over <= now {
                self.end(id);
                ended += 1;
            } else {
                self.checks.remove(&(ledger.check, id));
                ledger.check = over;
                self.checks.insert((over, id));
            }
        }
        ended
    }

    /// The monotonic time at which there is something to do that nobody asks for.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        if self.has_garbage() {
            return Some(Duration::ZERO);
        }
        self.checks.first().map(|(check, _)| *check)
    }

    /// Whether there are rows to remove that no commit has to wait for.
    pub(super) fn has_garbage(&self) -> bool {
        !self.garbage.is_empty() || !self.ended.is_empty()
    }

    /// The session of an arrival, used and with its acknowledgement noted.
    fn admit(&mut self, stamp: &Stamp, now: Duration) -> Result<&mut Ledger> {
        if stamp.life != self.life {
            return Err(Error::new(ErrorKind::Stale, "the request was meant for another life of the engine")
                .with("life", stamp.life)
                .with("present", self.life));
        }
        let Some(ledger) = self.open.get_mut(&stamp.session) else {
            return Err(
                Error::new(ErrorKind::Unknown, "there is no such session").with("session", stamp.session)
            );
        };
        ledger.used = now;
        ledger.acknowledge(stamp.acknowledged, |slot| self.bytes -= slot.bytes());
        if !ledger.is_within(stamp.sequence.get(), self.window) {
            return Err(Error::new(ErrorKind::Unknown, "the number is outside the session's window")
                .with("number", stamp.sequence)
                .with("acknowledged", ledger.floor())
                .with("window", self.window));
        }
        Ok(ledger)
    }

    /// What became of the write where it has arrived before; none for a first arrival, which is to be judged.
    pub(super) fn arrive(&mut self, stamped: &Stamped, now: Duration) -> Result<Option<Fate>> {
        let Stamped { stamp, digest } = stamped;
        let ledger = self.admit(stamp, now)?;
        let Some(slot) = ledger.find(stamp.sequence.get()) else { return Ok(None) };
        if slot.digest != *digest && !matches!(slot.fate, Fate::Never) {
            return Err(Error::new(ErrorKind::InvalidArgument, "the number was used for another batch")
                .with("session", stamp.session)
                .with("number", stamp.sequence));
        }
        Ok(Some(slot.fate.clone()))
    }

    /// What became of a write; one that has not arrived never will be executed.
    pub(super) fn settle(&mut self, stamp: &Stamp, now: Duration) -> Result<Fate> {
        let number = stamp.sequence.get();
        let ledger = self.admit(stamp, now)?;
        if let Some(slot) = ledger.find(number) {
            return Ok(slot.fate.clone());
        }
        ledger.remember(number, Slot { digest: 0, fate: Fate::Never });
        Ok(Fate::Never)
    }

    /// Sees to it that a write that waits for its conditions is never executed.
    pub(super) fn fence(&mut self, stamp: &Stamp) {
        if let Some(ledger) = self.open.get_mut(&stamp.session) {
            ledger.remember(stamp.sequence.get(), Slot { digest: 0, fate: Fate::Never });
        }
    }

    /// Forgets a write that has waited for its conditions and was not executed: it may come again.
    pub(super) fn forget(&mut self, stamp: &Stamp) {
        if let Some(ledger) = self.open.get_mut(&stamp.session) {
            ledger.forget(stamp.sequence.get());
        }
    }

    /// Whether there is room to remember a conflict (C14).
    pub(super) fn check_memory(&self, conflict: &Conflict) -> Result<()> {
        if self.bytes + Met::bytes_of(conflict.key.len()) <= self.max_bytes {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exhausted, "too many conflicts are remembered for sessions")
            .with("bytes", self.bytes)
            .with("limit", self.max_bytes))
    }

    /// Remembers what became of a first arrival.
    pub(super) fn remember(&mut self, stamped: &Stamped, fate: Fate) {
        let Stamped { stamp, digest } = *stamped;
        let Some(ledger) = self.open.get_mut(&stamp.session) else { return };
        let sequence = stamp.sequence.get();
        if let Fate::Committed(version) = fate {
            if ledger.fresh.is_empty() {
                self.fresh.push(stamp.session);
            }
            ledger.fresh.push(Done { sequence, digest, version });
        }
        let slot = Slot { digest, fate };
        self.bytes += slot.bytes();
        ledger.remember(sequence, slot);
    }

    /// Adds to a commit that ends with `version`: what sessions were opened, what they have committed, and
    /// without what rows the store can be.
    pub(super) fn record(&mut self, version: Version, changes: &mut ChangeSet) {
        let before = changes.len();
        for id in self.opened.drain(..) {
            if let Some(ledger) = self.open.get(&id) {
                let key = rows::session_key(id);
                let row = rows::encode_session(&key, ledger.idle);
                changes.push(Space::System, key, Some(row));
            }
        }
        for id in self.fresh.drain(..) {
            // One that was ended in this group has no rows.
            let Some(ledger) = self.open.get_mut(&id) else { continue };
            let garbage = &mut self.garbage;
            ledger.take_acknowledged_rows(|version| garbage.push_back(rows::outcomes_key(id, version)));
            let key = rows::outcomes_key(id, version);
            let row = rows::encode_outcomes(&key, ledger.floor(), &ledger.fresh);
            changes.push(Space::System, key, Some(row));
            let greatest = ledger.fresh.iter().map(|done| done.sequence).max();
            ledger.rows.insert(greatest.unwrap_or_default(), version);
            ledger.fresh.clear();
        }
        for id in self.ended.drain(..) {
            changes.push(Space::System, rows::session_key(id), None);
        }
        let most = REMOVED_AT_ONCE.max(2 * (changes.len() - before)).min(self.garbage.len());
        for key in self.garbage.drain(..most) {
            changes.push(Space::System, key, None);
        }
    }
}
