use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::{
    Batch, Cause, Commit, CommittedOp, Condition, Conflict, DataDirectory, Durability, Error, ErrorKind,
    Floor, Key, Limits, Op, Outcome, Record, Result, Session, SessionOptions, Stamp, Version, WriteOptions,
};

use super::disk::Disk;
use super::habits::Habits;
use super::history::{History, previous};
use super::log::{Changes, Note, millis};
use super::sessions::{Fate, Sessions, identity};
use super::time::Time;
use super::waiters::{Reply, Waiter, Waiters, can_hold};

pub(crate) type Records = BTreeMap<Key, Record>;

/// What a batch leaves of each key that it changes: a record, or none.
type Ops = BTreeMap<Key, Option<Record>>;

/// Everything that the engine knows, behind its one lock.
#[derive(Debug)]
pub(crate) struct State<D> {
    pub(crate) records: Arc<Records>,
    /// The version of the present view.
    pub(crate) version: Version,
    /// The greatest number of the line that is given: sessions and lives have theirs from it, too.
    pub(crate) line: Version,
    pub(crate) restoring: bool,
    pub(crate) log: File,
    pub(crate) disk: D,
    /// How long the log was at an orderly close: what a crash may cut off, and damage may not, lies behind
    /// that (C13).
    pub(crate) floor: Option<Floor>,
    pub(crate) claim: Option<DataDirectory>,
    pub(crate) habits: Arc<dyn Habits>,
    pub(crate) limits: Limits,
    pub(crate) time: Time,
    /// What is to be removed when: milliseconds and key, and the version that the record had then.
    pub(crate) due: BTreeMap<(u64, Key), Version>,
    pub(crate) history: History,
    pub(crate) sessions: Sessions,
    pub(crate) waiters: Waiters,
}

/// What becomes of a write that arrives.
pub(crate) enum Arrived {
    Answered(Outcome),
    Waits(Reply),
}

/// Whether a condition holds of what is there (C6).
pub(crate) fn holds(condition: &Condition, current: Option<&Record>) -> bool {
    match condition {
        Condition::Absent => current.is_none(),
        Condition::Present => current.is_some(),
        Condition::Version(version) => current.is_some_and(|record| record.version == *version),
        Condition::Value(value) => current.is_some_and(|record| record.value == value),
    }
}

impl<D: Disk> State<D> {
    /// Takes the next number of the line.
    pub(crate) fn take_number(&mut self) -> Version {
        self.line = Version::new(self.line.get() + 1).expect("not 0");
        self.line
    }

    /// Logs an entry under the greatest number given.
    pub(crate) fn note(
        &mut self,
        ops: Vec<(Key, Option<Record>)>,
        restored: Vec<(Key, Record)>,
        notes: Vec<Note>,
        asked: Option<Durability>,
    ) -> Durability {
        let changes = Changes { version: self.line, time: self.time.millis(), ops, restored, notes };
        self.disk.append(&mut self.log, &changes, asked)
    }

    fn judge(&self, batch: &Batch) -> Option<Conflict> {
        batch.conditions().iter().enumerate().find_map(|(index, (key, condition))| {
            let current = self.records.get(key);
            (!holds(condition, current))
                .then(|| Conflict::new(index, key.clone(), self.version, current.cloned()))
        })
    }

    /// Judges a write, unless it was judged before or has to wait.
    pub(crate) fn arrive(&mut self, batch: Batch, options: &WriteOptions) -> Result<Arrived> {
        let stamp = options.stamp.map(|stamp| (stamp, identity(&batch)));
        if let Some((stamp, identity)) = &stamp {
            match self.fate_of(*stamp)? {
                None => {}
                Some(Fate::Never) => {
                    return Err(Error::new(ErrorKind::Unavailable, "write was settled as not executed"));
                }
                Some(Fate::Waiting(_, first) | Fate::Done(_, first)) if first != *identity => {
                    return Err(Error::new(ErrorKind::InvalidArgument, "number was given to another batch"));
                }
                Some(Fate::Waiting(number, _)) => return Ok(Arrived::Waits(self.waiters.join(number))),
                Some(Fate::Done(outcome, _)) => {
                    return Ok(Arrived::Answered(self.again(outcome, options.durability)));
                }
            }
        }
        let outcome = match (self.judge(&batch), options.wait) {
            (Some(conflict), Some(wait)) if can_hold(&batch.conditions()[conflict.index].1, self.version) => {
                return self.park(conflict.key, batch, options.durability, stamp, wait).map(Arrived::Waits);
            }
            (Some(conflict), _) => self.remember(stamp, Outcome::Conflict(conflict)),
            (None, _) => self.execute(&batch, options.durability, stamp),
        };
        self.wake();
        Ok(Arrived::Answered(outcome))
    }

