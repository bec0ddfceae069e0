use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::ErrorKind;
use rdb_proto::kv::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Request;

use crate::harness::{PATIENCE, get, metric, put, read_error, served, write_error};

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

/// Waits for the other side to close, reading what it may still send.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset closes too.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}
