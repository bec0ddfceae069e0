use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What it does at present.
    pub phase: Phase,
    /// How much of the phase is done, from 0 to 1.
    pub done: f64,
    /// How long the phase takes already.
    pub elapsed: Duration,
    /// Operations of the phase so far, or records of a load.
    pub operations: u64,
    /// Operations a second of late, or records of a load.
    pub per_second: f64,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Records are stored that the workload wants to be there.
    Load,
    /// It runs, but is not counted yet.
    WarmUp,
    /// It is measured.
    Measure,
}

/// Ends a run in order, from wherever it is cloned to: what was measured so far is the result.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stopped: AtomicBool,
    told: Notify,
}

impl Stop {
    /// A run that goes on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends it.
    pub fn stop(&self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.state.told.notify_waiters();
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.state.stopped.load(Ordering::Relaxed)
    }

    /// Waits until it is to end.
    pub(crate) async fn stopped(&self) {
        let told = self.state.told.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if !self.is_stopped() {
            told.await;
        }
    }
}
