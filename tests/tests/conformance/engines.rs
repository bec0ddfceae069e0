use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rdb_client::Client;
use rdb_engine_api::conformance::{Harness, Running, Skip};
use rdb_engine_api::{Engine, Limits, Result};
use rdb_engine_mem::MemConfig;
use rdb_engine_rocks::RocksConfig;
use rdb_engine_sled::SledConfig;
use rdb_server::{NodeConfig, serve};

/// What does not apply over the wire, and why; every other case runs.
pub(super) const NOT_OVER_THE_WIRE: [(&str, &str); 6] = [
    ("c12_a_dropped_engine_frees_its_directory", "the directory is the node's, which outlives its clients"),
    ("c12_a_second_opener_is_refused", "the directory is the node's: a second node does not start"),
    ("c13_a_damaged_mark_is_refused", "no node starts on such a directory"),
    ("c13_a_strangers_directory_is_refused", "no node starts on such a directory"),
    ("c13_an_unknown_format_is_refused", "no node starts on such a directory"),
    ("c13_another_engines_directory_is_refused", "no node starts on such a directory"),
];

/// The engines, as `--engine` has them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    Rocks,
    Sled,
    Mem,
}

impl Name {
    pub(super) const ALL: [Self; 3] = [Self::Rocks, Self::Sled, Self::Mem];

    pub(super) async fn open(self, directory: &Path, limits: Limits) -> Result<Arc<dyn Engine>> {
        let directory = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || self.open_blocking(&directory, limits)).await;
        opened.expect("opening an engine does not panic")
    }

    fn open_blocking(self, directory: &Path, limits: Limits) -> Result<Arc<dyn Engine>> {
        Ok(match self {
            Self::Mem => {
                let mut config = MemConfig::default();
                config.local.limits = limits;
                Arc::new(rdb_engine_mem::open(&config)?)
            }
            Self::Sled => {
                let mut config = SledConfig::new(directory);
                config.local.limits = limits;
                Arc::new(rdb_engine_sled::open(&config)?)
            }
            Self::Rocks => {
                let mut config = RocksConfig::new(directory);
                config.local.limits = limits;
                Arc::new(rdb_engine_rocks::open(&config)?)
            }
        })
    }
}

/// An engine called as a function, as in its own `tests/conformance.rs`.
#[derive(Debug)]
pub(super) struct Direct(pub(super) Name);

#[async_trait]
impl Harness for Direct {
    async fn open(&self, directory: &Path, limits: Limits) -> Result<Running> {
        Ok(Running::new(self.0.open(directory, limits).await?))
    }

    fn skips(&self) -> Vec<Skip> {
        Vec::new()
    }
}

/// An engine behind a node with the default configuration, reached through the SDK.
#[derive(Debug)]
pub(super) struct Served(pub(super) Name);

#[async_trait]
impl Harness for Served {
    async fn open(&self, directory: &Path, limits: Limits) -> Result<Running> {
        let engine = self.0.open(directory, limits).await?;
        let node = serve(engine, NodeConfig::on_free_ports()).await?;
        let client = Client::connect(node.addr().to_string()).await?;
        Ok(Running::with_stop(Arc::new(client), node.shutdown()))
    }

    fn skips(&self) -> Vec<Skip> {
        NOT_OVER_THE_WIRE.map(|(case, reason)| Skip::case(case, reason)).to_vec()
    }
}
