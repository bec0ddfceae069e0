use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::{
    Cause, CommittedBatch, CommittedOp, Error, ErrorKind, Key, Limits, LocalOptions, Previous, Record,
    Version, WatchEvent,
};
use rdb_proto::kv::v1;
use rdb_proto::{Call, WatchAssembly, WatchPart, from_status};
use tokio::time::{Instant, timeout};
use tonic::{Request, Status, Streaming};

use crate::double::{BEGINNING, Feed};
use crate::harness::{PATIENCE, Served, metric, put, read_error, served, served_with};

/// A watch of everything.
fn all() -> v1::WatchRequest {
    let range = Some(v1::watch_request::Range::Prefix(Bytes::new()));
    v1::WatchRequest { range, ..Default::default() }
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// A commit of one key, with a value of so many bytes.
fn commit(number: u64, bytes: usize) -> WatchEvent {
    commit_of(number, &[bytes])
}

fn commit_of(number: u64, sizes: &[usize]) -> WatchEvent {
    let op = |(place, bytes): (usize, &usize)| {
        let record = Record::new(vec![7; *bytes].into(), version(number));
        CommittedOp::new(Key::new(format!("{place:04}")).unwrap(), Some(record), Previous::NotAsked)
    };
    let ops = sizes.iter().enumerate().map(op).collect();
    WatchEvent::Commit(CommittedBatch::new(version(number), Cause::Write, ops))
}

async fn next(stream: &mut Streaming<v1::WatchResponse>) -> Result<WatchPart, Status> {
    let message = timeout(PATIENCE, stream.message()).await.unwrap()?;
    Ok(message.unwrap().try_into().unwrap())
}

/// The error that a watch ends in, once all that came before is read.
async fn end(stream: &mut Streaming<v1::WatchResponse>) -> Status {
    loop {
        if let Err(status) = next(stream).await {
            return status;
        }
    }
}

/// Opens a watch, and reads its start.
async fn watch(served: &mut Served) -> (Feed, Streaming<v1::WatchResponse>) {
    let feed = served.engine.feed();
    let mut stream = served.kv.watch(all()).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.unwrap(), WatchPart::Start(BEGINNING));
    (feed, stream)
}

#[tokio::test]
async fn a_watch_delivers_its_commits_whole_and_in_order() {
    let mut served = served(|_| {}).await;
    let (feed, mut stream) = watch(&mut served).await;
    let events = [
        commit(5, 1),
        commit_of(6, &[200 << 10, 200 << 10, 1, 3 << 20]),
        WatchEvent::Progress(version(6)),
        commit(7, 100),
        WatchEvent::Progress(version(9)),
    ];
    for event in events.clone() {
        feed.send(Ok(event));
    }
    let mut assembly = WatchAssembly::new(BEGINNING, &Limits::default());
    let mut seen = Vec::new();
    while seen.len() < events.len() {
        seen.extend(assembly.take(next(&mut stream).await.unwrap()).unwrap());
    }
    assert_eq!(seen, events);
    metric(served.node.ops_addr(), "flaredb_watches_open 1").await;
}

#[tokio::test]
async fn what_is_ready_shares_a_message_and_waits_for_nothing() {
    let mut served = served(|_| {}).await;
    let feed = served.engine.feed();
    for number in 2..102 {
        feed.send(Ok(commit(number, 10)));
    }
    let mut stream = served.kv.watch(all()).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.unwrap(), WatchPart::Start(BEGINNING));
    let WatchPart::Commits(commits) = next(&mut stream).await.unwrap() else { panic!() };
    assert_eq!(commits.len(), 100);
    // And one alone comes alone.
    feed.send(Ok(commit(102, 10)));
    let WatchPart::Commits(commits) = next(&mut stream).await.unwrap() else { panic!() };
    assert_eq!(commits.len(), 1);
    metric(served.node.ops_addr(), "flaredb_watch_messages_total 2").await;
}

