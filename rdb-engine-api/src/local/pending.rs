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

/// How the commit of a group ended, if it needed one.
#[derive(Debug)]
pub(super) enum End {
    /// This is the level of the view.
    Reached(Durability),
    /// It may have been applied.
    Failed(Error),
    /// It was not made, since the one before it failed.
    NeverBegan(Error),
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

    /// Answers after the commit.
    pub(super) fn answer(self, end: &End, meter: &WriteMeter) {
        let told = match end {
            End::Reached(_) => Ok(()),
            End::Failed(_) | End::NeverBegan(_) => Err(Error::new(ErrorKind::Closed, STOPPED)),
        };
        // Whoever dropped the future does not want to know.
        match self {
            Self::Write { answer, joined, kind, .. } => {
                let what = kind.after(end);
                for answer in joined {
                    meter.answered(&what);
                    drop(answer.send(what.clone()));
                }
                meter.answered(&what);
                drop(answer.send(what));
            }
            Self::Settle { answer, kind: Some(kind), .. } => drop(answer.send(kind.after(end).map(Some))),
            Self::Settle { answer, kind: None, .. } => drop(answer.send(told.map(|()| None))),
            Self::Opened(answer, session) => drop(answer.send(told.map(|()| session))),
            Self::Resumed(answer, session) => drop(answer.send(told.map(|()| session))),
            Self::Ended(answer, _) => drop(answer.send(told)),
            Self::Refused(call, error) => call.refuse(error),
        }
    }
}

impl Kind {
    fn after(self, end: &End) -> Result<Outcome> {
        let stopped = || Error::new(ErrorKind::Closed, STOPPED);
        match (self, end) {
            (Self::Committed(version) | Self::Again(version), End::Reached(durability)) => {
                Ok(Outcome::Committed(Commit { version, durability: *durability }))
            }
            (Self::Unchanged(version), End::Reached(durability)) => {
                Ok(Outcome::Unchanged(Commit { version, durability: *durability }))
            }
            (Self::Other(result), End::Reached(_)) => result,
            // Of an earlier commit or not: the durability asked for was not reached.
            (Self::Committed(_), End::Failed(failure))
            | (Self::Again(_), End::Failed(failure) | End::NeverBegan(failure)) => {
                Err(Error::new(ErrorKind::Unknown, "commit failed, it may have been applied")
                    .because(failure.clone()))
            }
            (Self::Committed(_), End::NeverBegan(failure)) => Err(stopped().because(failure.clone())),
            // These changed nothing themselves, but what they would report may not have come about.
            (Self::Unchanged(_) | Self::Other(Ok(_)), _) => Err(stopped()),
            (Self::Other(Err(error)), _) => Err(error),
        }
    }
}
