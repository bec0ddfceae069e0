use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use rdb_engine_api::{Error, ErrorKind, Result};

use crate::handshake::Failure;
use crate::method::Method;

/// How a request ended, for the label `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Ok,
    Failed(ErrorKind),
    /// The client went away.
    Cancelled,
}

impl Ending {
    const COUNT: usize = ErrorKind::ALL.len() + 2;

    fn all() -> impl Iterator<Item = Self> {
        [Self::Ok, Self::Cancelled].into_iter().chain(ErrorKind::ALL.map(Self::Failed))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(kind) => kind.name(),
            Self::Cancelled => "cancelled",
        }
    }

    /// For the label `outcome` of latencies, which are too many series to be told apart by code.
    const OUTCOMES: [&str; 4] = ["ok", "failed", "cancelled", "waited"];
    /// Of what waited for others, however it ended: it says nothing about how fast the node is.
    const WAITED: usize = 3;

    const fn outcome(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Failed(_) => 1,
            Self::Cancelled => 2,
        }
    }

    fn place(self) -> usize {
        Self::all().position(|other| other == self).unwrap_or(0)
    }
}

impl From<&Result<(), Error>> for Ending {
    fn from(result: &Result<(), Error>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(error) => Self::Failed(error.kind()),
        }
    }
}

/// What there was no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shed {
    Requests,
    RequestBytes,
    AnswerBytes,
    Connections,
    OpsConnections,
}

impl Shed {
    const ALL: [Self; 5] =
        [Self::Requests, Self::RequestBytes, Self::AnswerBytes, Self::Connections, Self::OpsConnections];

    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::RequestBytes => "request_bytes",
            Self::AnswerBytes => "answer_bytes",
            Self::Connections => "connections",
            Self::OpsConnections => "operations_connections",
        }
    }
}

/// Shows limits to whoever compares them with what is counted. Times are in seconds.
pub(crate) fn register_limits(registry: &mut Registry, limits: impl IntoIterator<Item = (String, f64)>) {
    let by_name = Family::<[(&str, String); 1], Gauge<f64, AtomicU64>>::default();
    for (name, limit) in limits {
        by_name.get_or_create_owned(&[("name", name)]).set(limit);
    }
    registry.register("limit", "The limits in force, by name", by_name);
}

/// What a server counts. Each has a registry of its own.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// By the method's place and the ending's: looked up by place, since requests are many.
    requests: Vec<[Counter; Ending::COUNT]>,
    /// By method and outcome.
    seconds: Vec<[Histogram; Ending::OUTCOMES.len()]>,
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) unsent_bytes: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_idle: Counter,
    pub(crate) connections_stalled: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) requests_refused: Counter,
    pub(crate) panics: Counter,
    /// By reason.
    handshake_failures: Family<[(&'static str, &'static str); 1], Counter>,
    shed: [Counter; Shed::ALL.len()],
}

