//! The committer: the one thread that judges writes, and orders their commits.
//!
//! A group is what waits while the commit before it is under way. A commit that waits for a disk is made by a
//! [thread of its own](super::flight), so that the next group is judged meanwhile, in a view that has the one
//! under way beneath it. One is under way at most, and its callers are answered before those of the next; a
//! failure of it ends the next too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::vec::IntoIter;

use tokio::sync::oneshot;
use tracing::{error, warn};

use super::Home;
use super::blocked::Blocked;
use super::expiry::Expiry;
use super::flight::Runway;
use super::group::{Group, Judged};
use super::judge::{GroupView, Verdict};
use super::line::VersionLine;
use super::meter::Meter;
use super::pending::{End, Kind, Pending};
use super::queue::{Landing, Patience, Queue, Request, Task, Work};
use super::sessions::Sessions;
use crate::{Batch, Cause, ChangeSet, Clock, Durability, Error, ErrorKind, Outcome, Result, Store};

pub(super) const STOPPED: &str = "engine stopped after a failed commit";

#[derive(Debug)]
pub(super) struct Committer<S> {
    pub(super) home: Arc<Home<S>>,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) meter: Arc<Meter>,
    pub(super) line: VersionLine,
    pub(super) expiry: Expiry,
    pub(super) sessions: Sessions,
    pub(super) blocked: Blocked,
    pub(super) default_durability: Durability,
    pub(super) max_group_bytes: usize,
    pub(super) runway: Runway,
    /// The group whose commit is under way.
    pub(super) flight: Option<Judged>,
    /// Whether the latest group was of one write or none: then its commit has nobody to be judged meanwhile.
    pub(super) is_alone: bool,
}

impl<S: Store> Committer<S> {
    /// Commits group after group until the queue is closed and empty, or a commit fails.
    pub(super) fn run(mut self) {
        self.meter.sessions.opened(self.sessions.count());
        if let Err(failure) = self.work() {
            error!(error = failure.report(), "commit failed, the engine accepts no more writes");
            return;
        }
        self.cancel_all(&Error::new(ErrorKind::Closed, "engine is closed"));
        self.give_back();
    }

    /// An error is that of a commit whose outcome is not known; all who had come by then have been answered.
    fn work(&mut self) -> Result<()> {
        let home = Arc::clone(&self.home);
        // Open as long as a commit is under way: what comes meanwhile joins it.
        let mut group = None;
        loop {
            let patience = match &self.flight {
                Some(flight) => Patience::UntilLanded { enough: (flight.pending.len() / 2).max(1) },
                None => self.sleep(),
            };
            let Some(work) = self.queue.take(self.max_group_bytes, patience) else { return Ok(()) };
            let (landing, waiting) = match work {
                Work::Group(taken) => (None, taken),
                // With all that has come by now: the next commit may take long.
                Work::Landed(landing) => (Some(landing), self.queue.take_now(self.max_group_bytes)),
                Work::Restore(job) => {
                    self.restore(job)?;
                    continue;
                }
            };
            let mut waiting = waiting.into_iter();
            if let Err(failure) = self.proceed(&home, &mut group, landing, &mut waiting) {
                for request in waiting {
                    self.refuse(request, Error::new(ErrorKind::Closed, STOPPED));
                }
                return Err(failure);
            }
        }
    }