#[tokio::test]
async fn a_watch_outlives_the_nodes_deadline_and_takes_no_place() {
    let limit = Duration::from_millis(50);
    let mut served = served(|config| {
        config.request_timeout = limit;
        config.max_in_flight = 1;
    })
    .await;
    let ops = served.node.ops_addr();
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(watch(&mut served).await);
    }
    metric(ops, "flaredb_requests_waiting 3").await;
    metric(ops, "flaredb_requests_in_flight 0").await;
    let status = served.node_status().await;
    assert_eq!((status.open_watches, status.open_requests), (3, 4));
    let start = Instant::now();
    while start.elapsed() < limit * 3 {
        let _ = served.kv.put(put("k", "v")).await.unwrap();
    }
    for (feed, stream) in &mut watches {
        feed.send(Ok(WatchEvent::Progress(version(9))));
        assert_eq!(next(stream).await.unwrap(), WatchPart::Progress(version(9)));
    }
    drop(watches);
    metric(ops, "flaredb_requests_waiting 0").await;
    metric(ops, "flaredb_watches_open 0").await;
}

#[tokio::test]
async fn a_watch_ends_by_its_clients_deadline() {
    let mut served = served(|_| {}).await;
    let feed = served.engine.feed();
    feed.send(Ok(commit(5, 1)));
    let mut request = Request::new(all());
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let mut stream = served.kv.watch(request).await.unwrap().into_inner();
    assert_eq!(read_error(&end(&mut stream).await), ErrorKind::Unavailable);
    feed.closed().await;
}

#[tokio::test]
async fn a_watch_ends_when_the_node_drains_and_does_not_hold_it_up() {
    let mut served = served(|config| config.drain_timeout = PATIENCE).await;
    let (feed, mut stream) = watch(&mut served).await;
    feed.send(Ok(commit(5, 1)));
    assert!(matches!(next(&mut stream).await.unwrap(), WatchPart::Commits(_)));
    let start = Instant::now();
    let shutdown = tokio::spawn(served.node.shutdown());
    assert_eq!(read_error(&end(&mut stream).await), ErrorKind::Unavailable);
    shutdown.await.unwrap().unwrap();
    assert!(start.elapsed() < PATIENCE / 4, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_watch_left_unread_takes_no_more_of_the_engine_and_ends_with_how_far_it_came() {
    let mut local = LocalOptions::default();
    local.limits.scan_idle = Duration::from_millis(200);
    let mut served = served_with(local, |_| {}).await;
    let ops = served.node.ops_addr();
    let feed = served.engine.feed();
    let many = 1_000;
    for number in 0..many {
        feed.send(Ok(commit(2 + number, 100 << 10)));
    }
    let mut stream = served.kv.watch(all()).await.unwrap().into_inner();
    metric(ops, "flaredb_watches_open 0").await;
    metric(ops, "flaredb_requests_waiting 0").await;
    assert!(feed.taken() < 100, "{}", feed.taken());
    feed.closed().await;

    // What was on its way is read, and then the end.
    let mut assembly = WatchAssembly::new(BEGINNING, &Limits::default());
    assert_eq!(next(&mut stream).await.unwrap(), WatchPart::Start(BEGINNING));
    let status = loop {
        match next(&mut stream).await {
            Ok(part) => drop(assembly.take(part).unwrap()),
            Err(status) => break status,
        }
    };
    let error = from_status(&status, Call::Read);
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.version().unwrap() <= assembly.version());
    assert!(assembly.version() > BEGINNING);
}

#[tokio::test]
async fn a_commit_left_unread_in_its_middle_was_not_delivered() {
    let mut local = LocalOptions::default();
    local.limits.scan_idle = Duration::from_millis(200);
    let mut served = served_with(local, |_| {}).await;
    let feed = served.engine.feed();
    feed.send(Ok(commit_of(5, &[200 << 10; 64])));
    let mut stream = served.kv.watch(all()).await.unwrap().into_inner();
    feed.closed().await;
    let error = from_status(&end(&mut stream).await, Call::Read);
    assert_eq!((error.kind(), error.version()), (ErrorKind::Exhausted, Some(BEGINNING)));
}

#[tokio::test]
async fn a_reader_who_fell_behind_gets_what_there_is_and_then_the_engines_word() {
    let mut served = served(|_| {}).await;
    let (feed, mut stream) = watch(&mut served).await;
    feed.send(Ok(commit(5, 1)));
    feed.send(Err(Error::new(ErrorKind::Exhausted, "told to").at(version(5))));
    let WatchPart::Commits(commits) = next(&mut stream).await.unwrap() else { panic!() };
    assert_eq!(commits[0].commit.version, version(5));
    let error = from_status(&end(&mut stream).await, Call::Read);
    assert_eq!((error.kind(), error.version()), (ErrorKind::Exhausted, Some(version(5))));
    metric(served.node.ops_addr(), "flaredb_requests_total{method=\"watch\",code=\"exhausted\"} 1").await;
}

#[tokio::test]
async fn a_watch_that_cannot_begin_is_told_why() {
    let mut local = LocalOptions::default();
    local.limits.max_watches = 1;
    let mut served = served_with(local, |_| {}).await;
    let range = Some(v1::watch_request::Range::Prefix(Bytes::from_static(b"compacted")));
    let status = served.kv.watch(v1::WatchRequest { range, ..all() }).await.unwrap_err();
    let error = from_status(&status, Call::Read);
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(BEGINNING)));
    for request in [
        v1::WatchRequest::default(),
        v1::WatchRequest { after: Some(0), ..all() },
        v1::WatchRequest { after: Some(u64::MAX), ..all() },
        v1::WatchRequest { progress_ms: Some(0), ..all() },
    ] {
        let status = served.kv.watch(request).await.unwrap_err();
        assert_eq!(read_error(&status), ErrorKind::InvalidArgument);
    }
    let only = served.kv.watch(all()).await.unwrap();
    let status = served.kv.watch(all()).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::Exhausted);
    drop(only);
    metric(served.node.ops_addr(), "flaredb_watches_open 0").await;
    metric(served.node.ops_addr(), "flaredb_requests_waiting 0").await;
}

