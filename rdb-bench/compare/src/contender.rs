use std::sync::Arc;
use std::time::Duration;

use rdb_bench::{EngineTarget, Settings, Workload};
use rdb_client::Engine;

use crate::failure::Result;
use crate::peers::{Bare, Etcd, Node, Persistence, Redis};
use crate::place::Place;
use crate::side::{Driven, Side};
use crate::sides::{Import, InProcess, RedisBenchmark, WholeScan};
#[cfg(feature = "rocks")]
use crate::sides::{Raw, Work};

/// How long a node is given after the load of many records to do what that has left to do.
const REST: Duration = Duration::from_secs(300);

/// What stands on one side of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The SDK against a node.
    Sdk(Sdk),
    /// Full scans by the SDK against a node.
    SdkScan,
    /// `rdb import` into a node.
    RdbImport,
    /// An engine in this process, read by as many tasks as there are processors.
    InProcess,
    /// A bare gRPC server answering from a map: a call for each key.
    BareUnary { callers: usize },
    /// The same: one stream for all callers.
    BareStream { callers: usize },
    /// etcd, one node.
    Etcd { workload: Workload, callers: usize },
    /// Redis through its Rust client: one connection for all callers.
    Redis { workload: Workload, callers: usize },
    /// redis-benchmark's GET, nothing kept on disk.
    RedisBenchmarkGet { clients: usize },
    /// redis-benchmark's SET, synced before each answer.
    RedisBenchmarkDurableSet { clients: usize },
    /// RocksDB without FlareDB: reads by as many threads as there are processors.
    RawGet,
    /// RocksDB without FlareDB: groups of so many reads and writes in one thread, each group synced.
    RawGroups { size: usize },
    /// RocksDB without FlareDB: one iterator.
    RawScan,
    /// RocksDB without FlareDB: batches of an import's size, each synced.
    RawImport,
}

/// How the SDK is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sdk {
    pub(crate) workload: Workload,
    pub(crate) callers: usize,
    /// Whether each request is a call of its own.
    pub(crate) unary: bool,
    pub(crate) exactly_once: bool,
    /// Whether a watch is open over all keys that nobody reads.
    pub(crate) stalled_watcher: bool,
    /// Whether there are so many records that the block cache cannot hold them.
    pub(crate) many_records: bool,
}

impl Sdk {
    /// As an application uses it.
    pub(crate) const fn new(workload: Workload, callers: usize) -> Self {
        Self {
            workload,
            callers,
            unary: false,
            exactly_once: true,
            stalled_watcher: false,
            many_records: false,
        }
    }

    async fn open(self, place: &Place) -> Result<Driven> {
        let node = Node::start(&place.server, &place.engine, &[], &place.disk).await?;
        let client = node.client().exactly_once(self.exactly_once);
        let client = if self.unary { client.pipelines(0) } else { client };
        let engine: Arc<dyn Engine> = Arc::new(client.connect().await?);
        let name = if self.unary { "SDK, unary" } else { "SDK" };
        let target = EngineTarget::new(Arc::clone(&engine), name, None)
            .with_info(|info| info.command_line(node.line()));
        let settings = self.settings(place);
        let node = Arc::new(node);
        let mut driven = Driven::open(Arc::new(target), settings, Arc::clone(&node)).await?;
        if self.many_records {
            // The compaction that follows the load takes a processor.
            driven = driven.noting(&node.rest(REST).await?);
        }
        Ok(if self.stalled_watcher { driven.with_stalled_watcher(engine) } else { driven })
    }

    fn settings(self, place: &Place) -> Settings {
        let mut settings = place.settings(self.workload, self.callers);
        if self.many_records {
            settings.records = place.many_records;
        }
        settings
    }
}

