use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use rdb_client::{Pd, Pem, Registration, StoreActivity, StoreIdentity, StoreInfo, TlsConfig};
use rdb_engine_api::{Durability, Engine, EngineInfo, Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Node;
use crate::identity::{IdentityFile, new_store};
use crate::node::{serve_on, serve_with};
use crate::run::Serving;
use crate::server::{Bound, Server};
use crate::settings::PdConfig;

/// How long after a failed heartbeat, or while the placement driver cannot be reached, to try again.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest time between heartbeats, whatever the placement driver asks for.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// How long a start waits for the placement driver to give up the store's former life, which may have ended without a
/// word on another port.
const FORMER_LIFE: Duration = Duration::from_secs(10);
/// How long the last heartbeat may take, which says that the node leaves.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves an engine as a store of a cluster: registers at the placement driver before any client is served, and
/// sends heartbeats until the end.
///
/// Which store of which cluster it is, is kept in `directory`, the engine's data directory; none for an engine
/// that keeps nothing. A store that was registered before is served even while the placement driver is gone, or has
/// trouble of its own.
///
/// # Errors
/// As of [`serve_on`](crate::serve_on), and what registering reports of a store that was never registered,
/// [`Unavailable`](ErrorKind::Unavailable) where the placement driver cannot be reached;
/// [`InvalidArgument`](ErrorKind::InvalidArgument) where directory and placement driver belong to different clusters;
/// [`Unsupported`](ErrorKind::Unsupported) where something else answers in its place. The engine stays open then.
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
    let link = match membership.join(FORMER_LIFE).await {
        Ok(link) => Some(link),
        // What is lost with it are heartbeats; clients that know where the node is, go on.
        Err(error) if membership.identity.cluster_id().is_some() && is_its_own_trouble(error.kind()) => {
            tracing::warn!(
                error = error.report(),
                "cannot register at the placement driver; serving all the same"
            );
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

impl Member {
    /// The address of the gRPC services.
    pub const fn addr(&self) -> SocketAddr {
        self.node.addr()
    }

    /// The address of the operations services.
    pub const fn ops_addr(&self) -> SocketAddr {
        self.node.ops_addr()
    }
}

impl Serving for Member {
    fn server(&self) -> &Server {
        &self.node.server
    }

    /// As [`Node::shutdown`]; the placement driver is told meanwhile, if it listens.
    async fn shutdown(self) -> Result<()> {
        let farewell = async {
            if let Some(mut heartbeats) = self.heartbeats {
                heartbeats.leaving.cancel();
                let _ = timeout(FAREWELL.min(heartbeats.drain_timeout), &mut heartbeats.task).await;
            }
        };
        tokio::join!(self.node.shutdown(), farewell).0
    }
}

/// What is the same from one attempt to the next.
fn root_cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether a failure to register says nothing against serving: a placement driver that is gone, whose disk is full,
/// or whose engine has stopped must not keep its cluster's stores from starting.
fn is_its_own_trouble(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::InvalidArgument | ErrorKind::Unsupported)
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
    async fn join(&mut self, patience: Duration) -> Result<Link> {
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
        let deadline = Instant::now() + patience;
        let registration = loop {
            match pd.register(self.identity, self.info.clone()).await {
                Err(error)
                    if error.kind() == ErrorKind::InvalidArgument
                        && self.identity.cluster_id().is_some()
                        && Instant::now() < deadline =>
                {
                    tracing::info!(error = error.report(), "not registered yet; trying again");
                    sleep(PAUSE).await;
                }
                done => break done?,
            }
        };
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
        let mut trouble: Option<String> = None;
        let mut pause = link.as_ref().map_or(PAUSE, |link| link.registration.heartbeat_interval);
        loop {
            tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                () = &mut engine_closed, if activity == StoreActivity::Serving => {
                    activity = StoreActivity::EngineClosed;
                }
                () = sleep(pause.max(LEAST_PAUSE)) => {}
            }
            let told = tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                told = self.tell(&mut link, activity) => told,
            };
            pause = match told {
                Ok(pause) => {
                    self.is_known.set(1);
                    if trouble.take().is_some() {
                        tracing::info!("placement driver hears from this node again");
                    }
                    pause
                }
                Err(error) => {
                    self.is_known.set(0);
                    // Once for each cause, not every second.
                    let cause = root_cause(&error);
                    if trouble.as_ref() != Some(&cause) {
                        let error = error.report();
                        tracing::warn!(error, "placement driver does not know how this node fares");
                        trouble = Some(cause);
                    }
                    PAUSE
                }
            };
        }
        if let Some(link) = link {
            let store_id = link.registration.store_id;
            let _ = link.pd.heartbeat(store_id, &self.info.address, StoreActivity::Leaving).await;
        }
    }

    async fn tell(&mut self, link: &mut Option<Link>, activity: StoreActivity) -> Result<Duration> {
        let Some(known) = link else {
            let joined = self.join(Duration::ZERO).await?;
            return Ok(link.insert(joined).registration.heartbeat_interval);
        };
        let told = known.pd.heartbeat(known.registration.store_id, &self.info.address, activity).await;
        if let Err(error) = &told
            && error.kind() == ErrorKind::InvalidArgument
        {
            if !self.info.is_volatile {
                // Another node with this one's data has registered. Refused as long as that one is there.
                *link = None;
            } else if connect(&self.pd).await?.cluster_id() != known.registration.cluster_id {
                // The driver has forgotten everything, and this store has nothing to keep. Where it is the same
                // driver, another store has taken this one's place: to register again would take it back, and so
                // on for ever.
                self.identity = new_store();
                *link = None;
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use rdb_proto::pd::v1::pd_server::{self, PdServer};
    use rdb_proto::pd::v1::{self, ClusterRequest, ClusterResponse, RegisterRequest, RegisterResponse};
    use rdb_proto::{FILE_DESCRIPTOR_SET, to_status};
    use tokio_stream::Empty;
    use tonic::service::Routes;
    use tonic::{Request, Response, Status, Streaming};

    use super::*;
    use crate::NodeConfig;
    use crate::server::Services;
    use crate::service::Method;

    const CLUSTER: u64 = 7;

    /// A placement driver that knows which cluster it is, and refuses every registration in the same way.
    struct Refusing(ErrorKind);

    fn no<T>() -> Result<T, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    #[tonic::async_trait]
    impl pd_server::Pd for Refusing {
        async fn cluster(&self, _: Request<ClusterRequest>) -> Result<Response<ClusterResponse>, Status> {
            Ok(Response::new(ClusterResponse { cluster_id: CLUSTER, server_version: "0".to_owned() }))
        }

        async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
            Err(to_status(&Error::new(self.0, "no")))
        }

        async fn heartbeat(
            &self,
            _: Request<v1::HeartbeatRequest>,
        ) -> Result<Response<v1::HeartbeatResponse>, Status> {
            no()
        }

        async fn stores(
            &self,
            _: Request<v1::StoresRequest>,
        ) -> Result<Response<v1::StoresResponse>, Status> {
            no()
        }

        async fn allocate_ids(
            &self,
            _: Request<v1::AllocateIdsRequest>,
        ) -> Result<Response<v1::AllocateIdsResponse>, Status> {
            no()
        }

        async fn locate(
            &self,
            _: Request<v1::LocateRequest>,
        ) -> Result<Response<v1::LocateResponse>, Status> {
            no()
        }

        type TimestampsStream = Empty<Result<v1::TimestampsResponse, Status>>;

        async fn timestamps(
            &self,
            _: Request<Streaming<v1::TimestampsRequest>>,
        ) -> Result<Response<Self::TimestampsStream>, Status> {
            no()
        }
    }

    async fn free() -> Bound {
        Bound::new(NodeConfig::on_free_ports()).await.unwrap()
    }

    /// What becomes of a store that is to be served while its registration fails so.
    async fn serve_while(identity: StoreIdentity, trouble: ErrorKind) -> Result<()> {
        let mut services = Services::new();
        services.routes = Routes::new(PdServer::new(Refusing(trouble)));
        services.methods = vec![
            Method::read("/flaredb.pd.v1.Pd/Cluster", "cluster"),
            Method::write("/flaredb.pd.v1.Pd/Register", "register"),
        ];
        services.names = vec![pd_server::SERVICE_NAME];
        services.descriptors = FILE_DESCRIPTOR_SET;
        let driver = free().await.serve(services).await.unwrap();
        let pd = PdConfig {
            endpoints: vec![driver.addr().to_string().parse().unwrap()],
            advertise: None,
            tls: None,
        };
        let directory = tempfile::tempdir().unwrap();
        IdentityFile::of(directory.path().to_owned()).write(identity).unwrap();
        let engine = Arc::new(rdb_engine_mem::open(&Default::default()).unwrap());
        let path = Some(directory.path().to_owned());
        let served = serve_in_cluster(free().await, engine, pd, path).await;
        let result = match served {
            Ok(member) => member.shutdown().await,
            Err(error) => Err(error),
        };
        driver.shutdown().await.unwrap();
        result
    }

    #[tokio::test]
    async fn a_store_that_is_known_is_served_whatever_troubles_its_placement_driver() {
        for trouble in ErrorKind::ALL {
            let known = StoreIdentity::Member { cluster_id: CLUSTER, store_id: 1 };
            let result = serve_while(known, trouble).await;
            match trouble {
                ErrorKind::InvalidArgument | ErrorKind::Unsupported => {
                    assert_eq!(result.unwrap_err().kind(), trouble, "what it says of the store counts");
                }
                _ => result.unwrap_or_else(|error| panic!("{trouble}: {}", error.report())),
            }
            let result = serve_while(StoreIdentity::New { token: 3 }, trouble).await;
            assert_eq!(result.unwrap_err().kind(), trouble, "nobody knows which store it is");
        }
    }
}