impl Metrics {
    pub(crate) fn new(mut registry: Registry, methods: &[Method]) -> Self {
        let by_ending = Family::<[(&str, &str); 2], Counter>::default();
        let requests = methods.iter().map(|method| {
            let mut endings = Ending::all();
            std::array::from_fn(|_| {
                let code = endings.next().map_or("", Ending::name);
                by_ending.get_or_create_owned(&[("method", method.name), ("code", code)])
            })
        });
        let requests = requests.collect();
        registry.register("requests", "Requests by method and how they ended", by_ending);

        // From 50 microseconds to 13 seconds.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_05, 2.0, 19));
        let by_outcome =
            Family::<[(&str, &str); 2], Histogram, fn() -> Histogram>::new_with_constructor(buckets);
        let seconds = methods.iter().map(|method| {
            Ending::OUTCOMES.map(|outcome| {
                by_outcome.get_or_create_owned(&[("method", method.name), ("outcome", outcome)])
            })
        });
        let seconds = seconds.collect();
        registry.register_with_unit(
            "request_duration",
            "From a request's arrival to its answer, for a stream to its end",
            Unit::Seconds,
            by_outcome,
        );

        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let in_flight = gauge("requests_in_flight", "Requests being received or worked on, scans included");
        let waiting =
            gauge("requests_waiting", "Requests that wait for what others do, and take no place in flight");
        let in_flight_bytes = gauge("request_bytes_in_flight", "Bytes received of the requests in flight");
        let unsent_bytes = gauge("answer_bytes_unsent", "Bytes of answers that clients have not taken yet");
        let connections = gauge("connections_open", "Connections to the gRPC address");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let connections_accepted = counter("connections_accepted", "Connections accepted");
        let connections_refused = counter("connections_refused", "Connections closed at once: too many");
        let connections_idle = counter("connections_idle", "Connections closed: no request for too long");
        let connections_stalled =
            counter("connections_stalled", "Connections closed: answers were left unread for too long");
        let accept_errors = counter("accept_errors", "Connections that could not be accepted");
        let requests_refused =
            counter("requests_refused", "Requests that reached no method: too long, malformed, unknown");
        let panics = counter("panics", "Requests whose handling panicked: bugs");
        let handshake_failures = Family::<[(&str, &str); 1], Counter>::default();
        for reason in Failure::REASONS {
            let _ = handshake_failures.get_or_create_owned(&[("reason", reason)]);
        }
        registry.register(
            "handshake_failures",
            "Connections that did not begin, by reason",
            handshake_failures.clone(),
        );
        let by_reason = Family::<[(&str, &str); 1], Counter>::default();
        let shed = Shed::ALL.map(|reason| by_reason.get_or_create_owned(&[("reason", reason.name())]));
        registry.register("shed", "What was refused for want of room, by reason", by_reason);
        Self {
            registry,
            requests,
            seconds,
            in_flight,
            waiting,
            in_flight_bytes,
            unsent_bytes,
            connections,
            connections_accepted,
            connections_refused,
            connections_idle,
            connections_stalled,
            accept_errors,
            requests_refused,
            panics,
            handshake_failures,
            shed,
        }
    }

    /// Counts a request of the method at a place.
    pub(crate) fn ended(&self, method: usize, ending: Ending, after: Duration) {
        self.requests[method][ending.place()].inc();
        self.seconds[method][ending.outcome()].observe(after.as_secs_f64());
    }

    /// Counts a request that waited for others.
    pub(crate) fn ended_waiting(&self, method: usize, ending: Ending, after: Duration) {
        self.requests[method][ending.place()].inc();
        self.seconds[method][Ending::WAITED].observe(after.as_secs_f64());
    }

    /// Counts something that there was no room for.
    pub(crate) fn shed(&self, reason: Shed) {
        self.shed[reason as usize].inc();
    }

    /// Counts a connection that did not begin.
    pub(crate) fn handshake_failed(&self, failure: &Failure) {
        self.handshake_failures.get_or_create_owned(&[("reason", failure.reason())]).inc();
    }

    /// All of it in the OpenMetrics text format.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot encode metrics").because(error))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_of_each_method_has_a_counter_of_its_own() {
        let methods = [Method::read("/a/A", "a"), Method::write("/a/B", "b")];
        for (place, method) in methods.iter().enumerate() {
            for ending in Ending::all() {
                let metrics = Metrics::new(Registry::with_prefix("flaredb"), &methods);
                metrics.ended(place, ending, Duration::ZERO);
                let line = format!(
                    "flaredb_requests_total{{method=\"{}\",code=\"{}\"}} 1\n",
                    method.name,
                    ending.name()
                );
                let text = metrics.text().unwrap();
                assert!(text.contains(&line), "{line}");
                let counted = text.lines().filter(|line| line.starts_with("flaredb_requests_total"));
                assert_eq!(counted.filter(|line| line.ends_with("} 1")).count(), 1);
            }
        }
    }
}
