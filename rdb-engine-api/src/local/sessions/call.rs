//! What callers ask about sessions, and a write's place in one.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::oneshot;

use super::digest::digest;
use crate::{Batch, Error, Outcome, Result, Session, Stamp};

/// What a call counts for in the queue (C14).
pub(in crate::local) const CALL_BYTES: usize = 128;

/// A call that waits for its turn among the writes.
#[derive(Debug)]
pub(in crate::local) enum Call {
    Open { idle: Duration, answer: oneshot::Sender<Result<Session>> },
    Resume { id: NonZeroU64, answer: oneshot::Sender<Result<Option<Session>>> },
    End { id: NonZeroU64, answer: oneshot::Sender<Result<()>> },
    Settle { stamp: Stamp, answer: oneshot::Sender<Result<Option<Outcome>>> },
}

impl Call {
    pub(in crate::local) fn refuse(self, error: Error) {
        // Whoever dropped the future does not want to know.
        match self {
            Self::Open { answer, .. } => drop(answer.send(Err(error))),
            Self::Resume { answer, .. } => drop(answer.send(Err(error))),
            Self::End { answer, .. } => drop(answer.send(Err(error))),
            Self::Settle { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// A write's place in a session, and what the write is.
#[derive(Clone, Copy, Debug)]
pub(in crate::local) struct Stamped {
    pub(in crate::local) stamp: Stamp,
    pub(in crate::local) digest: u64,
}

impl Stamped {
    /// Reads the whole batch: for the caller's thread, not for the committer's.
    pub(in crate::local) fn new(stamp: Stamp, batch: &Batch) -> Self {
        Self { stamp, digest: digest(batch) }
    }
}
