use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::{Engine as _, ErrorKind, Key};
use rdb_proto::kv::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Request;

use crate::harness::{PATIENCE, gauge, get, metric, put, read_error, served, write_error};
use crate::raw::{RawClient, framed_put};

#[tokio::test]
async fn a_message_too_long_is_refused_as_certainly_not_applied() {
    let mut served = served(|config| config.max_message_bytes = Some(1 << 20)).await;
    // One that fits into the windows, and one that does not.
    for bytes in [(1 << 20) + 1, 40 << 20] {
        let status = served.kv.put(put("k", vec![0; bytes])).await.unwrap_err();
        assert_eq!(write_error(&status).kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(served.kv.get(get("k")).await.unwrap().into_inner().record, None);
    metric(served.node.ops_addr(), "flaredb_requests_refused_total 2").await;
}

#[tokio::test]
async fn the_longest_value_passes_and_one_byte_more_is_refused_by_the_engine() {
    let mut served = served(|_| {}).await;
    let limit = 4 << 20;
    let _ = served.kv.put(put("k", vec![7; limit])).await.unwrap();
    let record = served.kv.get(get("k")).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.value.len(), limit);
    let status = served.kv.put(put("k", vec![7; limit + 1])).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn an_answer_of_many_keys_that_fits_no_message_is_refused() {
    let mut served = served(|config| config.max_message_bytes = Some(100 << 10)).await;
    let _ = served.kv.put(put("k", vec![7; 64 << 10])).await.unwrap();
    let request = |keys| v1::GetManyRequest { keys: vec![Bytes::from_static(b"k"); keys] };
    assert_eq!(served.kv.get_many(request(1)).await.unwrap().into_inner().slots.len(), 1);
    let status = served.kv.get_many(request(2)).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::InvalidArgument);
    assert!(status.message().starts_with("answer does not fit into a message"), "{status:?}");
}

#[tokio::test]
async fn a_write_past_its_deadline_is_unknown_and_a_read_can_be_tried_again() {
    let mut served = served(|config| config.request_timeout = Duration::from_millis(50)).await;
    let status = served.kv.put(put("stuck", "v")).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Unknown);
    let status = served.kv.get(get("stuck")).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_clients_deadline_counts_where_it_is_sooner() {
    let mut served = served(|_| {}).await;
    let mut request = Request::new(put("stuck", "v"));
    request.set_timeout(Duration::from_millis(50));
    // The client's own timer runs too, and may be faster than the answer: ask the node what it did.
    let _ = served.kv.put(request).await.unwrap_err();
    let ops = served.node.ops_addr();
    let ended = ["unknown", "cancelled"].map(|code| format!("{{method=\"put\",code=\"{code}\"}} 1"));
    metric(ops, "flaredb_requests_in_flight 0").await;
    let (_, text) = crate::harness::http(ops, "GET", "/metrics").await;
    assert!(ended.iter().any(|line| text.contains(line)), "{text}");
}

#[tokio::test]
async fn a_malformed_deadline_is_an_invalid_argument() {
    let mut served = served(|_| {}).await;
    let mut request = Request::new(put("k", "v"));
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let status = served.kv.put(request).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn one_request_too_many_is_exhausted_and_not_applied() {
    let mut served = served(|config| config.max_in_flight = 1).await;
    let mut kv = served.kv.clone();
    let held = tokio::spawn(async move { kv.put(put("held", "v")).await });
    served.engine.waiting.notified().await;
    let status = served.kv.put(put("k", "v")).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Exhausted);
    let status = served.kv.scan(crate::harness::scan("")).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::Exhausted);
    served.engine.release.notify_one();
    let _ = held.await.unwrap().unwrap();
    assert_eq!(served.kv.get(get("k")).await.unwrap().into_inner().record, None);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_live_on() {
    let mut served = served(|config| config.max_connections = 1).await;
    let _ = served.kv.put(put("k", "v")).await.unwrap();
    let mut stream = TcpStream::connect(served.node.addr()).await.unwrap();
    assert!(is_closed(&mut stream).await);
    metric(served.node.ops_addr(), "flaredb_connections_refused_total 1").await;
    let _ = served.kv.get(get("k")).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_does_not_begin_is_closed() {
    let served = served(|config| config.handshake_timeout = Duration::from_millis(50)).await;
    for beginning in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(served.node.addr()).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
}

#[tokio::test]
async fn a_client_that_has_gone_silent_is_noticed() {
    let served = served(|config| {
        config.keepalive_interval = Duration::from_millis(50);
        config.keepalive_timeout = Duration::from_millis(50);
    })
    .await;
    let mut stream = TcpStream::connect(served.node.addr()).await.unwrap();
    // A whole beginning with an empty settings frame; after that, pings stay unanswered.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_and_no_request_is_lost() {
    let limit = Duration::from_millis(100);
    let served = served(|config| config.idle_timeout = limit).await;
    let ops = served.node.ops_addr();
    let mut raw = RawClient::connect(served.node.addr()).await;
    // Longer than that it is busy with one.
    let mut held = raw.put(None);
    held.send(framed_put("held"));
    held.end();
    served.engine.waiting.notified().await;
    // The harness's own has none.
    metric(ops, "flaredb_connections_idle_total 1").await;
    assert!(timeout(limit * 2, held.answer()).await.is_err());
    served.engine.release.notify_one();
    assert!(held.answer().await.is_none());

    // The client sends one before it hears that the node will close.
    let mut late = raw
        .deaf_while(async |raw| {
            metric(ops, "flaredb_connections_idle_total 2").await;
            let mut late = raw.put(None);
            late.send(framed_put("late"));
            late.end();
            late
        })
        .await;
    assert!(late.answer().await.is_none());
    assert!(served.engine.get(&Key::new("late").unwrap()).await.unwrap().is_some());
    raw.closed().await;
    metric(ops, "flaredb_connections_open 0").await;
}

#[tokio::test]
async fn answers_that_a_client_does_not_take_are_bounded() {
    let (value, limit) = (500 << 10, 2 << 20);
    let mut served = served(|config| {
        config.max_message_bytes = Some(1 << 20);
        config.max_unsent_bytes_per_connection = limit;
    })
    .await;
    let ops = served.node.ops_addr();
    let _ = served.kv.put(put("k", vec![7; value])).await.unwrap();
    let mut raw = RawClient::connect(served.node.addr()).await;
    let first = raw.get("k");
    // What flow control lets through is; from then on the client takes nothing of any answer.
    let start = Instant::now();
    while !(1..value).contains(&gauge(ops, "flaredb_answer_bytes_unsent").await) {
        assert!(start.elapsed() < PATIENCE);
    }
    let gets: Vec<_> = (0..19).map(|_| raw.get("k")).collect();
    // Three more fit.
    metric(ops, "flaredb_shed_total{reason=\"answer_bytes\"} 16").await;
    let unsent = gauge(ops, "flaredb_answer_bytes_unsent").await;
    assert!((1..=limit).contains(&unsent), "{unsent}");
    // Others are served.
    let _ = served.kv.get(get("k")).await.unwrap();
    drop((first, gets, raw));
    metric(ops, "flaredb_answer_bytes_unsent 0").await;
}

#[tokio::test]
async fn an_answer_without_room_is_exhausted_and_of_a_write_unknown() {
    let mut served = served(|config| {
        config.max_message_bytes = Some(1 << 20);
        config.max_unsent_bytes = 1; // and so the longest message
    })
    .await;
    let ops = served.node.ops_addr();
    let _ = served.kv.put(put("k", vec![7; 500 << 10])).await.unwrap();
    let mut raw = RawClient::connect(served.node.addr()).await;
    let unread = [raw.get("k"), raw.get("k")];
    metric(ops, "flaredb_requests_total{method=\"get\",code=\"ok\"} 2").await;

    let status = served.kv.get(get("k")).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::Exhausted);
    let absent = v1::condition::Condition::Absent(v1::condition::Absent {});
    let swap = v1::CompareAndSwapRequest {
        key: Bytes::from_static(b"k"),
        condition: Some(v1::Condition { condition: Some(absent) }),
        put: Some(v1::Put::default()),
        options: None,
    };
    let status = served.kv.compare_and_swap(swap).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Unknown);
    let _ = served.kv.put(put("small", "v")).await.unwrap();
    drop((unread, raw));
    metric(ops, "flaredb_answer_bytes_unsent 0").await;
    let _ = served.kv.get(get("k")).await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answers_is_cut_off() {
    let mut served = served(|config| config.stall_timeout = Duration::from_millis(200)).await;
    let ops = served.node.ops_addr();
    let _ = served.kv.put(put("k", vec![7; 1 << 20])).await.unwrap();
    let mut raw = RawClient::connect(served.node.addr()).await;
    let unread = raw.get("k");
    metric(ops, "flaredb_connections_stalled_total 1").await;
    raw.closed().await;
    metric(ops, "flaredb_answer_bytes_unsent 0").await;
    let _ = served.kv.get(get("k")).await.unwrap();
    drop(unread);
}

#[tokio::test]
async fn limits_are_among_the_metrics() {
    let served = served(|config| {
        config.max_connections = 7;
        config.idle_timeout = Duration::from_millis(1500);
    })
    .await;
    let ops = served.node.ops_addr();
    let message = rdb_proto::max_message_bytes(&served.engine.info().limits);
    for (name, limit) in [
        ("max_connections", "7.0"),
        ("max_ops_connections", "64.0"),
        ("max_in_flight", "8192.0"),
        ("max_message_bytes", &format!("{message}.0")),
        ("idle_timeout_seconds", "1.5"),
        ("scan_idle_seconds", "60.0"),
        ("max_scans", "128.0"),
    ] {
        metric(ops, &format!("flaredb_limit{{name=\"{name}\"}} {limit}")).await;
    }
}

#[tokio::test]
async fn what_is_shed_is_counted_by_reason() {
    let served = served(|config| {
        config.max_connections = 2;
        config.max_in_flight = 1;
        config.max_message_bytes = Some(100);
        config.max_in_flight_bytes = 105;
    })
    .await;
    let ops = served.node.ops_addr();
    let mut raw = RawClient::connect(served.node.addr()).await;
    assert!(is_closed(&mut TcpStream::connect(served.node.addr()).await.unwrap()).await);
    let _first = raw.put(None);
    let mut second = raw.put(None);
    assert_eq!(write_error(&second.answer().await.unwrap()).kind(), ErrorKind::Exhausted);
    for (reason, count) in [("connections", 1), ("requests", 1), ("request_bytes", 0), ("answer_bytes", 0)] {
        metric(ops, &format!("flaredb_shed_total{{reason=\"{reason}\"}} {count}")).await;
    }
}

/// Waits for the other side to close, reading what it may still send.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset closes too.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}
