//! Clients that mean harm, and what they cannot do.

use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use rdb_engine_api::ErrorKind;
use tokio::io::{AsyncWriteExt as _, copy, sink};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use crate::harness::{PATIENCE, get, http, metric, put, read_error, served, write_error};
use crate::raw::RawClient;

const RESTORE: &str = "/flaredb.kv.v1.Kv/Restore";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

#[tokio::test]
async fn requests_for_health_and_reflection_that_never_end_are_bounded_by_connection() {
    let mut served = served(|_| {}).await;
    let ops = served.node.ops_addr();
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut request = raw.open(REFLECT, None);
        assert!(request.answer().await.is_none());
        open.push(request);
    }
    let status = raw.open(REFLECT, None).answer().await.unwrap();
    assert_eq!(read_error(&status), ErrorKind::Exhausted);
    metric(ops, "flaredb_shed_total{reason=\"requests\"} 1").await;
    // Others are served, in this connection too, and there is room again once one has ended.
    assert!(raw.get("absent").answer().await.is_none());
    let _ = served.kv.get(get("absent")).await.unwrap();
    open.pop().unwrap().reset();
    let mut again = raw.open(REFLECT, None);
    while again.answer().await.is_some() {
        again = raw.open(REFLECT, None);
    }
}

#[tokio::test]
async fn a_health_check_that_never_becomes_whole_is_ended() {
    let served = served(|config| config.request_timeout = Duration::from_millis(50)).await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut check = raw.open(CHECK, None);
    check.send(vec![0, 0, 0]);
    assert_eq!(read_error(&check.answer().await.unwrap()), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_long_message_for_health_is_refused_before_it_is_kept() {
    let served = served(|_| {}).await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut check = raw.open(CHECK, None);
    // The message is 3 MiB long, says its prefix, and none of it comes.
    check.send(vec![0, 0, 0x30, 0, 0]);
    assert_eq!(check.answer().await.unwrap().code(), tonic::Code::OutOfRange);
}

#[tokio::test]
async fn what_nobody_has_taken_yet_is_no_more_than_the_longest_message_needs() {
    let served = served(|config| config.max_message_bytes = Some(64 << 10)).await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    // Once one is answered, the node's settings are known.
    assert!(raw.get("absent").answer().await.is_none());
    let mut uploads: Vec<_> = (0..20).map(|_| raw.open(RESTORE, None)).collect();
    assert_eq!(uploads[0].window(8 << 20).await, 64 << 10);
}

#[tokio::test]
async fn an_upload_that_never_begins_is_ended() {
    let served = served(|config| config.stall_timeout = Duration::from_millis(50)).await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    // One says nothing at all, the other begins a message and never ends it.
    for bytes in [&[][..], &[0, 0, 0, 0, 9, 1]] {
        let mut upload = raw.open(RESTORE, None);
        upload.send(bytes);
        assert_eq!(write_error(&upload.answer().await.unwrap()).kind(), ErrorKind::Unavailable);
    }
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_in_flight 0").await;
    metric(ops, "flaredb_request_bytes_in_flight 0").await;
}

#[tokio::test]
async fn a_message_that_trickles_is_no_reason_to_wait_longer() {
    let limit = Duration::from_millis(300);
    let served = served(|config| config.stall_timeout = limit).await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    let mut upload = raw.open(RESTORE, None);
    let start = Instant::now();
    upload.send(vec![0, 0, 1, 0, 0]);
    let mut ticks = interval(limit / 10);
    let status = loop {
        tokio::select! {
            biased;
            status = upload.answer() => break status,
            _ = ticks.tick() => {}
        }
        assert!(start.elapsed() < PATIENCE);
        upload.send(vec![0]);
    };
    assert_eq!(write_error(&status.unwrap()).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn ids_and_paths_of_requests_add_nothing_to_the_metrics() {
    let mut served = served(|_| {}).await;
    let _ = served.kv.put(put("k", "v")).await.unwrap();
    let ops = served.node.ops_addr();
    let lines = async || http(ops, "GET", "/metrics").await.1.lines().count();
    let before = lines().await;
    let mut raw = RawClient::connect(served.node.addr()).await;
    for number in 0..50 {
        let status = raw.open(&format!("/flaredb.kv.v1.Kv/Method{number}"), None).answer().await.unwrap();
        assert_eq!(read_error(&status), ErrorKind::Unsupported);
        let _ = http(ops, "GET", &format!("/path{number}")).await;
    }
    metric(ops, "flaredb_requests_refused_total 50").await;
    assert_eq!(lines().await, before);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a get, and nothing behind them.
fn headers() -> Vec<u8> {
    let path = b"/flaredb.kv.v1.Kv/Get";
    // POST and http are in HTTP/2's table; the path is a literal.
    [&[0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()], &path[..]].concat()
}

/// Sends frames until the node has had enough, and hears nothing; how many were sent.
async fn flood(addr: SocketAddr, frames: impl Iterator<Item = Vec<u8>>) -> usize {
    let (mut hear, mut say) = TcpStream::connect(addr).await.unwrap().into_split();
    // What is heard is no matter, but has to be taken.
    let hearing = tokio::spawn(async move { copy(&mut hear, &mut sink()).await });
    let greeting = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..]].concat();
    say.write_all(&greeting).await.unwrap();
    let mut sent = 0;
    for frame in frames {
        if timeout(PATIENCE, say.write_all(&frame)).await.unwrap().is_err() {
            break;
        }
        sent += 1;
    }
    drop(say);
    let _ = timeout(PATIENCE, hearing).await.unwrap().unwrap();
    sent
}

#[tokio::test]
async fn headers_that_never_end_break_their_connection_and_no_other() {
    let mut served = served(|_| {}).await;
    // Each has 3,000 headers of one letter.
    let more = [0, 1, b'a', 1, b'b'].repeat(3000);
    let endless = iter::once(frame(1, 0, 1, &headers()))
        .chain(iter::repeat_with(|| frame(9, 0, 1, &more)).take(100_000));
    let sent = flood(served.node.addr(), endless).await;
    assert!(sent < 2000, "{sent}");
    let _ = served.kv.get(get("absent")).await.unwrap();
}

#[tokio::test]
async fn requests_that_are_reset_as_they_come_leave_nothing_behind() {
    let mut served = served(|_| {}).await;
    let resets = (0..20_000).map(|number| {
        let stream = 2 * number + 1;
        // The headers are all; CANCEL.
        [frame(1, 4, stream, &headers()), frame(3, 0, stream, &8u32.to_be_bytes())].concat()
    });
    let _ = flood(served.node.addr(), resets).await;
    let _ = served.kv.get(get("absent")).await.unwrap();
    let ops = served.node.ops_addr();
    metric(ops, "flaredb_requests_in_flight 0").await;
    metric(ops, "flaredb_connections_open 1").await;
}

#[tokio::test]
async fn a_flood_of_empty_frames_breaks_its_connection() {
    let mut served = served(|_| {}).await;
    let empty =
        iter::once(frame(1, 4, 1, &headers())).chain(iter::repeat_with(|| frame(0, 0, 1, &[])).take(200_000));
    let sent = flood(served.node.addr(), empty).await;
    assert!(sent < 100_000, "{sent}");
    let _ = served.kv.get(get("absent")).await.unwrap();
    metric(served.node.ops_addr(), "flaredb_requests_in_flight 0").await;
}
