//! Answers that wait for their group's commit (C9).

use tokio::sync::oneshot;

use super::committer::STOPPED;
use super::meter::WriteMeter;
use super::sessions::Call;
use crate::{Commit, Conflict, Durability, Error, ErrorKind, Outcome, Result, Session, Version};

#[derive(Debug)]
pub(super) enum Pending {
    /// What becomes of a write.
    Write {
        answer: oneshot::Sender<Result<Outcome>>,
        /// Later arrivals of the same write, which have waited with it.
        joined: Vec<oneshot::Sender<Result<Outcome>>>,
        durability: Durability,
        kind: Kind,
    },
    /// What became of one; none where it never will be executed.
    Settle {
        answer: oneshot::Sender<Result<Option<Outcome>>>,
        durability: Durability,
        kind: Option<Kind>,
    },
    /// A session, which has to be there for good before anybody has its id.
    Opened(oneshot::Sender<Result<Session>>, Session),
    Resumed(oneshot::Sender<Result<Option<Session>>>, Option<Session>),
    /// The end of a session, and whether it comes about in this group.
    Ended(oneshot::Sender<Result<()>>, bool),
    /// A call that came to nothing.
    Refused(Call, Error),
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Part of this commit.
    Committed(Version),
    /// Arrived again (C17): part of this commit or of an earlier one.
    Again(Version),
    Unchanged(Version),
    Other(Result<Outcome>),
}

impl Pending {
    /// The level that the commit has to reach for this answer; none where it needs no commit.
    ///
    /// Whatever changed nothing vouches for the view: it needs a commit if the view is less safe than asked
    /// for. Other answers depend on commits, but report no level.
    pub(super) fn level(&self, changed: bool, view: Durability, best: Durability) -> Option<Durability> {
        match self {
            Self::Write { durability, kind, .. } | Self::Settle { durability, kind: Some(kind), .. } => {
                let needed = match kind {
                    Kind::Committed(_) => true,
                    Kind::Again(_) | Kind::Unchanged(_) => changed || *durability > view,
                    Kind::Other(_) => false,
                };
                needed.then_some(*durability)
            }
            Self::Opened(..) | Self::Ended(_, true) => Some(best),
            Self::Settle { kind: None, .. }
            | Self::Resumed(..)
            | Self::Ended(_, false)
            | Self::Refused(..) => None,
        }
    }

    /// The bytes that wait with the answer and do not count as the request's own.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Write { kind, .. } | Self::Settle { kind: Some(kind), .. } => match kind {
                Kind::Other(Ok(Outcome::Conflict(Conflict { current: Some(record), .. }))) => {
                    record.value.len()
                }
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Answers after the commit, with the level that the view has reached, or with why the commit failed.
    pub(super) fn answer(self, committed: Result<Durability, &Error>, meter: &WriteMeter) {
        let stopped = || Error::new(ErrorKind::Closed, STOPPED);
        // Whoever dropped the future does not want to know.
        match self {
            Self::Write { answer, joined, kind, .. } => {
                let what = kind.after(committed);
                for answer in joined {
                    meter.answered(&what);
                    drop(answer.send(what.clone()));
                }
                meter.answered(&what);
                drop(answer.send(what));
            }
            Self::Settle { answer, kind, .. } => drop(answer.send(match kind {
                Some(kind) => kind.after(committed).map(Some),
                None => committed.map(|_| None).map_err(|_| stopped()),
            })),
            Self::Opened(answer, session) => {
                drop(answer.send(committed.map(|_| session).map_err(|_| stopped())));
            }
            Self::Resumed(answer, session) => {
                drop(answer.send(committed.map(|_| session).map_err(|_| stopped())));
            }
            Self::Ended(answer, _) => drop(answer.send(committed.map(drop).map_err(|_| stopped()))),
            Self::Refused(call, error) => call.refuse(error),
        }
    }
}

impl Kind {
    fn after(self, committed: Result<Durability, &Error>) -> Result<Outcome> {
        match (self, committed) {
            (Self::Committed(version) | Self::Again(version), Ok(durability)) => {
                Ok(Outcome::Committed(Commit { version, durability }))
            }
            (Self::Unchanged(version), Ok(durability)) => {
                Ok(Outcome::Unchanged(Commit { version, durability }))
            }
            (Self::Other(result), Ok(_)) => result,
            // Of an earlier commit or not: the durability asked for was not reached.
            (Self::Committed(_) | Self::Again(_), Err(failure)) => {
                Err(Error::new(ErrorKind::Unknown, "commit failed, it may have been applied")
                    .because(failure.clone()))
            }
            // These changed nothing themselves, but what they would report may not have come about.
            (Self::Unchanged(_) | Self::Other(Ok(_)), Err(_)) => Err(Error::new(ErrorKind::Closed, STOPPED)),
            (Self::Other(Err(error)), Err(_)) => Err(error),
        }
    }
}
