//! Writes that take effect once, whatever becomes of their answers (C10, C17).
//!
//! The client opens a session when the first write needs it, numbers its writes, and sends each again under
//! its number until it has an answer or its deadline passes. The engine judges a number once and gives every
//! arrival the first outcome, so sending again is how the client learns what became of a write.
//!
//! Two things are known of a write between its attempts: its number, and whether an earlier attempt *may
//! have been executed* (its answer was lost, or was [`Unknown`](rdb_engine_api::ErrorKind::Unknown)). From
//! then on an error of a later attempt speaks of that attempt alone: only the engine's word on the number
//! ends the write, and the application is never told that it was not applied, or of a conflict with itself.
//!
//! | answer of this attempt | no attempt may have been executed | an earlier attempt may have been executed |
//! |---|---|---|
//! | outcome | told | told: it is the first one |
//! | no answer, or one that makes no sense; `Unknown` | from now on the right column; resume, then send again | resume, then send again |
//! | never sent; `Unavailable` | send again, as often as the policy allows, then told | send again |
//! | `Stale`: the node has restarted | resume, then send again | resume, then send again under the new life |
//! | `Exhausted`, `Closed` | told | send again |
//! | `InvalidArgument`, `Unsupported`, `Corrupt`, `Internal` | told | ask what became of it (settle) |
//! | its turn ([`timeout`](rdb_engine_api::WriteOptions::timeout)) is over | told as `Unavailable` | ask what became of it (settle) |
//! | resume: the session goes on | send again | send again |
//! | resume: the session has ended | a new session, a new number, send | told as `Unknown`: nobody knows any more |
//! | resume: an error | `Unavailable`: resume again, as the policy allows; every other: told | resume again |
//! | settle: an outcome | | told |
//! | settle: not executed, and never will be | | told is the refusal that made us ask: now it is certain |
//! | settle: `Unknown` (forgotten) | | told as `Unknown` |
//! | settle: `Stale` | | resume, then settle again |
//! | settle: another error | | settle again |
//! | the deadline passes, or the policy repeats nothing | the last error, or `Unavailable` | told as `Unknown`, with a [`WriteId`] to ask later |
//!
//! **Resuming** comes before the next send of anybody in the session as soon as its life is in doubt: after
//! `Stale`, after an unknown attempt, and when it was idle for most of the time it may be. One asks, the
//! others wait for it. A write is therefore never sent in a session that may have ended, and `Unknown` for
//! want of a session means that an earlier attempt is in the dark.
//!
//! **The watermark.** Each attempt carries the number up to which everything is over. A number is over when
//! its write was told something certain, or when nobody can ask about it any more: a dropped future's at once
//! (the engine then refuses what is still on its way; whether it took effect before stays unknown, C10), an
//! unknown write's after [`HOLD`], or as soon as it takes up half of the window. A write that finds the window
//! full waits, within its deadline, for the oldest that is not over.

mod line;
mod link;
mod numbers;
mod turnstile;
mod verdict;
mod write_id;
mod writing;

pub(crate) use link::Link;
pub use write_id::WriteId;
pub(crate) use writing::Writing;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use line::Line;
use parking_lot::Mutex;
use rdb_engine_api::{Result, SessionOptions};
use tokio::time::{Instant, timeout};
use turnstile::Turnstile;

use crate::call::Deadline;

/// How long the outcome of a write that ended unknown is kept for whoever asks.
pub(crate) const HOLD: Duration = Duration::from_secs(300);

/// How long the end of a session may take when its client goes: the engine ends it by itself, later.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session of a client and its clones: opened when the first write needs it, and anew when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Whether another is opened where the window is full, rather than to wait for the oldest write.
    rolls_over: bool,
    current: Mutex<Option<Arc<Line>>>,
    opening: Turnstile,
}

impl Sessions {
    /// For writes that wait for their conditions. The oldest of them may wait for as long as it likes, so a full
    /// window is left to those in it, and their session to end by itself.
    pub(crate) fn rolling_over() -> Self {
        Self { rolls_over: true, ..Self::default() }
    }

    /// The session to write in.
    async fn line(&self, link: &Link, deadline: Deadline) -> Result<Arc<Line>> {
        if let Some(line) = self.live() {
            return Ok(line);
        }
        let open = async {
            let asked = Instant::now();
            let session = link.open(SessionOptions::default(), deadline).await?;
            tracing::debug!(session = session.id, "session opened");
            let line = Arc::new(Line::new(session, asked));
            *self.current.lock() = Some(Arc::clone(&line));
            Ok(line)
        };
        self.opening.pass(deadline, || self.live(), open).await
    }

    fn live(&self) -> Option<Arc<Line>> {
        self.current.lock().clone().filter(|line| !line.has_ended() && (!self.rolls_over || !line.is_full()))
    }

    /// The session that is left to end, which nobody writes in any more.
    pub(crate) fn take(&self) -> Option<NonZeroU64> {
        self.current.lock().take().filter(|line| !line.has_ended()).map(|line| line.id())
    }
}

/// Ends a session as well as can be done in a short time.
pub(crate) async fn end(link: Link, session: NonZeroU64) {
    let ended = timeout(FAREWELL, link.end(session, Deadline::after(FAREWELL))).await;
    if !matches!(ended, Ok(Ok(()))) {
        tracing::debug!(session, "session is left for the engine to end");
    }
}
