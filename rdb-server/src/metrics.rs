use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rdb_engine_api::{Engine, Error, ErrorKind, Result};
use rdb_proto::Call;
use rdb_proto::kv::v1::{kv_server, node_server};

use crate::EngineMetrics;

/// The methods of our services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    GetMany,
    Put,
    Delete,
    CompareAndSwap,
    Write,
    Scan,
    Info,
    Status,
}

impl Method {
    const ALL: [Self; 9] = [
        Self::Get,
        Self::GetMany,
        Self::Put,
        Self::Delete,
        Self::CompareAndSwap,
        Self::Write,
        Self::Scan,
        Self::Info,
        Self::Status,
    ];

    /// The method that a request asks for.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        Some(match (service, method) {
            (kv_server::SERVICE_NAME, "Get") => Self::Get,
            (kv_server::SERVICE_NAME, "GetMany") => Self::GetMany,
            (kv_server::SERVICE_NAME, "Put") => Self::Put,
            (kv_server::SERVICE_NAME, "Delete") => Self::Delete,
            (kv_server::SERVICE_NAME, "CompareAndSwap") => Self::CompareAndSwap,
            (kv_server::SERVICE_NAME, "Write") => Self::Write,
            (kv_server::SERVICE_NAME, "Scan") => Self::Scan,
            (node_server::SERVICE_NAME, "Info") => Self::Info,
            (node_server::SERVICE_NAME, "Status") => Self::Status,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::CompareAndSwap => "compare_and_swap",
            Self::Write => "write",
            Self::Scan => "scan",
            Self::Info => "info",
            Self::Status => "status",
        }
    }

    /// Whether it may change something.
    pub(crate) const fn call(self) -> Call {
        match self {
            Self::Put | Self::Delete | Self::CompareAndSwap | Self::Write => Call::Write,
            Self::Get | Self::GetMany | Self::Scan | Self::Info | Self::Status => Call::Read,
        }
    }
}

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

    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(kind) => kind.name(),
            Self::Cancelled => "cancelled",
        }
    }

    /// For the label `outcome` of latencies, which are too many series to be told apart by code.
    const OUTCOMES: [&str; 3] = ["ok", "failed", "cancelled"];

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

/// What a node counts. Each node has a registry of its own.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// By method and ending: looked up by place, since requests are many.
    requests: Vec<[Counter; Ending::COUNT]>,
    /// By method and outcome.
    seconds: Vec<[Histogram; Ending::OUTCOMES.len()]>,
    pub(crate) in_flight: Gauge,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) scans: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) requests_refused: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) panics: Counter,
}

impl Metrics {
    pub(crate) fn new(engine: &Arc<dyn Engine>) -> Self {
        let mut registry = Registry::with_prefix("flaredb");
        EngineMetrics::register(Arc::clone(engine), &mut registry);
        let by_ending = Family::<[(&str, &str); 2], Counter>::default();
        let requests = Method::ALL.map(|method| {
            let mut endings = Ending::all();
            std::array::from_fn(|_| {
                let code = endings.next().map_or("", Ending::name);
                by_ending.get_or_create_owned(&[("method", method.name()), ("code", code)])
            })
        });
        registry.register("requests", "Requests by method and how they ended", by_ending);

        // From 50 microseconds to 13 seconds.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_05, 2.0, 19));
        let by_outcome =
            Family::<[(&str, &str); 2], Histogram, fn() -> Histogram>::new_with_constructor(buckets);
        let seconds = Method::ALL.map(|method| {
            Ending::OUTCOMES.map(|outcome| {
                by_outcome.get_or_create_owned(&[("method", method.name()), ("outcome", outcome)])
            })
        });
        registry.register_with_unit(
            "request_duration",
            "From a request's arrival to its answer, for a scan to its end",
            Unit::Seconds,
            by_outcome,
        );

        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("engine", engine.info().name.clone()),
            ("format", engine.info().format.to_string()),
            ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
            ("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
        ]);
        registry.register("build", "What this node is", build);

        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let in_flight = gauge("requests_in_flight", "Requests being received or worked on, scans included");
        let in_flight_bytes = gauge("request_bytes_in_flight", "Bytes received of the requests in flight");
        let scans = gauge("scans_open", "Scans being delivered");
        let connections = gauge("connections_open", "Connections to the gRPC address");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let connections_accepted = counter("connections_accepted", "Connections accepted");
        let connections_refused = counter("connections_refused", "Connections closed at once: too many");
        let requests_refused =
            counter("requests_refused", "Requests that reached no method: too long, malformed, unknown");
        let conflicts = counter("conflicts", "Writes answered with a conflict");
        let panics = counter("panics", "Requests whose handling panicked: bugs");
        Self {
            registry,
            requests: requests.into(),
            seconds: seconds.into(),
            in_flight,
            in_flight_bytes,
            scans,
            connections,
            connections_accepted,
            connections_refused,
            requests_refused,
            conflicts,
            panics,
        }
    }

    pub(crate) fn ended(&self, method: Method, ending: Ending, after: Duration) {
        self.requests[method as usize][ending.place()].inc();
        self.seconds[method as usize][ending.outcome()].observe(after.as_secs_f64());
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
        for method in Method::ALL {
            for ending in Ending::all() {
                let engine: Arc<dyn Engine> = Arc::new(rdb_engine_mem::open(&Default::default()).unwrap());
                let metrics = Metrics::new(&engine);
                metrics.ended(method, ending, Duration::ZERO);
                let line = format!(
                    "flaredb_requests_total{{method=\"{}\",code=\"{}\"}} 1\n",
                    method.name(),
                    ending.name()
                );
                let text = metrics.text().unwrap();
                assert!(text.contains(&line), "{line}");
                let counted = text.lines().filter(|line| line.starts_with("flaredb_request"));
                assert_eq!(counted.filter(|line| line.ends_with("} 1")).count(), 1 + 19 + 2);
            }
        }
    }
}
