use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::metrics::Shed;
use crate::state::State;

/// What goes on in one connection: how many requests it has, and which bytes of answers its client has not
/// taken yet.
#[derive(Debug)]
pub(crate) struct Flow {
    state: Arc<State>,
    began: Instant,
    requests: AtomicUsize,
    /// Those among them that no service of ours takes: see [`Busy::aside`].
    asides: AtomicUsize,
    /// Those that last for as long as their client likes: see [`Busy::dialogue`].
    dialogues: AtomicUsize,
    unsent: AtomicUsize,
    /// When the last request ended, in milliseconds since the connection began.
    rested: AtomicU64,
    /// When the client last took something, or had nothing to take.
    moved: AtomicU64,
}

/// Why a connection is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No request for too long.
    Idle,
    /// An answer waits, and for too long nothing of it was taken.
    Stalled,
    /// Nothing of this; to be asked again then.
    Fine(Instant),
}

impl Flow {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self {
            state,
            began: Instant::now(),
            requests: AtomicUsize::new(0),
            asides: AtomicUsize::new(0),
            dialogues: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            rested: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes room for bytes of an answer.
    pub(crate) fn hold(&self, bytes: usize) -> Result<()> {
        self.hold_behind(bytes, 0)
    }

    /// Takes room for bytes of an answer behind others, which take theirs later.
    pub(crate) fn hold_behind(&self, bytes: usize, others: usize) -> Result<()> {
        let limit = self.state.max_unsent_bytes_per_connection;
        let before = self.unsent.fetch_add(bytes, Ordering::Relaxed);
        if before == 0 {
            self.moved.store(self.now(), Ordering::Relaxed);
        }
        if before.saturating_add(bytes).saturating_add(others) > limit {
            self.unsent.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::new(
                ErrorKind::Exhausted,
                "too many bytes of answers that this client does not take",
            )
            .with("limit", limit));
        }
        self.state.hold_answer(bytes, others).inspect_err(|_| {
            self.unsent.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// Gives it back.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::Relaxed);
        self.state.let_go_answer(bytes);
        self.moved.store(self.now(), Ordering::Relaxed);
    }

    /// Whether the connection is to be kept.
    pub(crate) fn verdict(&self) -> Verdict {
        let config = &self.state.config;
        let idle = match self.requests.load(Ordering::Relaxed) {
            0 => Self::due(&self.rested, config.idle_timeout),
            _ => self.now().saturating_add(millis(config.idle_timeout)),
        };
        let stalled = match self.unsent.load(Ordering::Relaxed) {
            0 => self.now().saturating_add(millis(config.stall_timeout)),
            _ => Self::due(&self.moved, config.stall_timeout),
        };
        let now = self.now();
        if stalled <= now {
            return Verdict::Stalled;
        }
        if idle <= now {
            return Verdict::Idle;
        }
        Verdict::Fine(self.began + Duration::from_millis(idle.min(stalled)))
    }

    fn due(since: &AtomicU64, patience: Duration) -> u64 {
        since.load(Ordering::Relaxed).saturating_add(millis(patience))
    }
}

/// Never zero, or the node would ask all the time.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The most requests at once of one connection for health and reflection. They take no place among the requests in
/// flight, so that a full node can say that it lives, and some of them last for as long as their client likes.
const MAX_ASIDES: usize = 32;

/// The most dialogues at once of one connection: pipelines among them, which take no place among the requests in
/// flight. Clients need a few.
pub(crate) const MAX_DIALOGUES: usize = 64;

/// A request of a connection, until all of its answer is on its way.
#[derive(Debug)]
pub(crate) struct Busy {
    flow: Arc<Flow>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Aside,
    Dialogue,
}

impl Busy {
    pub(crate) fn new(flow: &Arc<Flow>) -> Self {
        flow.requests.fetch_add(1, Ordering::Relaxed);
        Self { flow: Arc::clone(flow), kind: Kind::Ordinary }
    }

    /// Counts the request among those for health and reflection, if there is room for one more.
    pub(crate) fn aside(&mut self) -> Result<()> {
        self.kind = Kind::Aside;
        if self.flow.asides.fetch_add(1, Ordering::Relaxed) < MAX_ASIDES {
            return Ok(());
        }
        self.flow.state.metrics.shed(Shed::Requests);
        Err(Error::new(
            ErrorKind::Exhausted,
            "too many requests for health and reflection in this connection",
        )
        .with("limit", MAX_ASIDES))
    }

    /// Counts the request among the dialogues, if there is room for one more.
    pub(crate) fn dialogue(&mut self) -> Result<()> {
        self.kind = Kind::Dialogue;
        if self.flow.dialogues.fetch_add(1, Ordering::Relaxed) < MAX_DIALOGUES {
            return Ok(());
        }
        self.flow.state.metrics.shed(Shed::Requests);
        Err(Error::new(ErrorKind::Exhausted, "too many dialogues in this connection")
            .with("limit", MAX_DIALOGUES))
    }

    pub(crate) const fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        match self.kind {
            Kind::Ordinary => {}
            Kind::Aside => drop(self.flow.asides.fetch_sub(1, Ordering::Relaxed)),
            Kind::Dialogue => drop(self.flow.dialogues.fetch_sub(1, Ordering::Relaxed)),
        }
        // First: seen without requests, the connection must not look as if it had rested since the last one.
        self.flow.rested.store(self.flow.now(), Ordering::Relaxed);
        self.flow.requests.fetch_sub(1, Ordering::Release);
    }
}
