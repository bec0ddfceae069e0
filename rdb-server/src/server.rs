use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::accept::{accept, listen};
use crate::descriptors::max_connections;
use crate::method::{Method, Methods};
use crate::metrics::{Shed, register_limits};
use crate::reload::Tls;
use crate::state::State;
use crate::{NodeConfig, grpc, ops};

/// The longest message that health and reflection take: they ask for names.
const MAX_NAME_BYTES: usize = 4 << 10;

/// The services that every server has.
const GRPC_NAMES: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

/// What a server does last.
pub type Close = Box<dyn FnOnce() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// What a server serves.
#[non_exhaustive]
pub struct Services {
    /// The gRPC services. They leave it to the server to refuse long messages: their own limit has to be above
    /// it, such as `usize::MAX`.
    pub routes: Routes,
    /// All their methods: a request for any other is refused.
    pub methods: Vec<Method>,
    /// Their names, such as `flaredb.pd.v1.Pd`, under which health can be asked for.
    pub names: Vec<&'static str>,
    /// Their definitions, as a serialised `google.protobuf.FileDescriptorSet`, for reflection.
    pub descriptors: &'static [u8],
    /// The longest message that they need, in bytes. The configuration's own wins.
    pub max_message_bytes: usize,
    /// Limits of their own, by name, to be shown among the metrics.
    pub limits: Vec<(&'static str, usize)>,
    /// The same, of times.
    pub limit_times: Vec<(&'static str, Duration)>,
    /// What is to be found under `/metrics`; the server adds what it counts itself.
    pub registry: Registry,
    /// What the server does last when it shuts down, within its time. A server that is dropped does not do it.
    pub close: Close,
}

impl Services {
    /// No services yet, messages of 64 KiB, and nothing to close.
    pub fn new() -> Self {
        Self {
            routes: Routes::default(),
            methods: Vec::new(),
            names: Vec::new(),
            descriptors: &[],
            max_message_bytes: 64 << 10,
            limits: Vec::new(),
            limit_times: Vec::new(),
            registry: Registry::with_prefix("flaredb"),
            close: Box::new(|| Box::pin(async { Ok(()) })),
        }
    }
}

impl Default for Services {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Services")
            .field("names", &self.names)
            .field("max_message_bytes", &self.max_message_bytes)
            .finish_non_exhaustive()
    }
}

/// A server whose addresses are its own and known, but which accepts nothing yet: clients that connect wait.
#[derive(Debug)]
pub struct Bound {
    config: NodeConfig,
    tls: Option<Tls>,
    listener: TcpListener,
    addr: SocketAddr,
    ops_listener: TcpListener,
    ops_addr: SocketAddr,
}

impl Bound {
    /// Reads the files of TLS and opens the listening sockets.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a configuration that cannot be, or files that cannot be
    /// used, naming them;
    /// [`Unavailable`](ErrorKind::Unavailable) where an address cannot be listened on, naming it.
    pub async fn new(config: NodeConfig) -> Result<Self> {
        config.check()?;
        let tls = match config.tls.clone() {
            Some(tls) => Some(Tls::new(tls).await?),
            None => None,
        };
        let (listener, addr) = listen(config.listen).await?;
        let (ops_listener, ops_addr) = listen(config.ops_listen).await?;
        Ok(Self { config, tls, listener, addr, ops_listener, ops_addr })
    }

    /// How the server is configured.
    pub const fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The address of the gRPC services.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the operations services.
    pub const fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Begins to serve.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) where the longest message is above the bytes in flight;
    /// [`Internal`](ErrorKind::Internal) where the definitions cannot be read. Nothing is closed then.
    pub async fn serve(self, services: Services) -> Result<Server> {
        let Self { mut config, tls, listener, addr, ops_listener, ops_addr } = self;
        let Services {
            routes,
            methods,
            names,
            descriptors,
            max_message_bytes,
            limits,
            limit_times,
            mut registry,
            close,
        } = services;
        let max_message_bytes = config.max_message_bytes.unwrap_or(max_message_bytes);
        config.check_message(max_message_bytes)?;
        config.max_connections = max_connections(&config);
        let numbers = config.numbers().into_iter().map(|(name, number)| match name {
            "max_message_bytes" => (name, max_message_bytes),
            _ => (name, number),
        });
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number as f64));
        let times = config.times().into_iter().chain(limit_times);
        let times = times.map(|(name, time)| (format!("{name}_seconds"), time.as_secs_f64()));
        let theirs = limits.into_iter().map(|(name, number)| (name.to_owned(), number as f64));
        register_limits(&mut registry, numbers.chain(times).chain(theirs));
        let state = Arc::new(State::new(config, Methods::new(methods), registry, tls, max_message_bytes));

        let (reporter, health_service) = tonic_health::server::health_reporter();
        let health = Health { reporter, names };
        health.set(ServingStatus::Serving).await;
        let listed = health
            .names
            .iter()
            .chain(&GRPC_NAMES)
            .fold(tonic_reflection::server::Builder::configure(), |builder, name| {
                builder.with_service_name(*name)
            });
        let reflection = listed
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot build reflection").because(error))?;
        let routes = routes
            .add_service(health_service.max_decoding_message_size(MAX_NAME_BYTES))
            .add_service(reflection.max_decoding_message_size(MAX_NAME_BYTES))
            .prepare();

        let tasks = TaskTracker::new();
        let on_connection = {
            let (state, tasks) = (Arc::clone(&state), tasks.clone());
            move |connection| {
                let metrics = &state.metrics;
                let Some(connection) = connection else {
                    metrics.connections_refused.inc();
                    metrics.shed(Shed::Connections);
                    return;
                };
                metrics.connections_accepted.inc();
                metrics.connections.inc();
                let serving =
                    grpc::serve_connection(connection, routes.clone(), Arc::clone(&state), tasks.clone());
                let open = metrics.connections.clone();
                tasks.spawn(async move {
                    serving.await;
                    open.dec();
                });
            }
        };
        let errors = state.metrics.accept_errors.clone();
        tasks.spawn(accept(
            listener,
            state.config.max_connections,
            state.draining.clone(),
            errors.clone(),
            on_connection,
        ));

        let stop_ops = CancellationToken::new();
        let on_ops_connection = {
            let (state, stop) = (Arc::clone(&state), stop_ops.clone());
            move |connection| {
                let Some(connection) = connection else { return state.metrics.shed(Shed::OpsConnections) };
                tokio::spawn(ops::serve_connection(connection, Arc::clone(&state), stop.clone()));
            }
        };
        let max_ops = state.config.max_ops_connections;
        tokio::spawn(accept(ops_listener, max_ops, stop_ops.clone(), errors, on_ops_connection));

        if let Some(tls) = state.tls.clone() {
            tokio::spawn(tls.follow(stop_ops.clone()));
        }
        tokio::spawn(report_closed_engine(Arc::clone(&state), health.clone()));
        Ok(Server { addr, ops_addr, state, tasks, stop_ops, health, close: Some(close) })
    }
}

