use std::time::Duration;

use rdb_engine_api::{Engine as _, ErrorKind, Key};
use tokio::time::{Instant, timeout};

use crate::harness::{PATIENCE, http, metric, put, served, write_error};
use crate::raw::{RawClient, framed_put};

#[tokio::test]
async fn a_request_that_is_not_whole_by_its_deadline_is_certainly_not_applied() {
    let short = Duration::from_millis(50);
    for (node, client) in [(short, None), (PATIENCE, Some("50m"))] {
        let served = served(|config| config.request_timeout = node).await;
        let mut raw = RawClient::connect(served.node.addr()).await;
        let mut request = raw.put(client);
        let message = framed_put("k");
        request.send(message[..message.len() - 1].to_vec());
        let error = write_error(&request.answer().await.unwrap());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("not whole"), "{error}");
        let ops = served.node.ops_addr();
        metric(ops, "flaredb_requests_total{method=\"put\",code=\"unavailable\"} 1").await;
        metric(ops, "flaredb_requests_in_flight 0").await;
        metric(ops, "flaredb_request_bytes_in_flight 0").await;
    }
}

#[tokio::test]
async fn a_request_takes_its_place_before_it_is_whole() {
    let mut served = served(|config| config.max_in_flight = 1).await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut first = raw.put(None);
    metric(served.node.ops_addr(), "flaredb_requests_in_flight 1").await;
    // Whole or not, the next one is refused.
    let status = served.kv.put(put("k", "v")).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Exhausted);
    let mut second = raw.put(None);
    assert_eq!(write_error(&second.answer().await.unwrap()).kind(), ErrorKind::Exhausted);
    assert_eq!(served.engine.get(&Key::new("k").unwrap()).await.unwrap(), None);

    let message = framed_put("k");
    for byte in message {
        first.send(vec![byte]);
    }
    first.end();
    assert!(first.answer().await.is_none());
    assert!(served.engine.get(&Key::new("k").unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn more_bytes_of_requests_than_allowed_are_exhausted_and_not_applied() {
    let limit = 1 << 20;
    let mut served = served(|config| {
        config.max_message_bytes = Some(limit);
        config.max_in_flight_bytes = limit + 5;
    })
    .await;
    let ops = served.node.ops_addr();
    let large = 700 << 10;
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut unfinished = raw.put(None);
    unfinished.send(vec![0; large]);
    metric(ops, &format!("flaredb_request_bytes_in_flight {large}")).await;

    let status = served.kv.put(put("k", vec![7; large])).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Exhausted);
    assert_eq!(served.engine.get(&Key::new("k").unwrap()).await.unwrap(), None);
    let _ = served.kv.put(put("small", "v")).await.unwrap();

    unfinished.reset();
    metric(ops, "flaredb_request_bytes_in_flight 0").await;
    metric(ops, "flaredb_requests_total{method=\"put\",code=\"cancelled\"} 1").await;
    let _ = served.kv.put(put("k", vec![7; large])).await.unwrap();
}

#[tokio::test]
async fn the_bytes_of_a_request_count_until_it_has_ended() {
    let served = served(|_| {}).await;
    let ops = served.node.ops_addr();
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut request = raw.put(None);
    let message = framed_put("held");
    let bytes = message.len();
    request.send(message);
    request.end();
    served.engine.waiting.notified().await;
    metric(ops, &format!("flaredb_request_bytes_in_flight {bytes}")).await;
    served.engine.release.notify_one();
    assert!(request.answer().await.is_none());
    metric(ops, "flaredb_request_bytes_in_flight 0").await;
}

#[tokio::test]
async fn a_request_that_becomes_whole_while_draining_is_finished() {
    let served = served(|config| config.drain_timeout = PATIENCE).await;
    let ops = served.node.ops_addr();
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut request = raw.put(None);
    let message = framed_put("held");
    request.send(message[..message.len() - 1].to_vec());
    metric(ops, &format!("flaredb_request_bytes_in_flight {}", message.len() - 1)).await;
    let shutdown = tokio::spawn(served.node.shutdown());
    until_draining(ops).await;
    request.send(message[message.len() - 1..].to_vec());
    request.end();
    served.engine.waiting.notified().await;
    // Longer than answers are waited for when nothing is in flight.
    let early = timeout(Duration::from_millis(1500), request.answer()).await;
    assert!(early.is_err(), "{early:?}");
    served.engine.release.notify_one();
    assert!(request.answer().await.is_none());
    shutdown.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_begins_while_draining_is_finished() {
    // The request begins while the last answers are flushed, and ends well after.
    let flush = Duration::from_secs(3);
    let served = served(|config| {
        config.drain_timeout = PATIENCE;
        config.flush_timeout = flush;
    })
    .await;
    let ops = served.node.ops_addr();
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut first = raw.put(None);
    first.send(framed_put("k"));
    first.end();
    assert!(first.answer().await.is_none());

    let (node, engine) = (served.node, served.engine);
    let (mut request, shutdown) = raw
        .deaf_while(async |raw| {
            let shutdown = tokio::spawn(node.shutdown());
            until_draining(ops).await;
            let mut request = raw.put(None);
            request.send(framed_put("held"));
            request.end();
            timeout(PATIENCE, engine.waiting.notified()).await.unwrap();
            (request, shutdown)
        })
        .await;
    let early = timeout(flush + flush / 4, request.answer()).await;
    assert!(early.is_err(), "{early:?}");
    engine.release.notify_one();
    assert!(request.answer().await.is_none());
    shutdown.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_becomes_whole_does_not_hold_up_the_end() {
    let limit = Duration::from_secs(1);
    let served = served(|config| config.drain_timeout = limit).await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut request = raw.put(None);
    request.send(vec![0; 3]);
    metric(served.node.ops_addr(), "flaredb_request_bytes_in_flight 3").await;
    timeout(PATIENCE, served.node.shutdown()).await.unwrap().unwrap();
    assert_eq!(write_error(&request.answer().await.unwrap()).kind(), ErrorKind::Unavailable);
}

async fn until_draining(ops: std::net::SocketAddr) {
    let start = Instant::now();
    while http(ops, "GET", "/readyz").await.0 != 503 {
        assert!(start.elapsed() < PATIENCE);
    }
}
