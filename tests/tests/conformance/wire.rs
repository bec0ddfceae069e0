use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rdb_client::Client;
use rdb_engine_api::conformance::{self, Harness, Running, Skip, run};
use rdb_engine_api::{Engine, Limits, Result};
use rdb_engine_mem::MemConfig;
use rdb_engine_rocks::RocksConfig;
use rdb_engine_sled::SledConfig;
use rdb_server::{NodeConfig, serve};
use rstest::rstest;

/// What does not apply over the wire, and why; every other case runs.
const NOT_OVER_THE_WIRE: [(&str, &str); 6] = [
    ("c12_a_dropped_engine_frees_its_directory", "the directory is the node's, which outlives its clients"),
    ("c12_a_second_opener_is_refused", "the directory is the node's: a second node does not start"),
    ("c13_a_damaged_mark_is_refused", "no node starts on such a directory"),
    ("c13_a_strangers_directory_is_refused", "no node starts on such a directory"),
    ("c13_an_unknown_format_is_refused", "no node starts on such a directory"),
    ("c13_another_engines_directory_is_refused", "no node starts on such a directory"),
];

/// An engine behind a node with the default configuration, reached through the SDK.
#[derive(Clone, Copy, Debug)]
enum Served {
    Mem,
    Sled,
    Rocks,
}

impl Served {
    fn open(self, directory: &Path, limits: Limits) -> Result<Arc<dyn Engine>> {
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

#[async_trait]
impl Harness for Served {
    async fn open(&self, directory: &Path, limits: Limits) -> Result<Running> {
        let (this, directory) = (*self, directory.to_owned());
        let opened = tokio::task::spawn_blocking(move || this.open(&directory, limits)).await;
        let engine = opened.expect("opening an engine does not panic")?;
        let node = serve(engine, NodeConfig::on_free_ports()).await?;
        let client = Client::connect(node.addr().to_string()).await?;
        Ok(Running::with_stop(Arc::new(client), node.shutdown()))
    }

    fn skips(&self) -> Vec<Skip> {
        NOT_OVER_THE_WIRE.map(|(case, reason)| Skip::case(case, reason)).to_vec()
    }
}

macro_rules! on_every_engine {
    ([] $($group:ident { $($case:ident $(($need:ident))?),* $(,)? })*) => {
        $(mod $group {
            use super::*;

            $(#[rstest]
            #[case::mem(Served::Mem)]
            #[case::sled(Served::Sled)]
            #[case::rocks(Served::Rocks)]
            fn $case(#[case] engine: Served) {
                run(stringify!($case), engine);
            })*
        })*
    };
}

rdb_engine_api::conformance_cases! { [on_every_engine] [] }

/// What is left out over the wire is this list, and nothing that every engine has to do is on it.
#[test]
fn what_does_not_apply_over_the_wire_is_a_known_list() {
    for (name, reason) in NOT_OVER_THE_WIRE {
        let case = conformance::cases().iter().find(|case| case.name == name);
        let case = case.unwrap_or_else(|| panic!("no case is called `{name}`"));
        assert_eq!(case.need, Some(conformance::Need::Directory), "{case:?} is not about a directory");
        println!("not over the wire: {case:?}: {reason}");
    }
    let left_out = conformance::cases()
        .iter()
        .filter(|case| NOT_OVER_THE_WIRE.iter().any(|(name, _)| *name == case.name));
    assert_eq!(left_out.count(), NOT_OVER_THE_WIRE.len(), "each is named once");
}
