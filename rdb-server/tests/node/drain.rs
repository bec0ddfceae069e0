use std::sync::atomic::Ordering;
use std::time::Duration;

use rdb_engine_api::{Engine as _, ErrorKind, Key};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{PATIENCE, channel, get, http, metric, put, read_error, scan, served, write_error};

async fn is_closed(engine: &impl rdb_engine_api::Engine) -> bool {
    let error = engine.get(&Key::new("k").unwrap()).await.unwrap_err();
    error.kind() == ErrorKind::Closed
}

#[tokio::test]
async fn idle_connections_and_health_watches_do_not_hold_up_the_end() {
    let mut served = served(|config| config.drain_timeout = PATIENCE).await;
    let _ = served.kv.put(put("k", "v")).await.unwrap();
    let _silent = TcpStream::connect(served.node.addr()).await.unwrap();
    let mut health = HealthClient::new(channel(served.node.addr()).await);
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    let start = Instant::now();
    served.node.shutdown().await.unwrap();
    assert!(start.elapsed() < PATIENCE / 4);
    assert!(is_closed(&*served.engine).await);
    drop(watch);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_while_nothing_new_comes_in() {
    let served = served(|config| config.drain_timeout = PATIENCE).await;
    let (addr, ops_addr) = (served.node.addr(), served.node.ops_addr());
    let mut kv = served.kv.clone();
    let held = tokio::spawn(async move { kv.put(put("held", "v")).await });
    served.engine.waiting.notified().await;
    let shutdown = tokio::spawn(served.node.shutdown());
    let start = Instant::now();
    while http(ops_addr, "GET", "/readyz").await.0 != 503 {
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(http(ops_addr, "GET", "/livez").await.0, 200);
    // The socket closes a moment after readiness does.
    while TcpStream::connect(addr).await.is_ok() {
        assert!(start.elapsed() < PATIENCE);
    }
    served.engine.release.notify_one();
    let answer = held.await.unwrap().unwrap().into_inner();
    assert!(answer.commit.is_some());
    shutdown.await.unwrap().unwrap();
    assert!(is_closed(&*served.engine).await);
}

#[tokio::test]
async fn requests_that_hang_are_told_the_truth_and_do_not_hold_up_the_end() {
    let limit = Duration::from_secs(2);
    let mut served = served(|config| config.drain_timeout = limit).await;
    let (mut writer, mut reader) = (served.kv.clone(), served.kv.clone());
    let write = tokio::spawn(async move { writer.put(put("stuck", "v")).await });
    served.engine.waiting.notified().await;
    let read = tokio::spawn(async move { reader.get(get("stuck")).await });
    served.engine.waiting.notified().await;
    let mut entries = served.kv.scan(scan("stuck")).await.unwrap().into_inner();
    metric(served.node.ops_addr(), "flaredb_requests_in_flight 3").await;

    let start = Instant::now();
    served.node.shutdown().await.unwrap();
    assert!(start.elapsed() < limit + limit / 2);
    assert_eq!(write_error(&write.await.unwrap().unwrap_err()).kind(), ErrorKind::Unknown);
    assert_eq!(read_error(&read.await.unwrap().unwrap_err()), ErrorKind::Unavailable);
    let error = loop {
        if let Err(status) = entries.message().await {
            break status;
        }
    };
    assert_eq!(read_error(&error), ErrorKind::Unavailable);
    assert!(is_closed(&*served.engine).await);
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_the_end() {
    let limit = Duration::from_secs(1);
    let mut served = served(|config| config.drain_timeout = limit).await;
    for key in ["a", "b", "c", "d", "e", "f"] {
        let _ = served.kv.put(put(key, vec![7; 4 << 20])).await.unwrap();
    }
    let unread = served.kv.scan(scan("")).await.unwrap();
    let start = Instant::now();
    served.node.shutdown().await.unwrap();
    assert!(start.elapsed() < limit + limit / 2);
    assert!(is_closed(&*served.engine).await);
    drop(unread);
}

#[tokio::test]
async fn an_engine_that_does_not_close_does_not_hold_up_the_end() {
    let limit = Duration::from_secs(1);
    let served = served(|config| config.drain_timeout = limit).await;
    served.engine.never_closes.store(true, Ordering::Relaxed);
    let start = Instant::now();
    let error = served.node.shutdown().await.unwrap_err();
    assert!(start.elapsed() < limit + limit / 2);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_dropped_node_cuts_its_connections_and_leaves_the_engine_open() {
    let served = served(|_| {}).await;
    let (addr, ops_addr) = (served.node.addr(), served.node.ops_addr());
    let mut kv = served.kv.clone();
    let write = tokio::spawn(async move { kv.put(put("stuck", "v")).await });
    served.engine.waiting.notified().await;
    drop(served.node);
    let _ = timeout(PATIENCE, write).await.unwrap().unwrap().unwrap_err();
    let start = Instant::now();
    while TcpStream::connect(addr).await.is_ok() || TcpStream::connect(ops_addr).await.is_ok() {
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(served.engine.get(&Key::new("k").unwrap()).await.unwrap(), None);
}
