//! The SDK on a node: what many requests that wait leave to others, and a node that comes back as another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{join_all, try_join_all};
use rdb_client::{
    Batch, Client, Condition, Engine, EngineExt as _, Key, KeyRange, Limits, Outcome, Watch, WatchEvent,
    WatchStream, WriteOptions,
};
use rdb_engine_mem::MemConfig;
use rdb_server::{Node, NodeConfig, serve};
use tokio::time::{Instant, timeout};

use crate::harness::PATIENCE;

/// More than a connection has streams for.
const MANY: usize = 1_100;

async fn node(listen: SocketAddr, limit: impl FnOnce(&mut Limits)) -> Node {
    let mut engine = MemConfig::default();
    limit(&mut engine.local.limits);
    let mut config = NodeConfig::on_free_ports();
    config.listen = listen;
    serve(Arc::new(rdb_engine_mem::open(&engine).unwrap()), config).await.unwrap()
}

async fn client(node: &Node) -> Client {
    Client::builder().endpoint(node.addr().to_string()).timeout(PATIENCE).connect().await.unwrap()
}

fn key(text: impl Into<String>) -> Key {
    Key::new(text.into()).unwrap()
}

/// The length of the value that the next commit puts.
async fn next_put(events: &mut WatchStream) -> usize {
    loop {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        if let WatchEvent::Commit(commit) = event {
            return commit.ops[0].record.as_ref().unwrap().value.len();
        }
    }
}

#[tokio::test]
async fn more_watches_of_one_client_than_a_connection_has_streams_keep_out_nothing() {
    let node = node(NodeConfig::on_free_ports().listen, |_| ()).await;
    let client = client(&node).await;
    let keys: Vec<_> = (0..MANY).map(|number| key(format!("{number:04}"))).collect();
    let watch = |key: &Key| client.subscribe(Watch::new(KeyRange::prefix(key.to_string())));
    let mut watches = try_join_all(keys.iter().map(watch)).await.unwrap();
    let started = Instant::now();
    try_join_all(keys.iter().map(|key| client.put(key, "v"))).await.unwrap();
    assert_eq!(client.get(&keys[0]).await.unwrap().unwrap().value, "v");
    for lengths in join_all(watches.iter_mut().map(|view| next_put(&mut view.data))).await {
        assert_eq!(lengths, 1);
    }
    assert!(started.elapsed() < PATIENCE);
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn more_waiting_writes_of_one_client_than_a_connection_has_streams_are_ended_by_its_next() {
    let node = node(NodeConfig::on_free_ports().listen, |_| ()).await;
    let client = client(&node).await;
    let go = key("go");
    let waiting = (0..MANY).map(|number| {
        let batch = Batch::new().when(go.clone(), Condition::Present).put(key(format!("{number}")), "v");
        client.write(batch, WriteOptions::default().wait(PATIENCE))
    });
    let waiting = join_all(waiting);
    let open_the_gate = async {
        let parked = || async {
            let metrics = crate::harness::gauge(node.ops_addr(), "flaredb_requests_waiting ").await;
            metrics >= MANY
        };
        let started = Instant::now();
        while !parked().await {
            assert!(started.elapsed() < PATIENCE, "not all of them came to wait");
        }
        client.put(&go, "v").await.unwrap()
    };
    let (ended, _) = futures::join!(waiting, open_the_gate);
    for outcome in ended {
        assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
    }
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_watch_of_a_node_that_came_back_with_greater_limits_delivers_what_fits_these() {
    let first = node(NodeConfig::on_free_ports().listen, |limits| {
        limits.max_value_bytes = 1 << 10;
        limits.max_batch_bytes = 64 << 10;
        limits.max_batch_len = 16;
    });
    let first = first.await;
    let (address, watcher) = (first.addr(), client(&first).await.with_timeout(Duration::from_secs(5)));
    first.shutdown().await.unwrap();
    let second = node(address, |_| ()).await;
    let writer = client(&second).await;
    let mut events = watcher.subscribe(Watch::new(KeyRange::all())).await.unwrap().data;
    // A message of its own, and a commit in several.
    writer.put(&key("large"), vec![7; 3 << 20]).await.unwrap();
    assert_eq!(next_put(&mut events).await, 3 << 20);
    let values = (0..64).map(|number| key(format!("{number}")));
    let batch = values.fold(Batch::new(), |batch, key| batch.put(key, vec![7; 60 << 10]));
    let _ = writer.write(batch, WriteOptions::default()).await.unwrap();
    assert_eq!(next_put(&mut events).await, 60 << 10);
    second.shutdown().await.unwrap();
}