#[tokio::test]
async fn an_engines_own_watch_misses_nothing_and_delivers_nothing_twice() {
    let mut served = served(|_| {}).await;
    let first = served.kv.put(put("a", "1")).await.unwrap().into_inner().commit.unwrap().version;
    let mut expected = Vec::new();
    for key in ["b", "c"] {
        expected.push(served.kv.put(put(key, "2")).await.unwrap().into_inner().commit.unwrap().version);
    }
    let request = v1::WatchRequest { after: Some(first), previous: true, ..all() };
    // Nobody watched for what was there before, so far.
    let status = served.kv.watch(request.clone()).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::Compacted);
    let request = v1::WatchRequest { previous: false, ..request };
    let mut stream = served.kv.watch(request).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.unwrap(), WatchPart::Start(version(first)));
    let large = served.kv.put(put("d", vec![7; 3 << 20])).await.unwrap().into_inner();
    expected.push(large.commit.unwrap().version);
    let mut assembly = WatchAssembly::new(version(first), &Limits::default());
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        for event in assembly.take(next(&mut stream).await.unwrap()).unwrap() {
            if let WatchEvent::Commit(commit) = event {
                seen.push(commit.version.get());
            }
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_watch_that_breaks_ends_in_its_error() {
    let mut served = served(|_| {}).await;
    let (feed, mut stream) = watch(&mut served).await;
    feed.send(Err(Error::new(ErrorKind::Closed, "told to")));
    assert_eq!(read_error(&end(&mut stream).await), ErrorKind::Closed);
    timeout(PATIENCE, served.node.engine_closed()).await.unwrap();
    // One that ends for no reason is a fault of the engine's.
    let (feed, mut stream) = watch(&mut served).await;
    drop(feed);
    assert_eq!(read_error(&end(&mut stream).await), ErrorKind::Internal);
}

#[tokio::test]
async fn a_watch_whose_reader_left_is_closed() {
    let mut served = served(|_| {}).await;
    let (feed, stream) = watch(&mut served).await;
    drop(stream);
    timeout(PATIENCE, feed.closed()).await.unwrap();
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_watches_open 0").await;
    metric(ops, "flaredb_requests_total{method=\"watch\",code=\"cancelled\"} 1").await;
}
