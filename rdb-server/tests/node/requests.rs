use bytes::Bytes;
use rdb_engine_api::{Engine as _, EngineInfo, ErrorKind, Key};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::node_client::NodeClient;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;

use crate::harness::{channel, get, metric, put, read_error, served, write_error};

#[tokio::test]
async fn what_was_put_is_got_and_what_was_deleted_is_not() {
    let mut served = served(|_| {}).await;
    let commit = served.kv.put(put("k", "v")).await.unwrap().into_inner().commit.unwrap();
    let record = served.kv.get(get("k")).await.unwrap().into_inner().record.unwrap();
    assert_eq!((&record.value[..], record.version), (&b"v"[..], commit.version));

    let delete = v1::DeleteRequest { key: Bytes::from_static(b"k"), options: None };
    let outcome = served.kv.delete(delete.clone()).await.unwrap().into_inner().outcome.unwrap();
    assert!(matches!(outcome.outcome, Some(v1::outcome::Outcome::Committed(_))));
    let outcome = served.kv.delete(delete).await.unwrap().into_inner().outcome.unwrap();
    assert!(matches!(outcome.outcome, Some(v1::outcome::Outcome::Unchanged(_))));
    assert_eq!(served.kv.get(get("k")).await.unwrap().into_inner().record, None);
}

#[tokio::test]
async fn a_conflict_is_an_answer_that_holds_the_current_record() {
    let mut served = served(|_| {}).await;
    let commit = served.kv.put(put("k", "old")).await.unwrap().into_inner().commit.unwrap();
    let absent = v1::condition::Condition::Absent(v1::condition::Absent {});
    let swap = v1::CompareAndSwapRequest {
        key: Bytes::from_static(b"k"),
        condition: Some(v1::Condition { condition: Some(absent) }),
        put: Some(v1::Put { value: Bytes::from_static(b"new"), ttl_ms: None }),
        options: None,
    };
    let outcome = served.kv.compare_and_swap(swap).await.unwrap().into_inner().outcome.unwrap();
    let Some(v1::outcome::Outcome::Conflict(conflict)) = outcome.outcome else { panic!("{outcome:?}") };
    let current = conflict.current.unwrap();
    assert_eq!((&current.value[..], current.version), (&b"old"[..], commit.version));
    metric(served.node.ops_addr(), "flaredb_conflicts_total 1").await;
}

#[tokio::test]
async fn many_keys_are_read_at_once() {
    let mut served = served(|_| {}).await;
    let _ = served.kv.put(put("b", "v")).await.unwrap();
    let keys = ["a", "b"].map(|key| Bytes::from_static(key.as_bytes())).into();
    let answer = served.kv.get_many(v1::GetManyRequest { keys }).await.unwrap().into_inner();
    let found: Vec<bool> = answer.slots.iter().map(|slot| slot.record.is_some()).collect();
    assert_eq!(found, [false, true]);
}

#[tokio::test]
async fn what_the_engine_does_not_declare_is_refused() {
    let mut served = served(|_| {}).await;
    let mut synced = put("k", "v");
    synced.options = Some(v1::WriteOptions { durability: 3, ..Default::default() });
    let status = served.kv.put(synced).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Unsupported);
    assert_eq!(served.engine.get(&Key::new("k").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn a_method_of_the_future_is_certainly_not_applied() {
    let served = served(|_| {}).await;
    for path in ["/flaredb.kv.v1.Kv/Append", "/flaredb.kv.v2.Kv/Put"] {
        let mut client = Grpc::new(channel(served.node.addr()).await);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<v1::PutRequest, v1::PutResponse>::default();
        let path = PathAndQuery::from_static(path);
        let status = client.unary(Request::new(put("k", "v")), path, codec).await.unwrap_err();
        assert_eq!(write_error(&status).kind(), ErrorKind::Unsupported);
    }
    metric(served.node.ops_addr(), "flaredb_requests_refused_total 2").await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_an_invalid_argument() {
    let served = served(|_| {}).await;
    let mut client = Grpc::new(channel(served.node.addr()).await);
    client.ready().await.unwrap();
    // The field `key` as a message of its own, in which a string is not UTF-8 text, is not a put.
    let codec = tonic_prost::ProstCodec::<v1::Stamp, v1::PutResponse>::default();
    let path = PathAndQuery::from_static("/flaredb.kv.v1.Kv/Put");
    let request = Request::new(v1::Stamp { session: 1, sequence: 1, ..Default::default() });
    let status = client.unary(request, path, codec).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_panic_stays_with_the_request_that_met_it() {
    let mut served = served(|_| {}).await;
    let status = served.kv.put(put("panic", "v")).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Unknown);
    let status = served.kv.get(get("panic")).await.unwrap_err();
    assert_eq!(read_error(&status), ErrorKind::Internal);
    let _ = served.kv.put(put("k", "v")).await.unwrap();
    metric(served.node.ops_addr(), "flaredb_panics_total 2").await;
    metric(served.node.ops_addr(), "flaredb_requests_in_flight 0").await;
}

#[tokio::test]
async fn a_request_whose_client_left_is_counted_as_cancelled() {
    let mut served = served(|_| {}).await;
    let mut kv = served.kv.clone();
    let request = tokio::spawn(async move { kv.get(get("stuck")).await });
    served.engine.waiting.notified().await;
    request.abort();
    metric(served.node.ops_addr(), "flaredb_requests_total{method=\"get\",code=\"cancelled\"} 1").await;
    let _ = served.kv.get(get("k")).await.unwrap();
}

#[tokio::test]
async fn info_tells_all_about_the_engine_and_status_about_the_node() {
    let served = served(|_| {}).await;
    let mut node = NodeClient::new(channel(served.node.addr()).await);
    let info = node.info(v1::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(EngineInfo::try_from(info.engine.unwrap()).unwrap(), *served.engine.info());
    assert_eq!(info.server_version, env!("CARGO_PKG_VERSION"));
    let needed = rdb_proto::max_message_bytes(&served.engine.info().limits);
    assert_eq!(info.max_message_bytes, needed as u64);

    let status = node.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.state(), v1::NodeState::Serving);
    assert_eq!((status.open_connections, status.open_requests, status.open_scans), (2, 1, 0));
}
