//! Restoring: the committer's side (C19).
//!
//! A row of FlareDB's own, the mark, is there as long as a restore is not whole. It is committed first, at
//! the best durability, so that no crash leaves restored rows without it; and removed last, in the commit
//! that moves the line of versions on, after which the restore is there whatever happens. Rows beside the
//! mark are nobody's: the engine was empty before it, so whoever finds the mark removes all of them.

use bytes::{BufMut as _, Bytes};
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use super::committer::{Committer, STOPPED, certain, commit};
use super::expiry;
use super::gate::restoring;
use super::seal;
use crate::{
    ChangeSet, Commit, Durability, Error, ErrorKind, Result, Snapshot as _, Space, Span, Store, Version,
};

const MARK: &[u8] = b"restore";
const TAG: u8 = 1;
/// Rows removed in one commit.
const REMOVED_AT_ONCE: usize = 4096;

/// A restore that waits for the committer, or is under way.
#[derive(Debug)]
pub(super) struct Job {
    /// The version of the view to restore.
    pub(super) version: Version,
    pub(super) parts: mpsc::Receiver<Part>,
    pub(super) answer: oneshot::Sender<Result<Commit>>,
}

/// What the committer is fed. Silence before the end means that the caller has gone away.
#[derive(Debug)]
pub(super) enum Part {
    /// Rows to write, checked.
    Rows(ChangeSet),
    /// There are no more.
    End,
    /// There will be no end.
    Failed(Error),
}

/// A commit failed, and with it the engine (C11).
struct Broken {
    failure: Error,
    /// Whether it was the one that makes a restore whole.
    was_last: bool,
}

impl From<Error> for Broken {
    fn from(failure: Error) -> Self {
        Self { failure, was_last: false }
    }
}

impl<S: Store> Committer<S> {
    /// Carries out a restore, or refuses it. An error is that of a commit whose outcome is not known; the
    /// caller has been answered then too.
    pub(super) fn restore(&mut self, job: Job) -> Result<()> {
        let Job { version, mut parts, answer } = job;
        if let Err(refused) = self.admit(version) {
            let _ = answer.send(Err(certain(refused)));
            return Ok(());
        }
        self.home.gate.shut();
        self.queue.hold();
        self.cancel_all(&restoring());
        let filled = self.fill(version, &mut parts);
        let (answered, ended) = match filled.and_then(|answered| self.look_again(answered)) {
            Ok(answered) => {
                self.home.gate.open();
                self.queue.resume();
                (answered, Ok(()))
            }
            Err(Broken { failure, was_last }) => {
                // Before the answer: whoever has that finds an engine that has stopped.
                self.home.gate.abandon();
                self.home.log.end();
                self.queue.stop(STOPPED);
                let (kind, message) = match was_last {
                    true => (ErrorKind::Unknown, "commit failed, it may have been restored"),
                    false => (ErrorKind::Closed, STOPPED),
                };
                (Err(Error::new(kind, message).because(failure.clone())), Err(failure))
            }
        };
        // Whoever dropped the future does not want to know.
        let _ = answer.send(answered);
        ended
    }

    /// Whether the engine is empty, and its line can go on above the view.
    fn admit(&self, version: Version) -> Result<()> {
        self.line.above(version, &*self.clock)?;
        let snapshot = self.home.store.snapshot()?;
        match snapshot.scan(Space::Data, &everything(), false)?.next().transpose()? {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::InvalidArgument, "engine is not empty")
                .with("engine", self.home.store.info().name)),
        }
    }

    /// Writes the parts, until the end or until something speaks against it.
    fn fill(&mut self, version: Version, parts: &mut mpsc::Receiver<Part>) -> Result<Result<Commit>, Broken> {
        let store = &self.home.store;
        let mut changes = ChangeSet::new();
        changes.push(Space::System, Bytes::from_static(MARK), Some(mark()));
        commit(store, changes, store.info().best_durability)?;
        let refused = loop {
            match parts.blocking_recv() {
                Some(Part::Rows(rows)) => commit(store, rows, Durability::Volatile).map(drop)?,
                Some(Part::End) => match self.line.above(version, &*self.clock) {
                    Ok(version) => return self.finish(version).map(Ok),
                    Err(error) => break error,
                },
                Some(Part::Failed(error)) => break error,
                None => break Error::new(ErrorKind::Unavailable, "the restore was given up by its caller"),
            }
        };
        remove_all(store)?;
        Ok(Err(refused))
    }

    /// Removes what is due of what was restored, before anybody sees it (C15).
    fn look_again(&mut self, restored: Result<Commit>) -> Result<Result<Commit>, Broken> {
        self.expiry.begin_anew();
        // The restore itself is whole; but nobody can be shown it.
        self.catch_up().map_err(|failure| Broken { failure, was_last: restored.is_ok() })?;
        Ok(restored)
    }

    /// The commit that makes the restore whole.
    fn finish(&mut self, version: Version) -> Result<Commit, Broken> {
        let store = &self.home.store;
        self.line.reserve_behind(version.get())?;
        let mut changes = ChangeSet::new();
        self.line.record(version, &mut changes);
        changes.push(Space::System, Bytes::from_static(MARK), None);
        self.home.log.record_cut(version, &mut changes);
        let durability = commit(store, changes, store.info().best_durability)
            .map_err(|failure| Broken { failure, was_last: true })?;
        self.line.committed(version, durability);
        self.home.log.cut(version);
        self.meter.writes.advanced(version);
        Ok(Commit { version, durability })
    }
}

/// Removes what a restore left that did not come to its end. Before anything else at an opening.
pub(super) fn recover(store: &impl Store) -> Result<()> {
    let Some(found) = store.get(Space::System, MARK)? else { return Ok(()) };
    // All records are about to be removed: not for a damaged row's sake.
    if found != mark() {
        return Err(Error::new(ErrorKind::Corrupt, "stored mark of a restore failed validation"));
    }
    info!("removing what an unfinished restore left");
    remove_all(store)
}

/// Removes every record, its entry in the expiry index, and the mark behind them.
fn remove_all(store: &impl Store) -> Result<()> {
    remove_rows(store, Space::Data, everything())?;
    remove_rows(store, Space::System, expiry::span())?;
    let mut changes = ChangeSet::new();
    changes.push(Space::System, Bytes::from_static(MARK), None);
    commit(store, changes, store.info().best_durability).map(drop)
}

fn remove_rows(store: &impl Store, space: Space, mut rest: Span) -> Result<()> {
    loop {
        let mut changes = ChangeSet::new();
        let snapshot = store.snapshot()?;
        for row in snapshot.scan(space, &rest, false)?.take(REMOVED_AT_ONCE) {
            changes.push(space, row?.key, None);
        }
        drop(snapshot);
        let Some(last) = changes.iter().last() else { return Ok(()) };
        rest.start = [&last.key[..], &[0]].concat().into();
        commit(store, changes, Durability::Volatile)?;
    }
}

fn everything() -> Span {
    Span { start: Bytes::new(), end: None }
}

fn mark() -> Bytes {
    let mut row = seal::row(1);
    row.put_u8(TAG);
    seal::seal(MARK, row)
}
