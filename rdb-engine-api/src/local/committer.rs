//! The committer: the one thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::vec::IntoIter;

use tokio::sync::oneshot;
use tracing::{error, warn};

use super::Home;
use super::expiry::Expiry;
use super::judge::{GroupView, Verdict};
use super::line::VersionLine;
use super::meter::Meter;
use super::queue::{Queue, Request, Work};
use crate::{
    Cause, ChangeSet, Clock, Commit, Conflict, Durability, Error, ErrorKind, Outcome, Result, Store, Version,
};

pub(super) const STOPPED: &str = "engine stopped after a failed commit";

#[derive(Debug)]
pub(super) struct Committer<S> {
    pub(super) home: Arc<Home<S>>,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) meter: Arc<Meter>,
    pub(super) line: VersionLine,
    pub(super) expiry: Expiry,
    pub(super) max_group_bytes: usize,
}

/// An answer that waits for the group's commit (C9).
#[derive(Debug)]
struct Pending {
    answer: oneshot::Sender<Result<Outcome>>,
    durability: Durability,
    kind: PendingKind,
}

#[derive(Debug)]
enum PendingKind {
    Committed(Version),
    Unchanged(Version),
    Other(Result<Outcome>),
}

impl<S: Store> Committer<S> {
    pub(super) fn new(
        home: Arc<Home<S>>,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
        meter: Arc<Meter>,
        line: VersionLine,
        max_group_bytes: usize,
    ) -> Self {
        Self { home, queue, clock, meter, line, expiry: Expiry::unknown(), max_group_bytes }
    }

    /// Commits group after group until the queue is closed and empty, or a commit fails. A group of no writes
    /// removes what is due (C15).
    pub(super) fn run(mut self) {
        while let Some(work) = self.queue.take(self.max_group_bytes, self.pause()) {
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
                        self.answer(request.answer, Err(Error::new(ErrorKind::Closed, STOPPED)));
                    }
                    return;
                }
                if waiting.len() == 0 {
                    break;
                }
            }
        }
        self.give_back();
    }

    /// Judges a group, commits it at once, and answers. The group is what waits, unless the records that
    /// conflicts report would become too many bytes to hold until the commit (C14). An error is that of a
    /// commit whose outcome is not known; the group has been answered then too.
    pub(super) fn commit_group(&mut self, waiting: &mut IntoIter<Request>) -> Result<()> {
        let home = Arc::clone(&self.home);
        let now = self.line.time.now(&*self.clock);
        let mut view = GroupView::new(&home.store, self.line.last, false, now, self.expiry.is_expiring());
        self.expire(&mut view, now);
        let mut pending = Vec::with_capacity(waiting.len());
        let (mut held_bytes, mut bytes) = (0, 0);
        let begun = self.clock.monotonic();
        while held_bytes <= self.max_group_bytes {
            let Some(request) = waiting.next() else { break };
            self.meter.writes.taken(request.durability, begun.saturating_sub(request.queued));
            if request.not_after.is_some_and(|deadline| self.clock.monotonic() > deadline) {
                let late = Error::new(ErrorKind::Unavailable, "deadline passed before the write began");
                self.answer(request.answer, Err(late));
            } else if !request.answer.is_closed() {
                bytes += request.bytes;
                let judged = self.judge(&mut view, request);
                held_bytes += judged.held_bytes();
                pending.push(judged);
            }
        }
        if !pending.is_empty() {
            self.meter.writes.grouped(pending.len(), bytes);
        }
        self.expiry.added(view.first_entry());
        let version = view.version();
        let changed = view.is_changed();
        // A batch that changed nothing vouches for the view: it needs a commit if that is less safe
        // than asked for. Other answers depend on commits, but report no level.
        let level = pending.iter().filter_map(|pending| match pending.kind {
            PendingKind::Committed(_) => Some(pending.durability),
            PendingKind::Unchanged(_) if changed || pending.durability > self.line.durability => {
                Some(pending.durability)
            }
            _ => None,
        });
        // Nobody asked for a removal.
        let level = level.chain(changed.then_some(Durability::Volatile));
        if let Some(level) = level.max()
            && let Err(failure) = self.commit(view.into_changes().0, version, level)
        {
            for judged in pending {
                let what = judged.kind.after_failure(&failure);
                self.answer(judged.answer, what);
            }
            return Err(failure);
        }
        for judged in pending {
            let what = judged.kind.after_commit(self.line.durability);
            self.answer(judged.answer, what);
        }
        Ok(())
    }

    fn judge(&self, view: &mut GroupView<'_, S>, request: Request) -> Pending {
        let Request { batch, durability, answer, .. } = request;
        let judged = catch_unwind(AssertUnwindSafe(|| {
            Ok(match view.judge(batch)? {
                Verdict::Change(changes) => {
                    let version = self.line.next(view.version())?;
                    view.apply(version, Cause::Write, changes)?;
                    PendingKind::Committed(version)
                }
                Verdict::Unchanged => PendingKind::Unchanged(view.version()),
                Verdict::Conflict(conflict) => PendingKind::Other(Ok(Outcome::Conflict(conflict))),
            })
        }));
        let kind = match judged {
            Ok(Ok(kind)) => kind,
            Ok(Err(error)) => PendingKind::Other(Err(certain(error))),
            Err(_) => PendingKind::Other(Err(Error::new(ErrorKind::Internal, "judging the batch panicked"))),
        };
        Pending { answer, durability, kind }
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
        self.line.record(version, &mut changes);
        let begun = self.clock.monotonic();
        let committed = commit(&self.home.store, changes, level);
        self.meter.writes.committed(level, self.clock.monotonic().saturating_sub(begun));
        let reached = committed?;
        self.line.committed(version, reached);
        self.meter.writes.advanced(version);
        Ok(())
    }

    fn answer(&self, to: oneshot::Sender<Result<Outcome>>, what: Result<Outcome>) {
        self.meter.writes.answered(&what);
        // Whoever dropped the future does not want to know.
        let _ = to.send(what);
    }
}

/// However the thread ends, nobody is left waiting for it.
impl<S> Drop for Committer<S> {
    fn drop(&mut self) {
        self.home.gate.abandon();
        self.queue.stop(STOPPED);
    }
}

impl Pending {
    /// The bytes that wait with the answer and do not count as the request's own.
    fn held_bytes(&self) -> usize {
        match &self.kind {
            PendingKind::Other(Ok(Outcome::Conflict(Conflict { current: Some(record), .. }))) => {
                record.value.len()
            }
            _ => 0,
        }
    }
}

impl PendingKind {
    fn after_commit(self, durability: Durability) -> Result<Outcome> {
        match self {
            Self::Committed(version) => Ok(Outcome::Committed(Commit { version, durability })),
            Self::Unchanged(version) => Ok(Outcome::Unchanged(Commit { version, durability })),
            Self::Other(result) => result,
        }
    }

    fn after_failure(self, failure: &Error) -> Result<Outcome> {
        match self {
            Self::Committed(_) => {
                Err(Error::new(ErrorKind::Unknown, "commit failed, it may have been applied")
                    .because(failure.clone()))
            }
            // These changed nothing themselves, but what they would report may not have come about.
            Self::Unchanged(_) | Self::Other(Ok(_)) => Err(Error::new(ErrorKind::Closed, STOPPED)),
            Self::Other(Err(error)) => Err(error),
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
