//! The committer: the one thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use tokio::sync::oneshot;
use tracing::{error, warn};

use super::Home;
use super::blocked::Blocked;
use super::expiry::Expiry;
use super::history::Kept;
use super::judge::{GroupView, Verdict};
use super::line::VersionLine;
use super::meter::Meter;
use super::pending::{Kind, Pending};
use super::queue::{Queue, Request, Task, Work};
use super::sessions::Sessions;
use crate::{Batch, Cause, ChangeSet, Clock, Durability, Error, ErrorKind, Outcome, Result, Store, Version};

/// Writes for which a group has room from its beginning.
const USUAL_GROUP: usize = 1_024;
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
}

impl<S: Store> Committer<S> {
    /// Commits group after group until the queue is closed and empty, or a commit fails. A group of no writes
    /// removes what is due (C15), ends what was idle, and forgets what is old (C16).
    pub(super) fn run(mut self) {
        self.meter.sessions.opened(self.sessions.count());
        while let Some(work) = self.queue.take(self.max_group_bytes, self.sleep()) {
            let mut waiting = match work {
                Work::Group(taken) => taken.into_iter(),
                Work::Restore(job) => {
                    if let Err(failure) = self.restore(job) {
                        error!(error = failure.report(), "restore failed, the engine accepts no more writes");
                        return;
                    }
                    continue;
                }
            };
            loop {
                if let Err(failure) = self.commit_group(&mut waiting) {
                    error!(error = failure.report(), "commit failed, the engine accepts no more writes");
                    for request in waiting {
                        self.refuse(request, Error::new(ErrorKind::Closed, STOPPED));
                    }
                    return;
                }
                if waiting.len() == 0 {
                    break;
                }
            }
        }
        self.cancel_all(&Error::new(ErrorKind::Closed, "engine is closed"));
        self.give_back();
    }

    /// How long to wait for requests; for ever where nothing is to be done without one.
    fn sleep(&self) -> Option<Duration> {
        let awaited = [self.sessions.wakes_at(), self.blocked.wakes_at(), self.home.log.wakes_at()];
        let awaited = awaited.into_iter().flatten().min();
        let awaited = awaited.map(|wake| wake.saturating_sub(self.clock.monotonic()));
        Some(awaited.into_iter().chain(self.pause()).min()?.min(self.clock.longest_sleep()))
    }

    /// Judges a group, commits it at once, and answers. The group is what waits, unless the records that
    /// conflicts report would become too many bytes to hold until the commit (C14). An error is that of a
    /// commit whose outcome is not known; the group has been answered then too.
    pub(super) fn commit_group(&mut self, waiting: &mut IntoIter<Request>) -> Result<()> {
        let home = Arc::clone(&self.home);
        let looks_back = home.log.begin();
        let now = self.line.time.now(&*self.clock);
        let is_expiring = self.expiry.is_expiring();
        // Who waits is counted in bytes too, but may be many: room for the usual group, to grow without haste.
        let len = waiting.len().min(USUAL_GROUP);
        let mut view = GroupView::new(&home.store, len, self.line.last, looks_back, now, is_expiring);
        let mut pending = Vec::with_capacity(waiting.len());
        let (mut held_bytes, mut bytes) = (0, 0);
        let begun = self.clock.monotonic();
        // Whoever has used a session by now is not idle, however long the committer has kept him waiting.
        let used_by = waiting.as_slice().first().map_or(begun, |oldest| oldest.queued);
        self.meter.sessions.ended_idle(self.sessions.end_idle(used_by));
        self.sweep(begun, waiting.len() == 0);
        // Whose time is over does not get what is removed now.
        while held_bytes + view.replaced_bytes() <= self.max_group_bytes
            && let Some(waiter) = self.blocked.take_due(begun)
        {
            let from = pending.len();
            pending.extend(self.retry(&mut view, waiter, begun));
            self.wake(&mut view, &mut pending, begun);
            held_bytes += pending[from..].iter().map(Pending::held_bytes).sum::<usize>();
        }
        if !self.blocked.is_due(begun) {
            self.expire(&mut view, now);
        }
        // Who waits for what has just been removed comes before all who come now.
        self.wake(&mut view, &mut pending, begun);
        while held_bytes + view.replaced_bytes() <= self.max_group_bytes {
            let Some(Request { task, bytes: size, queued }) = waiting.next() else { break };
            let from = pending.len();
            match task {
                Task::Write(write) => {
                    self.meter.writes.taken(write.durability, begun.saturating_sub(queued));
                    if write.not_after.is_some_and(|deadline| self.clock.monotonic() > deadline) {
                        let late =
                            Error::new(ErrorKind::Unavailable, "deadline passed before the write began");
                        self.answer(write.answer, Err(late));
                    } else if !write.answer.is_closed() {
                        bytes += size;
                        pending.extend(self.arrive(&mut view, write, size, begun));
                        self.wake(&mut view, &mut pending, begun);
                    }
                }
                Task::Session(call) => pending.push(self.call(&view, call, begun)),
            }
            held_bytes += pending[from..].iter().map(Pending::held_bytes).sum::<usize>();
        }
        if !pending.is_empty() {
            self.meter.writes.grouped(pending.len(), bytes);
        }
        self.expiry.added(view.first_entry());
        let changed = view.is_changed();
        let best = self.home.store.info().best_durability;
        let levels = pending.iter().filter_map(|pending| pending.level(changed, self.line.durability, best));
        // Nobody asked for a removal, nor for the end of a session.
        let tidies = changed || (pending.is_empty() && self.sessions.has_garbage());
        let level = levels.max().or(tidies.then_some(Durability::Volatile));
        let committed = match level {
            Some(level) => self.commit_view(view, level),
            None => Ok(home.log.append(Vec::new())),
        };
        self.meter.sessions.opened(self.sessions.count());
        self.meter.sessions.blocked(self.blocked.count());
        let reached = committed.as_ref().map(|_| self.line.durability);
        for judged in pending {
            judged.answer(reached, &self.meter.writes);
        }
        home.log.notify();
        // What the history has forgotten is dropped last: its callers have their answers.
        committed.map(drop)
    }

    /// Commits what a group has come to, and adds it to the history. Returns what that has forgotten for it.
    fn commit_view(&mut self, view: GroupView<'_, S>, level: Durability) -> Result<Vec<Kept>> {
        let home = Arc::clone(&self.home);
        let version = view.version();
        let (mut changes, commits) = view.into_changes();
        let commits = home.log.prepare(commits, &mut changes);
        let committed = self.commit(changes, version, level);
        // Before the answers: whoever has one finds the commit in the history, or that the engine has stopped.
        match committed {
            Ok(()) => Ok(home.log.append(commits)),
            Err(error) => {
                home.log.end();
                Err(error)
            }
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

    /// Commits changes that end with `version`, with the line of versions among them.
    fn commit(&mut self, mut changes: ChangeSet, version: Version, mut level: Durability) -> Result<()> {
        if self.line.needs_block(version) {
            level = self.home.store.info().best_durability;
            self.line.reserve_behind(version.get())?;
        }
        self.sessions.record(version, &mut changes);
        self.line.record(version, &mut changes);
        let begun = self.clock.monotonic();
        let committed = commit(&self.home.store, changes, level);
        self.meter.writes.committed(level, self.clock.monotonic().saturating_sub(begun));
        let reached = committed?;
        self.line.committed(version, reached);
        self.meter.writes.advanced(version);
        Ok(())
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