    /// Judges all that waits, in the open group as far as it has room, and takes note of a commit that has landed.
    fn proceed<'s>(
        &mut self,
        home: &'s Home<S>,
        group: &mut Option<Group<'s, S>>,
        landing: Option<Landing>,
        waiting: &mut IntoIter<Request>,
    ) -> Result<()> {
        let is_idle = landing.is_none() && waiting.len() == 0;
        if let Some(landing) = landing {
            if group.is_none() && waiting.len() > 0 && !self.has_to_settle(home) {
                *group = Some(self.begin(home, waiting.as_slice()));
            }
            if let Some(group) = group {
                self.judge_waiting(group, waiting);
            }
            self.landed(home, landing, group.take())?;
        }
        if is_idle {
            self.judge_some(home, group, waiting)?;
        }
        while waiting.len() > 0 {
            self.judge_some(home, group, waiting)?;
        }
        Ok(())
    }

    /// Judges what waits, as far as a group has room for it, and commits that unless a commit is under way. The
    /// group then stays open, but for one that is full: that waits for the commit.
    fn judge_some<'s>(
        &mut self,
        home: &'s Home<S>,
        group: &mut Option<Group<'s, S>>,
        waiting: &mut IntoIter<Request>,
    ) -> Result<()> {
        let mut open = match group.take() {
            Some(open) => open,
            None => {
                if self.flight.is_some() && self.has_to_settle(home) {
                    let landing = self.queue.landing();
                    self.landed(home, landing, None)?;
                }
                self.begin(home, waiting.as_slice())
            }
        };
        self.judge_waiting(&mut open, waiting);
        if self.flight.is_none() {
            let judged = self.seal(home, open);
            return self.depart(home, judged);
        }
        if waiting.len() > 0 {
            let landing = self.queue.landing();
            return self.landed(home, landing, Some(open));
        }
        *group = Some(open);
        Ok(())
    }

    /// Whether the next group does what it cannot do beside the commit under way.
    fn has_to_settle(&self, home: &Home<S>) -> bool {
        self.is_removal_due() || home.log.is_about_to_look_back()
    }

    /// Removes what is due, as a group of no writes.
    pub(super) fn tidy(&mut self) -> Result<()> {
        let home = Arc::clone(&self.home);
        let group = self.begin(&home, &[]);
        let judged = self.seal(&home, group);
        self.commit_here(&home, judged)
    }

    /// How long to wait for requests; for ever where nothing is to be done without one.
    fn sleep(&self) -> Patience {
        let awaited = [self.sessions.wakes_at(), self.blocked.wakes_at(), self.home.log.wakes_at()];
        let awaited = awaited.into_iter().flatten().min();
        let awaited = awaited.map(|wake| wake.saturating_sub(self.clock.monotonic()));
        match awaited.into_iter().chain(self.pause()).min() {
            Some(pause) => Patience::For(pause.min(self.clock.longest_sleep())),
            None => Patience::Endless,
        }
    }

    /// Commits a group that has been judged. Where that has to wait for a disk, and others may come meanwhile, it
    /// goes on without this thread.
    fn depart(&mut self, home: &Home<S>, judged: Judged) -> Result<()> {
        let was_alone = std::mem::replace(&mut self.is_alone, judged.pending.len() <= 1);
        match judged.write {
            Some((_, Durability::Synced)) if !(was_alone && self.is_alone) => self.take_off(judged),
            _ => self.commit_here(home, judged),
        }
    }

    fn take_off(&mut self, mut judged: Judged) -> Result<()> {
        if let Some((changes, level)) = judged.write.take() {
            self.runway.take_off(changes, level)?;
        }
        self.flight = Some(judged);
        Ok(())
    }

    /// The commit under way has returned: lets the next one begin, if there is one, and answers.
    fn landed(&mut self, home: &Home<S>, landing: Landing, next: Option<Group<'_, S>>) -> Result<()> {
        let Some(flight) = self.flight.take() else { return Ok(()) };
        self.meter.writes.committed(Durability::Synced, landing.took);
        if let Err(failure) = landing.reached {
            // Before the answers: whoever has one finds that the engine has stopped.
            home.log.end();
            self.tell(flight.pending, &End::Failed(failure.clone()));
            let next = next.map(Group::into_pending).unwrap_or_default();
            self.tell(next, &End::NeverBegan(failure.clone()));
            return Err(failure);
        }
        let Some(next) = next else {
            self.arrived(home, flight);
            return Ok(());
        };
        let next = self.seal(home, next);
        if matches!(next.write, Some((_, Durability::Synced))) {
            self.is_alone = next.pending.len() <= 1;
            let taken_off = self.take_off(next);
            self.arrived(home, flight);
            return taken_off;
        }
        self.arrived(home, flight);
        self.depart(home, next)
    }

    /// Commits a group on this thread. No other commit is under way.
    fn commit_here(&mut self, home: &Home<S>, mut judged: Judged) -> Result<()> {
        if let Some((changes, level)) = judged.write.take() {
            let begun = self.clock.monotonic();
            let committed = commit(&home.store, changes, level);
            self.meter.writes.committed(level, self.clock.monotonic().saturating_sub(begun));
            match committed {
                Ok(reached) => self.line.committed(judged.version, reached),
                Err(failure) => {
                    home.log.end();
                    self.tell(judged.pending, &End::Failed(failure.clone()));
                    return Err(failure);
                }
            }
            judged.durability = self.line.durability;
        }
        self.arrived(home, judged);
        Ok(())
    }

    /// What a group has come to is in the store: adds it to the history, and answers.
    fn arrived(&self, home: &Home<S>, judged: Judged) {
        self.meter.writes.advanced(judged.version);
        // Before the answers: whoever has one finds the commit in the history.
        let forgotten = home.log.append(judged.commits);
        let reached = End::Reached(judged.durability);
        self.tell(judged.pending, &reached);
        home.log.notify();
        // What the history has forgotten is dropped last: its callers have their answers.
        drop(forgotten);
    }

    fn tell(&self, pending: Vec<Pending>, end: &End) {
        for pending in pending {
            pending.answer(end, &self.meter.writes);
        }
    }

    pub(super) fn judge_batch(&mut self, view: &mut GroupView<'_, S>, batch: Batch) -> Result<Kind> {
        let judged = view.judge(batch).map_err(certain)?;
        Ok(match judged {
            Verdict::Change(changes) => {
                let version = self.line.next(view.version())?;
                view.apply(version, Cause::Write, changes).map_err(certain)?;
                self.blocked.touch(view.touched());
                Kind::Committed(version)
            }
            Verdict::Unchanged => Kind::Unchanged(view.version()),
            Verdict::Conflict(conflict) => Kind::Other(Ok(Outcome::Conflict(conflict))),
        })
    }

    /// At an orderly end, gives back the versions that were reserved and not given. That saves numbers,
    /// no more: a failure changes nothing.
    fn give_back(&mut self) {
        // The last commit keeps the time, so that what has passed until now is not lived again.
        self.line.time.now(&*self.clock);
        let mut changes = ChangeSet::new();
        self.line.give_back(&mut changes);
        let best = self.home.store.info().best_durability;
        let committed = catch_unwind(AssertUnwindSafe(|| self.home.store.commit(changes, best)));
        if !matches!(committed, Ok(Ok(_))) {
            warn!("cannot give reserved versions back");
        }
    }

    /// Tells a caller that nothing was done.
    fn refuse(&self, request: Request, error: Error) {
        match request.task {
            Task::Write(write) => self.answer(write.answer, Err(error)),
            Task::Session(call) => call.refuse(error),
        }
    }

    pub(super) fn answer(&self, to: oneshot::Sender<Result<Outcome>>, what: Result<Outcome>) {
        self.meter.writes.answered(&what);
        // Whoever dropped the future does not want to know.
        let _ = to.send(what);
    }
}

/// However the thread ends, nobody is left waiting for it.
impl<S> Drop for Committer<S> {
    fn drop(&mut self) {
        self.home.gate.abandon();
        self.home.log.end();
        self.queue.stop(STOPPED);
        while let Some(waiter) = self.blocked.take_any() {
            for answer in waiter.into_answers() {
                let _ = answer.send(Err(Error::new(ErrorKind::Closed, STOPPED)));
            }
        }
    }
}

/// A commit of the store's, which reaches the level asked for or fails.
pub(super) fn commit(store: &impl Store, changes: ChangeSet, level: Durability) -> Result<Durability> {
    let committed = catch_unwind(AssertUnwindSafe(|| store.commit(changes, level)));
    let reached =
        committed.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the commit panicked")))?;
    if reached < level {
        return Err(Error::new(ErrorKind::Internal, "the store reached less durability than asked")
            .with("asked", level)
            .with("reached", reached));
    }
    Ok(reached)
}

/// An error met before the commit began certifies that nothing was applied, whatever the store called it.
pub(super) fn certain(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unknown => {
            Error::new(ErrorKind::Unavailable, "cannot read what the write depends on").because(error)
        }
        _ => error,
    }
}
