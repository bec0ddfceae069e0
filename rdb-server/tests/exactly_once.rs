//! Exactly-once writes (C17) over everything: clients, a network that drops, delays and repeats, and a node that
//! is killed. `examples/exactly_once.rs` is the same at length.
#![cfg(any(feature = "mem", feature = "rocks", feature = "sled"))]

#[allow(dead_code)] // not every run needs all of it
#[path = "../../examples/runs/increments.rs"]
mod increments;
#[allow(dead_code)] // not every run needs all of it
#[path = "../../examples/runs/node.rs"]
mod node;
#[allow(dead_code)] // not every run needs all of it
#[path = "../../examples/runs/proxy.rs"]
mod proxy;

use std::path::PathBuf;
use std::time::Duration;

use increments::{Found, Plan};
use node::NodePlan;
use proxy::Trouble;

const ENGINES: &[&str] = &[
    #[cfg(feature = "mem")]
    "mem",
    #[cfg(feature = "rocks")]
    "rocks",
    #[cfg(feature = "sled")]
    "sled",
];

fn plan(exactly_once: bool) -> Plan {
    Plan {
        increments: 4_000,
        callers: 16,
        clients: 2,
        counters: 8,
        kill_every: Duration::from_millis(150),
        trouble: Trouble {
            dropped: 50,
            delayed: 20,
            repeated: 200,
            delay: Duration::from_millis(50),
            late: Duration::from_secs(1),
            seed: 1,
        },
        timeout: Duration::from_secs(20),
        exactly_once,
    }
}

async fn run(engine: &str, plan: &Plan) -> Found {
    let directory = tempfile::tempdir().expect("a directory for the node");
    let node = NodePlan {
        server: PathBuf::from(env!("CARGO_BIN_EXE_rdb-server")),
        engine: engine.to_owned(),
        directory: directory.path().to_owned(),
        flags: Vec::new(),
    };
    increments::run(plan, node, drop).await.expect("the run comes to its end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_increment_takes_effect_once_whatever_the_network_and_kills_do() {
    for engine in ENGINES {
        let plan = plan(true);
        let found = run(engine, &plan).await;
        assert!(found.is_exact(&plan), "{engine}: {found:?}");
        let troubled = found.answers_dropped > 0 && found.repeated[0] + found.repeated[1] > 0;
        assert!(troubled && found.kills as u64 + found.cuts > 0, "{engine}: {found:?}");
    }
}

/// The control: what the run is there to find.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sessions_the_same_run_applies_writes_twice() {
    let plan = plan(false);
    let found = run(ENGINES[0], &plan).await;
    assert!(found.sum > plan.increments && found.false_conflicts > 0, "{found:?}");
}
