use std::time::Duration;

use rdb_engine_api::{ErrorKind, LocalOptions};
use rdb_proto::ScanPart;
use rdb_proto::kv::v1;
use tonic::{Request, Status, Streaming};

use crate::harness::{Served, metric, put, read_error, scan, served, served_with};

/// Reads to the end of the stream: the parts, and the error where there was one.
async fn read(mut stream: Streaming<v1::ScanResponse>) -> (Vec<ScanPart>, Option<Status>) {
    let mut parts = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => parts.push(message.try_into().unwrap()),
            Ok(None) => return (parts, None),
            Err(status) => return (parts, Some(status)),
        }
    }
}

async fn fill(served: &mut Served, value_bytes: usize) {
    for key in ["a", "b", "c", "d", "e", "f"] {
        let _ = served.kv.put(put(key, vec![7; value_bytes])).await.unwrap();
    }
}

#[tokio::test]
async fn a_scan_begins_with_its_version_and_ends_with_its_count() {
    let mut served = served(|_| {}).await;
    fill(&mut served, 100 << 10).await;
    let stream = served.kv.scan(scan("")).await.unwrap().into_inner();
    let (parts, error) = read(stream).await;
    assert!(error.is_none());
    assert!(matches!(parts.first(), Some(ScanPart::Start(_))));
    assert_eq!(parts.last(), Some(&ScanPart::End { entries: 6 }));
    let mut keys = Vec::new();
    for part in &parts[1..parts.len() - 1] {
        let ScanPart::Chunk(entries) = part else { panic!("{part:?}") };
        assert!(entries.len() <= 2, "a message is no longer than it has to be");
        keys.extend(entries.iter().flat_map(|entry| entry.key.as_bytes().to_vec()));
    }
    assert_eq!(keys, b"abcdef");
    metric(served.node.ops_addr(), "flaredb_requests_total{method=\"scan\",code=\"ok\"} 1").await;
}

#[tokio::test]
async fn an_empty_scan_still_says_that_it_is_complete() {
    let mut served = served(|_| {}).await;
    let stream = served.kv.scan(scan("nothing")).await.unwrap().into_inner();
    let (parts, error) = read(stream).await;
    assert!(error.is_none());
    assert!(matches!(parts[..], [ScanPart::Start(_), ScanPart::End { entries: 0 }]), "{parts:?}");
}

#[tokio::test]
async fn a_scan_that_breaks_ends_in_its_error_and_not_in_an_end() {
    let mut served = served(|_| {}).await;
    for (prefix, kind) in [("broken", ErrorKind::Corrupt), ("panic", ErrorKind::Internal)] {
        let stream = served.kv.scan(scan(prefix)).await.unwrap().into_inner();
        let (parts, error) = read(stream).await;
        assert_eq!(read_error(&error.unwrap()), kind);
        assert!(!parts.iter().any(|part| matches!(part, ScanPart::End { .. })));
    }
    metric(served.node.ops_addr(), "flaredb_scans_open 0").await;
}

#[tokio::test]
async fn a_scan_past_its_deadline_ends_in_an_error() {
    let mut served = served(|_| {}).await;
    let mut request = Request::new(scan("stuck"));
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let stream = served.kv.scan(request).await.unwrap().into_inner();
    let (parts, error) = read(stream).await;
    assert_eq!(read_error(&error.unwrap()), ErrorKind::Unavailable);
    assert!(!parts.iter().any(|part| matches!(part, ScanPart::End { .. })));
}

#[tokio::test]
async fn a_scan_left_unread_gives_back_all_it_holds_and_ends_in_an_error() {
    let mut local = LocalOptions::default();
    local.limits.scan_idle = Duration::from_millis(50);
    let mut served = served_with(local, |_| {}).await;
    fill(&mut served, 4 << 20).await;
    let stream = served.kv.scan(scan("")).await.unwrap().into_inner();
    metric(served.node.ops_addr(), "flaredb_scans_open 0").await;
    metric(served.node.ops_addr(), "flaredb_requests_in_flight 0").await;
    let (parts, error) = read(stream).await;
    assert_eq!(read_error(&error.unwrap()), ErrorKind::Exhausted);
    assert!(!parts.iter().any(|part| matches!(part, ScanPart::End { .. })));
}

#[tokio::test]
async fn a_scan_whose_reader_left_is_closed() {
    let mut served = served(|_| {}).await;
    let stream = served.kv.scan(scan("stuck")).await.unwrap().into_inner();
    metric(served.node.ops_addr(), "flaredb_scans_open 1").await;
    drop(stream);
    metric(served.node.ops_addr(), "flaredb_scans_open 0").await;
    metric(served.node.ops_addr(), "flaredb_requests_total{method=\"scan\",code=\"cancelled\"} 1").await;
}
