use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdb_engine_api::{Engine, Result};
use rdb_proto::FILE_DESCRIPTOR_SET;
use rdb_proto::pd::v1::pd_server::{self, PdServer};
use rdb_server::service::{Bound, Server, Services};
use rdb_server::{EngineMetrics, Serving};
use tokio::time::{MissedTickBehavior, interval};
use tonic::service::Routes;

use crate::cluster;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::service::{METHODS, PdService};
use crate::table::Table;
use crate::{Oracle, PdConfig};

/// Serves a placement driver that keeps its state in an engine, and makes a cluster where the engine is empty.
/// When this returns, clients can connect.
///
/// # Errors
/// As of [`serve_on`], and [`Unavailable`](rdb_engine_api::ErrorKind::Unavailable) where an address cannot be
/// listened on, naming it. The engine stays open then.
pub async fn serve(engine: Arc<dyn Engine>, config: PdConfig) -> Result<PlacementDriver> {
    config.check()?;
    serve_on(Bound::new(config.server.clone()).await?, engine, config).await
}

/// Serves a placement driver on addresses that are bound already; [`PdConfig::server`] is not asked then.
///
/// # Errors
/// - [`InvalidArgument`](rdb_engine_api::ErrorKind::InvalidArgument) for a configuration that cannot be, for an
///   engine that holds something else than a placement driver's state, and for state of an unknown format;
/// - [`Corrupt`](rdb_engine_api::ErrorKind::Corrupt) for state that makes no sense;
/// - what the engine reports. It stays open.
pub async fn serve_on(bound: Bound, engine: Arc<dyn Engine>, config: PdConfig) -> Result<PlacementDriver> {
    config.check()?;
    let PdConfig { oracle, heartbeat_interval, clock, .. } = config;
    let table = Table::new(Arc::clone(&engine));
    let cluster_id = cluster::open(&table).await?;
    let registry = Arc::new(Registry::new(cluster_id, table, Arc::clone(&clock), heartbeat_interval));
    // Read once before anyone is served: state that makes no sense is told at the start.
    registry.stores().await?;
    let metrics = Metrics::default();
    let oracle =
        Arc::new(Oracle::open_with(Arc::clone(&engine), clock, oracle, metrics.oracle.clone()).await?);
    tracing::info!(cluster_id, engine = engine.info().name, "placement driver of the cluster");

    let mut services = Services::new();
    EngineMetrics::register(Arc::clone(&engine), &mut services.registry);
    metrics.register(&mut services.registry);
    tokio::spawn(count_stores(Arc::downgrade(&registry), metrics.clone(), heartbeat_interval));
    let pd = PdService::new(Arc::clone(&oracle), registry, metrics);
    services.routes = Routes::new(PdServer::new(pd).max_decoding_message_size(usize::MAX));
    services.methods = METHODS.into();
    services.names = vec![pd_server::SERVICE_NAME];
    services.descriptors = FILE_DESCRIPTOR_SET;
    services.close = Box::new(|| {
        Box::pin(async move {
            oracle.stop();
            engine.close().await
        })
    });
    Ok(PlacementDriver { cluster_id, server: bound.serve(services).await? })
}

/// A placement driver that serves. Dropping it cuts its connections and leaves its engine open;
/// [`shutdown`](Self::shutdown) is the orderly way.
#[derive(Debug)]
pub struct PlacementDriver {
    cluster_id: u64,
    server: Server,
}

impl PlacementDriver {
    /// The id of the cluster; never 0.
    pub const fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The address of the gRPC services.
    pub const fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The address of the operations services.
    pub const fn ops_addr(&self) -> SocketAddr {
        self.server.ops_addr()
    }

    /// Ends the placement driver within its drain timeout, whatever its clients do, and closes the engine
    /// ([`Server::shutdown`]).
    ///
    /// # Errors
    /// What closing the engine reports; [`Unavailable`](rdb_engine_api::ErrorKind::Unavailable) where it did not
    /// close in time.
    pub async fn shutdown(self) -> Result<()> {
        self.server.shutdown().await
    }
}

impl Serving for PlacementDriver {
    fn server(&self) -> &Server {
        &self.server
    }

    fn shutdown(self) -> impl Future<Output = Result<()>> {
        self.shutdown()
    }
}

/// Keeps the metric of the stores up to date, as long as there is a registry: a store that falls silent does so
/// without a word.
async fn count_stores(registry: Weak<Registry>, metrics: Metrics, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(registry) = registry.upgrade() else { return };
        // Where they cannot be read, the next scrape sees what was.
        if let Ok(stores) = registry.stores().await {
            metrics.set_stores(stores.iter().map(|store| store.state()));
        }
    }
}
