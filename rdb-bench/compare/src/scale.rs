//! Many records: how fast, in how much memory, and how soon after a start.

use std::sync::Arc;
use std::time::Duration;

use rdb_bench::{EngineTarget, Run, Settings, Workload};
use rdb_client::Engine;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::failure::Result;
use crate::figures::Figures;
use crate::folder::Folder;
use crate::peers::Node;
use crate::place::Place;
use crate::sides::whole;

/// How many callers there are.
const CALLERS: usize = 64;
/// What `rdb-server` lets RocksDB keep in memory unless it is told otherwise: the block cache, and four write
/// buffers of 64 MiB and four of 8 MiB.
const CONFIGURED_BYTES: u64 = (256 + 4 * 64 + 4 * 8) << 20;
/// How far above that the process may be.
const ALLOWANCE: f64 = 1.25;

/// The sizes: records, and the bytes of a value.
pub(crate) const SIZES: [(u64, usize); 2] = [(10_000_000, 100), (1_000_000, 1_024)];

/// What one size gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scale {
    pub(crate) records: u64,
    pub(crate) value_bytes: usize,
    pub(crate) engine: String,
    pub(crate) in_process: Stage,
    pub(crate) served: Stage,
    /// The most memory that the node ever had, and what its caches and buffers may have.
    pub(crate) peak_resident_bytes: u64,
    pub(crate) configured_bytes: u64,
    /// Whether it is at most a quarter above that.
    pub(crate) within_allowance: bool,
    /// From the start of the program to the first line that says where it listens.
    pub(crate) start_after_clean_stop_ms: f64,
    /// The same after SIGKILL in the middle of writes.
    pub(crate) start_after_kill_ms: f64,
}

/// What was measured in one way of asking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// Records a second, in synced batches.
    pub(crate) load_per_second: f64,
    pub(crate) get: Figures,
    pub(crate) cas: Figures,
    /// Records a second.
    pub(crate) scan_per_second: f64,
}

/// Measures one size.
pub(crate) async fn measure(records: u64, value_bytes: usize, place: &Place) -> Result<Scale> {
    let settings = |workload| {
        let mut settings = place.settings(workload, CALLERS);
        settings.records = records;
        settings.value_bytes = value_bytes;
        settings
    };

    let data = Folder::new(&place.disk, "scale")?;
    let engine = crate::engine::open(&place.engine, &data.path().join("data"))?;
    let in_process = stage(&engine, &settings).await?;
    engine.close().await?;
    drop((engine, data));

    let node = Node::start(&place.server, &place.engine, &[], &place.disk).await?;
    let engine = client(&node).await?;
    let served = stage(&engine, &settings).await?;
    let peak_resident_bytes = peak_resident_bytes(&node)?;
    let (node, start_after_clean_stop_ms) = start_again(node, true).await?;
    let mut start_after_kill_ms = 0.0;
    if place.engine != "mem" {
        let writing = {
            let engine = client(&node).await?;
            let settings = Settings { time: Duration::from_secs(3_600), ..settings(Workload::Put) };
            tokio::spawn(async move { Run::new(target(&engine), settings).measure().await })
        };
        tokio::time::sleep(place.time).await;
        let (again, time) = start_again(node, false).await?;
        writing.abort();
        start_after_kill_ms = time;
        drop(again);
    }
    Ok(Scale {
        records,
        value_bytes,
        engine: place.engine.clone(),
        in_process,
        served,
        peak_resident_bytes,
        configured_bytes: CONFIGURED_BYTES,
        within_allowance: peak_resident_bytes as f64 <= CONFIGURED_BYTES as f64 * ALLOWANCE,
        start_after_clean_stop_ms,
        start_after_kill_ms,
    })
}

fn target(engine: &Arc<dyn Engine>) -> Arc<EngineTarget> {
    Arc::new(EngineTarget::new(Arc::clone(engine), "scale", None))
}

async fn client(node: &Node) -> Result<Arc<dyn Engine>> {
    Ok(Arc::new(node.client().connect().await?))
}

async fn stage(engine: &Arc<dyn Engine>, settings: &impl Fn(Workload) -> Settings) -> Result<Stage> {
    let run = |workload| Run::new(target(engine), settings(workload));
    let load_per_second = run(Workload::Get).load().await?.records_per_second;
    let get = Figures::from(&run(Workload::Get).measure().await?);
    let cas = Figures::from(&run(Workload::Cas).measure().await?);
    let begun = Instant::now();
    let scanned = whole(&**engine).await?;
    let scan_per_second = scanned as f64 / begun.elapsed().as_secs_f64();
    Ok(Stage { load_per_second, get, cas, scan_per_second })
}

/// Ends it, and says how many milliseconds pass from its start until it serves.
async fn start_again(node: Node, in_good_order: bool) -> Result<(Node, f64)> {
    let stopped = node.stop(in_good_order).await?;
    let begun = Instant::now();
    let node = stopped.start().await?;
    Ok((node, begun.elapsed().as_secs_f64() * 1e3))
}

/// The most memory that a process ever had, as the kernel counts it.
fn peak_resident_bytes(node: &Node) -> Result<u64> {
    let id = node.id().ok_or("the node has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes << 10)
}
