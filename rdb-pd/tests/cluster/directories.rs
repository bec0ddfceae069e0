//! Data directories that are given to the wrong program.

use std::path::Path;

use rdb_client::Pd;
use rdb_engine_api::{EngineExt as _, ErrorKind};
use rdb_server::service::Bound;
use rdb_server::{NodeConfig, Serving as _, serve_alone};

use crate::harness::{driver, key, mem, node, sled, stores};
use crate::program::{Program, program};

async fn cluster_and_timestamp(program: &Program) -> (u64, u64) {
    let pd = Pd::connect(program.addr.to_string()).await.unwrap();
    (pd.cluster_id(), pd.timestamp().await.unwrap().get())
}

#[tokio::test]
async fn a_placement_drivers_directory_is_refused_by_a_node_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pd");
    let running = Program::start(&mut program(&path));
    let (cluster, before) = cluster_and_timestamp(&running).await;
    running.kill();

    let other = driver(mem()).await;
    let engine = sled(&path);
    let alone = async || {
        let bound = Bound::new(NodeConfig::on_free_ports()).await.unwrap();
        serve_alone(bound, std::sync::Arc::clone(&engine), Some(path.clone())).await
    };
    for refused in [alone().await, node(&engine, other.addr(), Some(&path)).await] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
        let expected = "data directory is a placement driver's; a node needs one of its own";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    assert_eq!(stores(&other).await.len(), 0);
    engine.close().await.unwrap();

    let running = Program::start(&mut program(&path));
    let (same, after) = cluster_and_timestamp(&running).await;
    assert!(same == cluster && after > before);
}

/// That the program refuses a directory which still is what it was.
fn refused(path: &Path, said: &str) {
    let error = Program::try_start(&mut program(path)).unwrap_err();
    assert!(error.contains(said), "{error}");
    assert!(error.contains(&path.display().to_string()) || said.contains("engine"), "{error}");
}

#[tokio::test]
async fn a_nodes_directory_is_refused_by_a_placement_driver_and_nothing_is_lost() {
    let (pd, directory) = (driver(mem()).await, tempfile::tempdir().unwrap());
    // One that holds nothing yet but its place in a cluster.
    let empty = directory.path().join("empty");
    node(&sled(&empty), pd.addr(), Some(&empty)).await.unwrap().shutdown().await.unwrap();
    refused(&empty, "data directory is a node's; a placement driver needs one of its own");
    node(&sled(&empty), pd.addr(), Some(&empty)).await.unwrap().shutdown().await.unwrap();
    assert_eq!(stores(&pd).await.len(), 1);

    // One that stands alone.
    let alone = directory.path().join("alone");
    let engine = sled(&alone);
    let put = engine.put(&key("k"), "v").await.unwrap();
    engine.close().await.unwrap();
    drop(engine);
    refused(&alone, "engine holds something else");
    let bound = Bound::new(NodeConfig::on_free_ports()).await.unwrap();
    let engine = sled(&alone);
    let served = serve_alone(bound, std::sync::Arc::clone(&engine), Some(alone)).await.unwrap();
    assert_eq!(engine.get(&key("k")).await.unwrap().unwrap().version, put.version);
    served.shutdown().await.unwrap();
}