impl Contender {
    /// What it is, in a table.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Sdk(sdk) => {
                let unary = if sdk.unary { ", unary" } else { "" };
                let once = if sdk.exactly_once { "" } else { ", exactly-once off" };
                let watcher = if sdk.stalled_watcher { ", one stalled watcher" } else { "" };
                let records = if sdk.many_records { ", many records" } else { "" };
                format!("SDK {}, {}{unary}{once}{watcher}{records}", sdk.workload, callers(sdk.callers))
            }
            Self::SdkScan => "SDK full scan".into(),
            Self::RdbImport => "rdb import".into(),
            Self::InProcess => "Local get in process".into(),
            Self::BareUnary { callers: count } => format!("bare tonic unary, {}", callers(count)),
            Self::BareStream { callers: count } => format!("bare stream, {}", callers(count)),
            Self::Etcd { workload, callers: count } => format!("etcd {workload}, {}", callers(count)),
            Self::Redis { workload, callers: count } => {
                format!("Redis {workload}, multiplexed, {}", callers(count))
            }
            Self::RedisBenchmarkGet { clients } => format!("redis-benchmark GET, {clients} clients"),
            Self::RedisBenchmarkDurableSet { clients } => {
                format!("redis-benchmark SET, appendfsync always, {clients} clients")
            }
            Self::RawGet => "raw RocksDB get".into(),
            Self::RawGroups { size: 1 } => "raw RocksDB get + put + sync".into(),
            Self::RawGroups { size } => format!("raw RocksDB get + put, synced groups of {size}"),
            Self::RawScan => "raw RocksDB iterator".into(),
            Self::RawImport => "raw RocksDB batches".into(),
        }
    }

    /// Starts what it needs, and loads its records.
    pub(crate) async fn open(self, place: &Place) -> Result<Box<dyn Side>> {
        match self {
            Self::Sdk(sdk) => Ok(Box::new(sdk.open(place).await?)),
            Self::SdkScan => scan(place).await,
            Self::RdbImport => Ok(Box::new(Import::open(place).await?)),
            Self::InProcess => Ok(Box::new(InProcess::open(place).await?)),
            Self::BareUnary { callers } => {
                let settings = place.settings(Workload::Get, callers);
                let target = Bare::start(&settings).await?.unary().await?;
                Ok(Box::new(Driven::open(target, settings, ()).await?))
            }
            Self::BareStream { callers } => {
                let settings = place.settings(Workload::Get, callers);
                let target = Bare::start(&settings).await?.stream().await?;
                Ok(Box::new(Driven::open(target, settings, ()).await?))
            }
            Self::Etcd { workload, callers } => {
                let target = Etcd::start(&place.disk).await?.target().await?;
                Ok(Box::new(Driven::open(target, place.settings(workload, callers), ()).await?))
            }
            Self::Redis { workload, callers } => {
                let target = Redis::start(Persistence::Off, &place.disk).await?.target().await?;
                Ok(Box::new(Driven::open(target, place.settings(workload, callers), ()).await?))
            }
            Self::RedisBenchmarkGet { clients } => {
                Ok(Box::new(RedisBenchmark::open("get", clients, Persistence::Off, place).await?))
            }
            Self::RedisBenchmarkDurableSet { clients } => {
                Ok(Box::new(RedisBenchmark::open("set", clients, Persistence::Always, place).await?))
            }
            #[cfg(feature = "rocks")]
            Self::RawGet => Ok(Box::new(Raw::open(Work::Gets, place).await?)),
            #[cfg(feature = "rocks")]
            Self::RawGroups { size } => Ok(Box::new(Raw::open(Work::Groups(size), place).await?)),
            #[cfg(feature = "rocks")]
            Self::RawScan => Ok(Box::new(Raw::open(Work::Scan, place).await?)),
            #[cfg(feature = "rocks")]
            Self::RawImport => Ok(Box::new(Raw::open(Work::Import, place).await?)),
            #[cfg(not(feature = "rocks"))]
            Self::RawGet | Self::RawGroups { .. } | Self::RawScan | Self::RawImport => {
                Err("this program was built without RocksDB".into())
            }
        }
    }
}

async fn scan(place: &Place) -> Result<Box<dyn Side>> {
    let node = Node::start(&place.server, &place.engine, &[], &place.disk).await?;
    let engine: Arc<dyn Engine> = Arc::new(node.client().connect().await?);
    let target = EngineTarget::new(Arc::clone(&engine), "SDK", None);
    rdb_bench::Run::new(Arc::new(target), place.settings(Workload::Get, 1)).load().await?;
    let how = node.line().to_owned();
    Ok(Box::new(WholeScan::new(engine, place.records, place.time, how, node)))
}

fn callers(count: usize) -> String {
    if count == 1 { "1 caller".to_owned() } else { format!("{count} callers") }
}
