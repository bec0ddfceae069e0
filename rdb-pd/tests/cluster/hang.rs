//! A placement driver that takes connections and never says anything.

use std::time::Duration;

use rdb_engine_api::{EngineExt as _, ErrorKind};
use rdb_server::{NodeConfig, Serving as _};
use tokio::time::{Instant, timeout};

use crate::harness::{PATIENCE, driver, key, mem, metric, node, node_with, sled, until};
use crate::relay::{Relay, Way};

#[tokio::test]
async fn a_node_whose_placement_driver_hangs_still_ends_within_its_drain_time() {
    let drain = Duration::from_millis(600);
    for known_to_hang in [false, true] {
        let (pd, relay) = (driver(mem()).await, Relay::start(Way::Gone).await);
        relay.turn(Way::To(pd.addr()));
        let mut config = NodeConfig::on_free_ports();
        config.drain_timeout = drain;
        let node = node_with(config, &mem(), relay.address(), None).await.unwrap();
        let client = rdb_client::Client::connect(node.addr().to_string()).await.unwrap();
        relay.turn(Way::Silent);
        if known_to_hang {
            until("noticed", async || metric(node.ops_addr(), "flaredb_pd_connected").await == 0.0).await;
        }
        client.put(&key("k"), "v").await.unwrap();
        let begun = Instant::now();
        node.shutdown().await.unwrap();
        let took = begun.elapsed();
        assert!(took <= drain + Duration::from_millis(100), "{took:?}");
    }
}

#[tokio::test]
async fn a_member_starts_while_the_placement_driver_hangs_and_a_new_node_says_why_it_does_not() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pd, relay) = (driver(mem()).await, Relay::start(Way::Gone).await);
    relay.turn(Way::To(pd.addr()));
    let first = node(&sled(directory.path()), relay.address(), Some(directory.path())).await.unwrap();
    first.shutdown().await.unwrap();
    relay.turn(Way::Silent);
    let engine = sled(directory.path());
    let again = timeout(PATIENCE, node(&engine, relay.address(), Some(directory.path())));
    let again = again.await.unwrap().unwrap();
    let client = rdb_client::Client::connect(again.addr().to_string()).await.unwrap();
    client.put(&key("k"), "v").await.unwrap();
    again.shutdown().await.unwrap();

    let engine = sled(other.path());
    let error = timeout(PATIENCE, node(&engine, relay.address(), Some(other.path()))).await.unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    engine.close().await.unwrap();
}
