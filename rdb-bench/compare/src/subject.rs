use std::sync::Arc;

use clap::ValueEnum;
use rdb_bench::{EngineTarget, Kind, Settings, Target, Workload};
use rdb_client::Engine;

use crate::failure::Result;
use crate::folder::Folder;
use crate::peers::{Bare, Etcd, Node, Persistence, Redis};
use crate::place::Place;
#[cfg(feature = "rocks")]
use crate::sides::RawTarget;

/// What `run` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// The SDK against a node, requests sharing streams
    Sdk,
    /// The SDK against a node, each request in a call of its own
    SdkUnary,
    /// FlareDB in this process, over memory
    Mem,
    /// FlareDB in this process, over sled
    Sled,
    /// FlareDB in this process, over RocksDB
    Rocks,
    /// RocksDB in this process, without FlareDB; it has no compare-and-swap
    Raw,
    /// etcd, one node
    Etcd,
    /// Redis, nothing kept on disk, callers sharing a connection; no compare-and-swap, no scan
    Redis,
    /// The same, synced before each answer
    RedisSynced,
    /// A bare gRPC server answering from a map over one stream; reads alone
    BareStream,
    /// The same, each request in a call of its own
    BareUnary,
}

/// A target, and what has to live as long.
pub(crate) struct Opened {
    pub(crate) target: Arc<dyn Target>,
    /// Behind the target: it goes when that is gone.
    _peer: Box<dyn Send + Sync>,
}

impl Subject {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Refuses a workload of which it can do a part at most.
    pub(crate) fn check(self, workload: Workload) -> Result<()> {
        let can = |kind: Kind| match self {
            Self::BareStream | Self::BareUnary => kind == Kind::Get,
            Self::Raw => !matches!(kind, Kind::Swap | Kind::Increment),
            Self::Redis | Self::RedisSynced => !matches!(kind, Kind::Swap | Kind::Increment | Kind::Scan),
            _ => true,
        };
        match workload.mix().iter().find(|(kind, _)| !can(*kind)) {
            Some((kind, _)) => Err(format!("it has no {kind}").into()),
            None => Ok(()),
        }
    }

    /// Starts or opens one that holds nothing yet.
    pub(crate) async fn open(self, place: &Place, settings: &Settings) -> Result<Opened> {
        match self {
            Self::Sdk => self.served(place, true).await,
            Self::SdkUnary => self.served(place, false).await,
            Self::Mem | Self::Sled | Self::Rocks => self.in_process(place),
            #[cfg(feature = "rocks")]
            Self::Raw => Ok(Opened::alone(Arc::new(RawTarget::open(place)?))),
            #[cfg(not(feature = "rocks"))]
            Self::Raw => Err("this program was built without RocksDB".into()),
            Self::Etcd => Ok(Opened::alone(Etcd::start(&place.disk).await?.target().await?)),
            Self::Redis => self.redis(Persistence::Off, place).await,
            Self::RedisSynced => self.redis(Persistence::Always, place).await,
            Self::BareStream => Ok(Opened::alone(Bare::start(settings).await?.stream().await?)),
            Self::BareUnary => Ok(Opened::alone(Bare::start(settings).await?.unary().await?)),
        }
    }

    async fn served(self, place: &Place, pipelined: bool) -> Result<Opened> {
        let node = Node::start(&place.server, &place.engine, &[], &place.disk).await?;
        let client = if pipelined { node.client() } else { node.client().pipelines(0) };
        let engine: Arc<dyn Engine> = Arc::new(client.connect().await?);
        let target =
            EngineTarget::new(engine, self.name(), None).with_info(|info| info.command_line(node.line()));
        Ok(Opened { target: Arc::new(target), _peer: Box::new(node) })
    }

    fn in_process(self, place: &Place) -> Result<Opened> {
        let data = Folder::new(&place.disk, "engine")?;
        let engine = crate::engine::open(&self.name(), &data.path().join("data"))?;
        let target = EngineTarget::new(engine, self.name(), None);
        Ok(Opened { target: Arc::new(target), _peer: Box::new(data) })
    }

    async fn redis(self, persistence: Persistence, place: &Place) -> Result<Opened> {
        Ok(Opened::alone(Redis::start(persistence, &place.disk).await?.target().await?))
    }
}

impl Opened {
    /// A target that owns all it needs.
    fn alone(target: Arc<dyn Target>) -> Self {
        Self { target, _peer: Box::new(()) }
    }
}
