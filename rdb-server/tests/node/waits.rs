//! Writes that wait for their conditions to hold (C20).

use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::ErrorKind;
use rdb_proto::kv::v1;
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};

use crate::harness::{PATIENCE, Served, metric, put, served, write_error};

/// A swap of what is under a key, which waits this long for there to be nothing.
fn swap(key: &'static str, wait: Duration) -> Request<v1::CompareAndSwapRequest> {
    let absent = v1::condition::Condition::Absent(v1::condition::Absent {});
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Request::new(v1::CompareAndSwapRequest {
        key: Bytes::from_static(key.as_bytes()),
        condition: Some(v1::Condition { condition: Some(absent) }),
        put: Some(v1::Put { value: vec![7; 1_000].into(), ttl_ms: None }),
        options: Some(v1::WriteOptions { condition_wait_ms: Some(ms), ..Default::default() }),
    })
}

fn outcome(answer: Result<Response<v1::CompareAndSwapResponse>, Status>) -> v1::outcome::Outcome {
    answer.unwrap().into_inner().outcome.unwrap().outcome.unwrap()
}

/// How long the engine was told to wait.
fn told(served: &Served) -> Duration {
    served.engine.options.lock().unwrap().wait.unwrap()
}

#[tokio::test]
async fn a_write_that_waits_has_that_time_beside_what_the_node_allows() {
    let mut served = served(|config| config.request_timeout = Duration::from_millis(100)).await;
    let wait = Duration::from_millis(400);
    let answer = served.kv.compare_and_swap(swap("locked", wait)).await;
    assert!(matches!(outcome(answer), v1::outcome::Outcome::Conflict(_)));
    assert_eq!(told(&served), wait);
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_conflicts_total 1").await;
    // Which makes the node no slower.
    let count = "flaredb_request_duration_seconds_count{method=\"compare_and_swap\"";
    metric(ops, &format!("{count},outcome=\"waited\"}} 1")).await;
    metric(ops, &format!("{count},outcome=\"ok\"}} 0")).await;
}

#[tokio::test]
async fn a_conflict_is_told_before_the_clients_deadline_and_not_unknown_after_it() {
    let mut served = served(|_| {}).await;
    for wait in [Duration::from_secs(1), Duration::from_hours(1), Duration::MAX] {
        let mut request = swap("locked", wait);
        request.set_timeout(Duration::from_secs(1));
        let start = Instant::now();
        let answer = served.kv.compare_and_swap(request).await;
        assert!(matches!(outcome(answer), v1::outcome::Outcome::Conflict(_)));
        assert!(told(&served) <= Duration::from_millis(900));
        assert!(told(&served) > Duration::from_millis(500));
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_write_that_waits_beyond_all_time_is_no_trouble() {
    let served = served(|_| {}).await;
    let mut kv = served.kv.clone();
    let write = tokio::spawn(async move { kv.compare_and_swap(swap("held", Duration::MAX)).await });
    served.engine.waiting.notified().await;
    served.engine.release.notify_one();
    assert!(matches!(outcome(write.await.unwrap()), v1::outcome::Outcome::Committed(_)));
}

#[tokio::test]
async fn a_write_that_waits_does_not_keep_out_those_that_it_waits_for() {
    let mut served = served(|config| {
        config.max_in_flight = 1;
        config.max_message_bytes = Some(2_000);
        config.max_in_flight_bytes = 2_005;
    })
    .await;
    let ops = served.node.ops_addr();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut kv = served.kv.clone();
        waiting.push(tokio::spawn(async move { kv.compare_and_swap(swap("held", PATIENCE)).await }));
        served.engine.waiting.notified().await;
    }
    metric(ops, "flaredb_requests_waiting 3").await;
    metric(ops, "flaredb_requests_in_flight 0").await;
    metric(ops, "flaredb_request_bytes_in_flight 0").await;
    let _ = served.kv.put(put("k", vec![7; 1_900])).await.unwrap();
    for mut write in waiting {
        let start = Instant::now();
        loop {
            served.engine.release.notify_one(); // one of them
            if let Ok(answer) = timeout(Duration::from_millis(10), &mut write).await {
                let _ = answer.unwrap().unwrap();
                break;
            }
            assert!(start.elapsed() < PATIENCE);
        }
    }
    metric(ops, "flaredb_requests_waiting 0").await;
    metric(ops, "flaredb_requests_in_flight 0").await;
    metric(ops, "flaredb_request_bytes_in_flight 0").await;
}

#[tokio::test]
async fn a_write_without_conditions_waits_for_nothing() {
    let mut served = served(|config| config.request_timeout = Duration::from_millis(50)).await;
    let mut request = put("stuck", "v");
    request.options = Some(v1::WriteOptions { condition_wait_ms: Some(60_000), ..Default::default() });
    let status = served.kv.put(request).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Unknown);
}

#[tokio::test]
async fn a_write_that_waits_does_not_hold_up_the_end_and_is_told_the_truth() {
    let served = served(|config| config.drain_timeout = PATIENCE).await;
    let mut kv = served.kv.clone();
    let write = tokio::spawn(async move { kv.compare_and_swap(swap("stuck", PATIENCE * 2)).await });
    served.engine.waiting.notified().await;
    let start = Instant::now();
    served.node.shutdown().await.unwrap();
    assert!(start.elapsed() < PATIENCE / 4, "{:?}", start.elapsed());
    // It may have been applied just then.
    assert_eq!(write_error(&write.await.unwrap().unwrap_err()).kind(), ErrorKind::Unknown);
}

#[tokio::test]
async fn a_write_whose_wait_is_over_while_the_node_drains_is_answered() {
    let served = served(|config| config.drain_timeout = PATIENCE).await;
    let (mut kv, ops) = (served.kv.clone(), served.node.ops_addr());
    let write = tokio::spawn(async move { kv.compare_and_swap(swap("held", PATIENCE * 2)).await });
    served.engine.waiting.notified().await;
    let engine = std::sync::Arc::clone(&served.engine);
    let shutdown = tokio::spawn(served.node.shutdown());
    let start = Instant::now();
    while crate::harness::http(ops, "GET", "/readyz").await.0 != 503 {
        assert!(start.elapsed() < PATIENCE);
    }
    engine.release.notify_one();
    assert!(matches!(outcome(write.await.unwrap()), v1::outcome::Outcome::Committed(_)));
    shutdown.await.unwrap().unwrap();
    assert!(start.elapsed() < PATIENCE / 4);
}