    fn park(
        &mut self,
        key: Key,
        batch: Batch,
        asked: Option<Durability>,
        stamp: Option<(Stamp, Bytes)>,
        wait: Duration,
    ) -> Result<Reply> {
        if self.waiters.count() >= self.limits.max_blocked_writes {
            return Err(Error::new(ErrorKind::Exhausted, "too many writes wait"));
        }
        let number = self.waiters.number();
        if let Some((stamp, identity)) = &stamp {
            let fate = Fate::Waiting(number, identity.clone());
            self.sessions.remember(stamp.session.get(), stamp.sequence.get(), fate);
        }
        let (until, replies) = (self.time.monotonic() + wait, Vec::new());
        self.waiters.push(Waiter { number, key, batch, asked, stamp, until, has_a_turn: false, replies });
        Ok(self.waiters.join(number))
    }

    /// Applies a batch whose conditions hold.
    fn execute(
        &mut self,
        batch: &Batch,
        asked: Option<Durability>,
        stamp: Option<(Stamp, Bytes)>,
    ) -> Outcome {
        let mut last = Ops::new();
        for (key, op) in batch.ops() {
            let record = if let Op::Put { value, ttl } = op {
                let mut record = Record::new(value.clone(), Version::MIN);
                record.expires_at = ttl.map(|ttl| self.time.end_of(ttl));
                Some(record)
            } else {
                None
            };
            last.insert(key.clone(), record);
        }
        last.retain(|key, record| record.is_some() || self.records.contains_key(key));
        if last.is_empty() {
            let durability = self.disk.vouch(&mut self.log, asked);
            return self.remember(stamp, Outcome::Unchanged(Commit { version: self.version, durability }));
        }
        let commit = self.commit(last, Cause::Write, stamp.as_ref(), asked);
        self.remember(stamp, Outcome::Committed(commit))
    }

    fn commit(
        &mut self,
        mut ops: Ops,
        cause: Cause,
        stamp: Option<&(Stamp, Bytes)>,
        asked: Option<Durability>,
    ) -> Commit {
        let version = self.take_number();
        for record in ops.values_mut().flatten() {
            record.version = version;
        }
        let note = stamp.map(|(stamp, identity)| Note::Committed {
            session: stamp.session.get(),
            sequence: stamp.sequence.get(),
            acknowledged: stamp.acknowledged,
            version,
            identity: identity.clone(),
        });
        let logged = ops.iter().map(|(key, record)| (key.clone(), record.clone())).collect();
        let durability = self.note(logged, Vec::new(), note.into_iter().collect(), asked);
        let (mut told, mut room) = (Vec::new(), self.limits.max_batch_bytes);
        for (key, record) in ops {
            let records = Arc::make_mut(&mut self.records);
            let before = match &record {
                Some(record) => records.insert(key.clone(), record.clone()),
                None => records.remove(&key),
            };
            if let Some(end) = record.as_ref().and_then(|record| record.expires_at) {
                self.due.insert((millis(end), key.clone()), version);
            }
            told.push(CommittedOp::new(key, record, previous(before, &mut room)));
        }
        self.version = version;
        for op in told.iter().filter(|op| self.habits.wakes(cause, op)) {
            self.waiters.touch(&op.key);
        }
        if cause == Cause::Write || self.habits.tells_removals() {
            self.history.push(version, cause, told, self.time.monotonic(), &self.limits);
        }
        Commit { version, durability }
    }

    /// Removes what is due, each record in a commit of its own (C15).
    pub(crate) fn remove_due(&mut self) {
        let now = self.time.millis();
        while let Some(((end, _), _)) = self.due.first_key_value()
            && self.habits.is_due(*end, now)
            && let Some(((_, key), version)) = self.due.pop_first()
        {
            if self.records.get(&key).is_some_and(|there| self.habits.is_its_own(version, there)) {
                self.commit(Ops::from([(key, None)]), Cause::Expiry, None, None);
                self.wake();
            }
        }
    }

    /// Judges again, one after the other, the writes whose keys were touched (C20).
    pub(crate) fn wake(&mut self) {
        while let Some(first) = self.habits.first_of(&self.waiters.turns())
            && let Some(mut waiter) = self.waiters.take(first)
        {
            match self.judge(&waiter.batch) {
                Some(conflict) if can_hold(&waiter.batch.conditions()[conflict.index].1, self.version) => {
                    waiter.has_a_turn = false;
                    waiter.key = conflict.key;
                    self.waiters.push(waiter);
                }
                _ => self.end(waiter),
            }
        }
    }

    /// Answers the writes that have waited for as long as they may (C20).
    pub(crate) fn end_waits(&mut self) {
        for number in self.waiters.over(self.time.monotonic()) {
            if let Some(waiter) = self.waiters.take(number) {
                self.end(waiter);
                self.wake();
            }
        }
    }

