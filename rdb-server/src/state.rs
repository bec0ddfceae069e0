use std::net::SocketAddr;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::NodeConfig;
use crate::arrival::PREFIX_BYTES;
use crate::handshake::Failure;
use crate::method::Methods;
use crate::metrics::{Metrics, Shed};
use crate::reload::Tls;
use crate::seldom::Seldom;

/// What all parts of a server share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: NodeConfig,
    pub(crate) methods: Methods,
    pub(crate) metrics: Metrics,
    /// None where the server has no TLS.
    pub(crate) tls: Option<Tls>,
    /// The longest message taken and sent.
    pub(crate) max_message_bytes: usize,
    /// The configured ones, with room for the longest message.
    max_unsent_bytes: usize,
    pub(crate) max_unsent_bytes_per_connection: usize,
    started: Instant,
    /// Set first when the node shuts down: nothing new is accepted.
    pub(crate) draining: CancellationToken,
    /// Set when draining takes too long: requests are answered with an error.
    pub(crate) ending: CancellationToken,
    /// Set last: connections are cut.
    pub(crate) cut: CancellationToken,
    /// Set when the engine has answered that it is closed, which it stays (C11).
    pub(crate) engine_closed: CancellationToken,
    refusals: Seldom,
    /// Told whenever the last request in flight has ended, and the last one that waits.
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
    pub(crate) fn new(
        config: NodeConfig,
        methods: Methods,
        mut registry: Registry,
        tls: Option<Tls>,
        max_message_bytes: usize,
    ) -> Self {
        let longest = max_message_bytes.saturating_add(PREFIX_BYTES);
        if let Some(tls) = &tls {
            tls.register(&mut registry);
        }
        Self {
            max_message_bytes,
            max_unsent_bytes: config.max_unsent_bytes.max(longest),
            max_unsent_bytes_per_connection: config.max_unsent_bytes_per_connection.max(longest),
            config,
            metrics: Metrics::new(registry, methods.all()),
            methods,
            tls,
            started: Instant::now(),
            draining: CancellationToken::new(),
            ending: CancellationToken::new(),
            cut: CancellationToken::new(),
            engine_closed: CancellationToken::new(),
            refusals: Seldom::default(),
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

    /// Reports a connection that did not begin; above the level of debugging no more than ten a second.
    pub(crate) fn refuse(&self, failure: &Failure, peer: SocketAddr) {
        self.metrics.handshake_failed(failure);
        match failure {
            // Port scanners, and probes that only connect.
            Failure::Left => tracing::debug!(%peer, "connection did not begin: {failure}"),
            // The metrics count all of them.
            _ if !self.refusals.is_due(self.uptime()) => {
                tracing::debug!(%peer, "connection did not begin: {failure}");
            }
            _ => tracing::info!(%peer, "connection did not begin: {failure}"),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes a place among the requests in flight.
    pub(crate) fn enter(&self) -> Result<()> {
        let limit = self.config.max_in_flight;
        let before = self.metrics.in_flight.inc();
        if usize::try_from(before).is_ok_and(|before| before < limit) {
            return Ok(());
        }
        self.leave();
        self.metrics.shed(Shed::Requests);
        Err(Error::new(ErrorKind::Exhausted, "too many requests in flight").with("limit", limit))
    }

    pub(crate) fn leave(&self) {
        if self.metrics.in_flight.dec() == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Counts a request as one that waits, which takes no place: those that it waits for need one.
    pub(crate) fn begin_to_wait(&self) {
        self.metrics.waiting.inc();
    }

    pub(crate) fn end_to_wait(&self) {
        if self.metrics.waiting.dec() == 1 {
            self.idle.notify_waiters();
        }
    }

    /// The requests that are being worked on, those that wait among them.
    pub(crate) fn open_requests(&self) -> i64 {
        self.metrics.in_flight.get() + self.metrics.waiting.get()
    }

    /// Takes room for bytes of a request.
    pub(crate) fn hold(&self, bytes: usize) -> Result<()> {
        let limit = self.config.max_in_flight_bytes;
        let before = self.metrics.in_flight_bytes.inc_by(count(bytes));
        if usize::try_from(before).is_ok_and(|before| before.saturating_add(bytes) <= limit) {
            return Ok(());
        }
        self.let_go(bytes);
        self.metrics.shed(Shed::RequestBytes);
        Err(Error::new(ErrorKind::Exhausted, "too many bytes of requests in flight").with("limit", limit))
    }

    pub(crate) fn let_go(&self, bytes: usize) {
        self.metrics.in_flight_bytes.dec_by(count(bytes));
    }

    /// Takes room for bytes of an answer behind others, which take theirs later.
    pub(crate) fn hold_answer(&self, bytes: usize, others: usize) -> Result<()> {
        let (limit, needed) = (self.max_unsent_bytes, bytes.saturating_add(others));
        let before = self.metrics.unsent_bytes.inc_by(count(bytes));
        if usize::try_from(before).is_ok_and(|before| before.saturating_add(needed) <= limit) {
            return Ok(());
        }
        self.let_go_answer(bytes);
        Err(Error::new(ErrorKind::Exhausted, "too many bytes of answers that clients do not take")
            .with("limit", limit))
    }

    pub(crate) fn let_go_answer(&self, bytes: usize) {
        self.metrics.unsent_bytes.dec_by(count(bytes));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open_requests() == 0
    }

    /// Waits until no request is open.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }
}

/// What is in memory has a length that gauges can count.
fn count(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
