use std::time::Duration;

use rdb_engine_api::EngineInfo;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::NodeConfig;
use crate::metrics::Metrics;

/// What all parts of a node share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: NodeConfig,
    pub(crate) metrics: Metrics,
    started: Instant,
    /// Set first when the node shuts down: nothing new is accepted.
    pub(crate) draining: CancellationToken,
    /// Set when draining takes too long: requests are answered with an error.
    pub(crate) ending: CancellationToken,
    /// Set last: connections are cut.
    pub(crate) cut: CancellationToken,
    /// Set when the engine has answered that it is closed, which it stays (C11).
    pub(crate) engine_closed: CancellationToken,
    /// Told whenever the last request in flight has ended.
    idle: Notify,
}

/// Whether a node takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Draining,
    EngineClosed,
}

impl State {
    pub(crate) fn new(config: NodeConfig, engine: &EngineInfo) -> Self {
        Self {
            config,
            metrics: Metrics::new(engine),
            started: Instant::now(),
            draining: CancellationToken::new(),
            ending: CancellationToken::new(),
            cut: CancellationToken::new(),
            engine_closed: CancellationToken::new(),
            idle: Notify::new(),
        }
    }

    pub(crate) fn readiness(&self) -> Readiness {
        if self.draining.is_cancelled() {
            Readiness::Draining
        } else if self.engine_closed.is_cancelled() {
            Readiness::EngineClosed
        } else {
            Readiness::Ready
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes a place among the requests in flight; none where all are taken.
    pub(crate) fn enter(&self) -> bool {
        let before = self.metrics.in_flight.inc();
        let is_free = usize::try_from(before).is_ok_and(|before| before < self.config.max_in_flight);
        if !is_free {
            self.leave();
        }
        is_free
    }

    pub(crate) fn leave(&self) {
        if self.metrics.in_flight.dec() == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Waits until no request is in flight.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.metrics.in_flight.get() == 0 {
                return;
            }
            idle.await;
        }
    }
}