    fn end(&mut self, waiter: Waiter) {
        let stamp = waiter.stamp.clone();
        // A session that ended meanwhile takes its writes with it.
        let answer = match &stamp {
            Some((stamp, _)) if !self.is_waiting(*stamp, waiter.number) => {
                Err(Error::new(ErrorKind::Unknown, "session has ended"))
            }
            _ => Ok(match self.judge(&waiter.batch) {
                Some(conflict) => self.remember(stamp, Outcome::Conflict(conflict)),
                None => self.execute(&waiter.batch, waiter.asked, stamp),
            }),
        };
        waiter.answer(&answer);
    }

    fn is_waiting(&self, stamp: Stamp, number: u64) -> bool {
        let fate = self.sessions.fate(stamp.session.get(), stamp.sequence.get());
        matches!(fate, Some(Fate::Waiting(waiting, _)) if *waiting == number)
    }

    fn remember(&mut self, stamp: Option<(Stamp, Bytes)>, outcome: Outcome) -> Outcome {
        if let Some((stamp, identity)) = stamp {
            let fate = Fate::Done(outcome.clone(), identity);
            self.sessions.remember(stamp.session.get(), stamp.sequence.get(), fate);
        }
        outcome
    }

    /// A first outcome once more, as safe as is asked now.
    fn again(&mut self, outcome: Outcome, asked: Option<Durability>) -> Outcome {
        let safe = |state: &mut Self, commit: Commit| Commit {
            durability: state.disk.vouch(&mut state.log, asked),
            ..commit
        };
        match outcome {
            Outcome::Committed(commit) => Outcome::Committed(safe(self, commit)),
            Outcome::Unchanged(commit) => Outcome::Unchanged(safe(self, commit)),
            Outcome::Conflict(mut conflict) => {
                let met = conflict.current.take();
                let now = self.records.get(&conflict.key);
                if met.as_ref() == now {
                    conflict.current = met;
                } else {
                    conflict.replaced = met.map(|record| record.version);
                }
                Outcome::Conflict(conflict)
            }
        }
    }

    fn fate_of(&mut self, stamp: Stamp) -> Result<Option<Fate>> {
        self.end_idle_sessions();
        self.sessions.arrive(stamp, self.time.monotonic(), self.limits.session_window)
    }

    pub(crate) fn settle(&mut self, stamp: Stamp) -> Result<Option<Outcome>> {
        let (session, sequence) = (stamp.session.get(), stamp.sequence.get());
        match self.fate_of(stamp)? {
            Some(Fate::Done(outcome, _)) => return Ok(Some(self.again(outcome, None))),
            Some(Fate::Waiting(number, _)) => {
                if let Some(waiter) = self.waiters.take(number) {
                    waiter.answer(&Err(Error::new(ErrorKind::Unavailable, "write was settled")));
                }
            }
            Some(Fate::Never) | None => {}
        }
        self.sessions.remember(session, sequence, Fate::Never);
        Ok(None)
    }

    pub(crate) fn open_session(&mut self, options: &SessionOptions) -> Result<Session> {
        self.end_idle_sessions();
        let idle = self.sessions.room(options, &self.limits)?;
        let id = self.take_number().get();
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).max(1);
        let best = self.disk.best();
        self.note(Vec::new(), Vec::new(), vec![Note::Opened { session: id, idle_ms }], Some(best));
        self.sessions.insert(id, idle, self.time.monotonic());
        let session = NonZeroU64::new(id).and_then(|id| self.resume_session(id));
        Ok(session.expect("it was opened just now"))
    }

    pub(crate) fn resume_session(&mut self, id: NonZeroU64) -> Option<Session> {
        self.end_idle_sessions();
        self.sessions.resume(id, self.time.monotonic(), &self.limits)
    }

    pub(crate) fn end_session(&mut self, id: u64) {
        if self.sessions.remove(id) {
            let best = self.disk.best();
            self.note(Vec::new(), Vec::new(), vec![Note::Ended { session: id }], Some(best));
        }
    }

    fn end_idle_sessions(&mut self) {
        for id in self.sessions.idle(self.time.monotonic()) {
            self.end_session(id);
        }
    }

    /// What the log says of sessions, in its order.
    pub(crate) fn replay(&mut self, note: Note) {
        match note {
            Note::Opened { session, idle_ms } => {
                self.sessions.insert(session, Duration::from_millis(idle_ms), self.time.monotonic());
            }
            Note::Ended { session } => drop(self.sessions.remove(session)),
            Note::Committed { session, sequence, acknowledged, version, identity } => {
                self.sessions.acknowledge(session, acknowledged);
                let outcome = Outcome::Committed(Commit { version, durability: self.disk.best() });
                self.sessions.remember(session, sequence, Fate::Done(outcome, identity));
            }
        }
    }
}
