use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use rdb_client::{Pd, Pem, Registration, StoreActivity, StoreIdentity, StoreInfo, TlsConfig};
use rdb_engine_api::{Durability, Engine, EngineInfo, Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::Node;
use crate::identity::{IdentityFile, new_store};
use crate::node::{serve_on, serve_with};
use crate::run::Serving;
use crate::server::Bound;
use crate::settings::PdConfig;

/// How long after a failed heartbeat, or while the placement driver cannot be reached, to try again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last heartbeat may take, which says that the node leaves.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves an engine as a store of a cluster: registers at the placement driver before any client is served, and
/// sends heartbeats until the end.
///
/// Which store of which cluster it is, is kept in `directory`, the engine's data directory; none for an engine
/// that keeps nothing. A store that was registered before is served even while the placement driver is gone.
///
/// # Errors
/// As of [`serve_on`](crate::serve_on), and [`Unavailable`](ErrorKind::Unavailable) where a store that was never
/// registered cannot reach the placement driver; [`InvalidArgument`](ErrorKind::InvalidArgument) where directory and
/// placement driver belong to different clusters. The engine stays open then.
pub async fn serve_in_cluster(
    bound: Bound,
    engine: Arc<dyn Engine>,
    pd: PdConfig,
    directory: Option<PathBuf>,
) -> Result<Member> {
    let file = directory.map(IdentityFile::of);
    let identity = match &file {
        Some(file) => file.read_or_begin()?,
        None => new_store(),
    };
    let mut membership = Membership {
        info: store_info(engine.info(), bound.addr(), &pd),
        pd,
        file,
        identity,
        is_known: Gauge::default(),
    };
    let link = match membership.join().await {
        Ok(link) => Some(link),
        // What is lost with it are heartbeats; clients that know where the node is, go on.
        Err(error)
            if error.kind() == ErrorKind::Unavailable && membership.identity.cluster_id().is_some() =>
        {
            tracing::warn!(error = error.report(), "cannot reach the placement driver; serving all the same");
            None
        }
        Err(error) => return Err(error),
    };
    let is_known = membership.is_known.clone();
    let drain_timeout = bound.config().drain_timeout;
    let node = serve_with(bound, engine, |registry| {
        let help = "Whether the placement driver answered the last heartbeat (1) or not (0)";
        registry.register("pd_connected", help, is_known);
    });
    let node = node.await?;
    let leaving = CancellationToken::new();
    let engine_closed = Box::pin(node.engine_closed());
    let heartbeats = tokio::spawn(membership.go_on(link, engine_closed, leaving.clone()));
    Ok(Member { node, heartbeats: Some(Heartbeats { leaving, task: heartbeats, drain_timeout }) })
}

/// Serves an engine that no placement driver is told of. Data that belongs to a cluster is served all the same:
/// clients that know the address lose nothing by it.
///
/// # Errors
/// As of [`serve_on`](crate::serve_on), and [`Corrupt`](ErrorKind::Corrupt) where `directory` says of its data
/// what makes no sense. The engine stays open then.
pub async fn serve_alone(
    bound: Bound,
    engine: Arc<dyn Engine>,
    directory: Option<PathBuf>,
) -> Result<Member> {
    if let Some(file) = directory.map(IdentityFile::of)
        && let Some(StoreIdentity::Member { cluster_id, store_id }) = file.read()?
    {
        tracing::warn!(cluster_id, store_id, "the data belongs to a cluster; no placement driver is given");
    }
    Ok(Member { node: serve_on(bound, engine).await?, heartbeats: None })
}

/// A node that may be a store of a cluster.
#[derive(Debug)]
pub struct Member {
    node: Node,
    heartbeats: Option<Heartbeats>,
}

#[derive(Debug)]
struct Heartbeats {
    leaving: CancellationToken,
    task: JoinHandle<()>,
    drain_timeout: Duration,
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Serving for Member {
    fn addr(&self) -> SocketAddr {
        self.node.addr()
    }

    fn ops_addr(&self) -> SocketAddr {
        self.node.ops_addr()
    }

    /// As [`Node::shutdown`]; the placement driver is told meanwhile, if it can be within the same time.
    async fn shutdown(self) -> Result<()> {
        let Some(mut heartbeats) = self.heartbeats else { return self.node.shutdown().await };
        let deadline = Instant::now() + heartbeats.drain_timeout;
        heartbeats.leaving.cancel();
        let ended = self.node.shutdown().await;
        // A node without clients ends sooner than anyone far away can be told.
        let _ = timeout_at(deadline, &mut heartbeats.task).await;
        ended
    }
}

async fn connect(config: &PdConfig) -> Result<Pd> {
    let mut builder = Pd::builder().endpoints(config.endpoints.iter().map(ToString::to_string));
    if let Some(tls) = &config.tls {
        let mut ours = TlsConfig::default().authorities(Pem::file(&tls.authorities));
        if let Some((certificate, key)) = &tls.identity {
            ours = ours.identity(Pem::file(certificate), Pem::file(key));
        }
        builder = builder.tls(ours);
    }
    builder.connect().await
}

fn store_info(engine: &EngineInfo, addr: SocketAddr, pd: &PdConfig) -> StoreInfo {
    let address = pd.advertise.as_ref().map_or_else(|| addr.to_string(), ToString::to_string);
    let is_volatile = engine.best_durability == Durability::Volatile;
    StoreInfo::new(address, &engine.name, env!("CARGO_PKG_VERSION")).volatile(is_volatile)
}

/// The store's side of its membership.
struct Membership {
    pd: PdConfig,
    info: StoreInfo,
    file: Option<IdentityFile>,
    identity: StoreIdentity,
    is_known: Gauge,
}

/// What a store that has registered needs for heartbeats.
struct Link {
    pd: Pd,
    registration: Registration,
}

impl Membership {
    /// Registers, and keeps what came of it with the data.
    async fn join(&mut self) -> Result<Link> {
        let pd = connect(&self.pd).await?;
        if let Some(cluster) = self.identity.cluster_id()
            && cluster != pd.cluster_id()
        {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "data directory and placement driver belong to different clusters",
            )
            .with("directory", cluster)
            .with("placement_driver", pd.cluster_id()));
        }
        let registration = pd.register(self.identity, self.info.clone()).await?;
        let identity =
            StoreIdentity::Member { cluster_id: registration.cluster_id, store_id: registration.store_id };
        if let Some(file) = &self.file
            && identity != self.identity
        {
            file.write(identity)?;
        }
        self.identity = identity;
        self.is_known.set(1);
        let (cluster, store) = (registration.cluster_id, registration.store_id);
        tracing::info!(cluster, store, address = self.info.address, "registered at the placement driver");
        Ok(Link { pd, registration })
    }

    /// Sends heartbeats until the node leaves; registers anew where that is needed.
    async fn go_on(
        mut self,
        mut link: Option<Link>,
        mut engine_closed: impl Future<Output = ()> + Unpin,
        leaving: CancellationToken,
    ) {
        let mut activity = StoreActivity::Serving;
        let mut pause = link.as_ref().map_or(PAUSE, |link| link.registration.heartbeat_interval);
        loop {
            tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                () = &mut engine_closed, if activity == StoreActivity::Serving => {
                    activity = StoreActivity::EngineClosed;
                }
                () = sleep(pause) => {}
            }
            let told = tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                told = self.tell(&mut link, activity) => told,
            };
            pause = match told {
                Ok(pause) => {
                    self.is_known.set(1);
                    pause
                }
                Err(error) => {
                    // Once, not every second.
                    if self.is_known.set(0) == 1 {
                        tracing::warn!(
                            error = error.report(),
                            "placement driver does not know how this node fares"
                        );
                    }
                    PAUSE
                }
            };
        }
        if let Some(link) = link {
            let farewell = link.pd.heartbeat(link.registration.store_id, StoreActivity::Leaving);
            let _ = timeout(FAREWELL, farewell).await;
        }
    }

    async fn tell(&mut self, link: &mut Option<Link>, activity: StoreActivity) -> Result<Duration> {
        let Some(known) = link else {
            let joined = self.join().await?;
            return Ok(link.insert(joined).registration.heartbeat_interval);
        };
        let told = known.pd.heartbeat(known.registration.store_id, activity).await;
        if let Err(error) = &told
            && error.kind() == ErrorKind::InvalidArgument
            && self.info.is_volatile
            && connect(&self.pd).await?.cluster_id() != known.registration.cluster_id
        {
            // The driver has forgotten everything, and this store has nothing to keep. Where it is the same driver,
            // another store has taken this one's place: to register again would take it back, and so on for ever.
            self.identity = new_store();
            *link = None;
        }
        told
    }
}
