use std::net::SocketAddr;
use std::sync::Arc;

use rdb_engine_api::{Engine, Error, ErrorKind, Result};
use rdb_proto::FILE_DESCRIPTOR_SET;
use rdb_proto::kv::v1::kv_server::KvServer;
use rdb_proto::kv::v1::node_server::NodeServer;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::accept::{accept, listen};
use crate::kv::KvService;
use crate::node_service::NodeService;
use crate::state::State;
use crate::{NodeConfig, grpc, ops};

/// The names under which health can be asked for; the empty one is the node as a whole.
const HEALTH_NAMES: [&str; 3] = ["", "flaredb.kv.v1.Kv", "flaredb.kv.v1.Node"];

/// Serves an engine. When this returns, clients can connect.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a configuration that cannot be;
/// [`Unavailable`](ErrorKind::Unavailable) where an address cannot be listened on, naming it. The engine
/// stays open then.
pub async fn serve(engine: Arc<dyn Engine>, config: NodeConfig) -> Result<Node> {
    config.check(&engine.info().limits)?;
    let (listener, addr) = listen(config.listen).await?;
    let (ops_listener, ops_addr) = listen(config.ops_listen).await?;

    let state = Arc::new(State::new(config, &engine));
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot build reflection").because(error))?;

    let kv = KvService::new(Arc::clone(&engine), Arc::clone(&state));
    let node = NodeService::new(Arc::clone(&engine), Arc::clone(&state));
    let routes = Routes::new(KvServer::new(kv).max_decoding_message_size(state.max_message_bytes))
        .add_service(NodeServer::new(node))
        .add_service(health_service)
        .add_service(reflection)
        .prepare();

    let tasks = TaskTracker::new();
    let on_connection = {
        let (state, tasks) = (Arc::clone(&state), tasks.clone());
        move |connection| {
            let metrics = &state.metrics;
            let Some(connection) = connection else {
                metrics.connections_refused.inc();
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
    tasks.spawn(accept(listener, state.config.max_connections, state.draining.clone(), on_connection));

    let stop_ops = CancellationToken::new();
    let on_ops_connection = {
        let (state, stop) = (Arc::clone(&state), stop_ops.clone());
        move |connection| {
            if let Some(connection) = connection {
                tokio::spawn(ops::serve_connection(connection, Arc::clone(&state), stop.clone()));
            }
        }
    };
    tokio::spawn(accept(ops_listener, state.config.max_ops_connections, stop_ops.clone(), on_ops_connection));

    tokio::spawn(report_closed_engine(Arc::clone(&state), health.clone()));
    Ok(Node { addr, ops_addr, engine, state, tasks, stop_ops, health })
}

/// A node that serves. Dropping it cuts its connections and leaves its engine open;
/// [`shutdown`](Self::shutdown) is the orderly way.
#[derive(Debug)]
pub struct Node {
    addr: SocketAddr,
    ops_addr: SocketAddr,
    engine: Arc<dyn Engine>,
    state: Arc<State>,
    tasks: TaskTracker,
    stop_ops: CancellationToken,
    health: HealthReporter,
}

impl Node {
    /// The address of the gRPC services.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the operations services.
    pub const fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Ends the node within [`NodeConfig::drain_timeout`], whatever its clients do, and closes the engine.
    ///
    /// Health and `/readyz` say at once that the node serves no more, and no connection is accepted. Requests
    /// in flight are finished; those that are not by four fifths of the time are answered with an error
    /// (scans included; a write is told `Unknown`), and at nine tenths the connections are cut. Idle
    /// connections do not hold it up.
    ///
    /// # Errors
    /// What closing the engine reports; [`Unavailable`](ErrorKind::Unavailable) where it did not close in
    /// time.
    pub async fn shutdown(self) -> Result<()> {
        let (total, flush) = (self.state.config.drain_timeout, self.state.config.flush_timeout);
        let start = Instant::now();
        self.state.draining.cancel();
        set_health(&self.health, ServingStatus::NotServing).await;
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
        let drained = timeout_at(start + total * 4 / 5, drained).await;
        if drained.is_err() {
            tracing::warn!(
                requests = self.state.metrics.in_flight.get(),
                "ending requests that take too long"
            );
        }
        self.state.ending.cancel();
        // Also where all was drained: what came in last is still told how it ended.
        let answered = async {
            self.state.idle().await;
            let _ = timeout(flush.min(total / 20), self.tasks.wait()).await;
        };
        let _ = timeout_at(start + total * 9 / 10, answered).await;
        self.state.cut.cancel();
        let _ = timeout_at(start + total * 19 / 20, self.tasks.wait()).await;

        let closed = timeout_at(start + total, self.engine.close()).await;
        closed.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "engine did not close in time")
                .with("limit_ms", total.as_millis()))
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.state.draining.cancel();
        self.state.ending.cancel();
        self.state.cut.cancel();
        self.stop_ops.cancel();
    }
}

/// Turns health off when the engine has closed by itself (C11). What it still can read, it still answers.
async fn report_closed_engine(state: Arc<State>, health: HealthReporter) {
    tokio::select! {
        () = state.engine_closed.cancelled() => {
            if !state.draining.is_cancelled() {
                tracing::error!("the engine is closed: it takes no more writes until the node is started again");
            }
            set_health(&health, ServingStatus::NotServing).await;
        }
        () = state.draining.cancelled() => {}
    }
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}