/// A server that serves. Dropping it cuts its connections; [`shutdown`](Self::shutdown) is the orderly way.
pub struct Server {
    addr: SocketAddr,
    ops_addr: SocketAddr,
    state: Arc<State>,
    tasks: TaskTracker,
    stop_ops: CancellationToken,
    health: Health,
    close: Option<Close>,
}

impl Server {
    /// The address of the gRPC services.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the operations services.
    pub const fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Waits until an answer was that the engine is closed, which it stays (C11).
    pub fn engine_closed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.state.engine_closed.clone().cancelled_owned()
    }

    /// Ends the server within [`NodeConfig::drain_timeout`], whatever its clients do, and closes what is to be
    /// closed.
    ///
    /// Health and `/readyz` say at once that it serves no more, and no connection is accepted. Dialogues and watches
    /// end, and after a tenth of the time writes that wait for their conditions.
    /// Other requests in flight are finished; those that are not by seven tenths of the time are answered with
    /// an error (scans included; a write is told `Unknown`), and at four fifths the connections are cut. Idle
    /// connections do not hold it up.
    ///
    /// # Errors
    /// What closing reports; [`Unavailable`](ErrorKind::Unavailable) where it did not end in time.
    pub async fn shutdown(mut self) -> Result<()> {
        let (total, flush) = (self.state.config.drain_timeout, self.state.config.flush_timeout);
        let start = Instant::now();
        self.state.draining.cancel();
        self.health.set(ServingStatus::NotServing).await;
        self.tasks.close();

        let drained = async {
            loop {
                tokio::select! {
                    () = self.tasks.wait() => return,
                    () = self.state.idle() => {}
                }
                // A request may yet come in over a connection that was there before.
                if timeout(flush, self.tasks.wait()).await.is_ok() || self.state.is_idle() {
                    return;
                }
            }
        };
        let drained = timeout_at(start + total * 7 / 10, drained).await;
        if drained.is_err() {
            tracing::warn!(requests = self.state.open_requests(), "ending requests that take too long");
        }
        self.state.ending.cancel();
        // Also where all was drained: what came in last is still told how it ended.
        let answered = async {
            self.state.idle().await;
            let _ = timeout(flush.min(total / 20), self.tasks.wait()).await;
        };
        let _ = timeout_at(start + total * 4 / 5, answered).await;
        self.state.cut.cancel();
        let _ = timeout_at(start + total * 17 / 20, self.tasks.wait()).await;

        let Some(close) = self.close.take() else { return Ok(()) };
        timeout_at(start + total, close()).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "engine did not close in time")
                .with("limit_ms", total.as_millis()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.draining.cancel();
        self.state.ending.cancel();
        self.state.cut.cancel();
        self.stop_ops.cancel();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("addr", &self.addr)
            .field("ops_addr", &self.ops_addr)
            .finish_non_exhaustive()
    }
}

/// What gRPC's health service says of the services, and under the empty name of the server as a whole.
#[derive(Clone, Debug)]
struct Health {
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

impl Health {
    async fn set(&self, status: ServingStatus) {
        for name in [""].iter().chain(&self.names) {
            self.reporter.set_service_status(*name, status).await;
        }
    }
}

/// Turns health off when the engine has closed by itself (C11). What it still can read, it still answers.
async fn report_closed_engine(state: Arc<State>, health: Health) {
    tokio::select! {
        () = state.engine_closed.cancelled() => {
            if !state.draining.is_cancelled() {
                tracing::error!("the engine is closed: it takes no more writes until the node is started again");
            }
            health.set(ServingStatus::NotServing).await;
        }
        () = state.draining.cancelled() => {}
    }
}
