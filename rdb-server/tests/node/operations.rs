use std::collections::HashSet;

use rdb_engine_api::ErrorKind;
use rdb_server::{NodeConfig, serve};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::harness::{channel, get, http, http_accepting, put, served, write_error};

async fn health(client: &mut HealthClient<Channel>, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn a_node_whose_engine_has_closed_itself_says_so_and_still_reads() {
    let mut served = served(|_| {}).await;
    let mut client = HealthClient::new(channel(served.node.addr()).await);
    let services = ["", "flaredb.kv.v1.Kv", "flaredb.kv.v1.Node"];
    for service in services {
        assert_eq!(health(&mut client, service).await, ServingStatus::Serving);
    }
    assert_eq!(http(served.node.ops_addr(), "GET", "/readyz").await, (200, "ready\n".to_owned()));

    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let status = served.kv.put(put("closed", "v")).await.unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Closed);
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::NotServing {}
    let ready = http(served.node.ops_addr(), "GET", "/readyz").await;
    assert_eq!(ready, (503, "engine is closed\n".to_owned()));
    assert_eq!(http(served.node.ops_addr(), "GET", "/livez").await.0, 200);
    let _ = served.kv.get(get("k")).await.unwrap();
}

#[tokio::test]
async fn health_turns_before_the_node_ends() {
    let served = served(|_| {}).await;
    let mut client = HealthClient::new(channel(served.node.addr()).await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let shutdown = tokio::spawn(served.node.shutdown());
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    shutdown.await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_lists_every_service_and_serves_its_comments() {
    let served = served(|_| {}).await;
    let mut client = ServerReflectionClient::new(channel(served.node.addr()).await);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("flaredb.kv.v1.Kv".to_owned())),
    ]);
    let answers = client.server_reflection_info(questions).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
    let [MessageResponse::ListServicesResponse(list), MessageResponse::FileDescriptorResponse(file)] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    let names: HashSet<&str> = list.service.iter().map(|service| &service.name[..]).collect();
    let expected = [
        "flaredb.kv.v1.Kv",
        "flaredb.kv.v1.Node",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    assert_eq!(names, HashSet::from(expected));
    let text = String::from_utf8_lossy(&file.file_descriptor_proto[0]);
    assert!(text.contains("Returns the record under a key."));
}

#[tokio::test]
async fn metrics_are_samples_of_numbers_and_count_what_happened() {
    let mut served = served(|_| {}).await;
    let _ = served.kv.put(put("k", "v")).await.unwrap();
    let accept = "application/openmetrics-text";
    let (status, text) = http_accepting(served.node.ops_addr(), "GET", "/metrics", accept).await;
    assert_eq!(status, 200);
    let mut samples = HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.starts_with("flaredb_") || series.starts_with("process_"), "{line}");
        assert!(samples.insert(series), "twice: {line}");
    }
    for line in [
        "flaredb_requests_total{method=\"put\",code=\"ok\"} 1",
        "flaredb_request_duration_seconds_count{method=\"put\",outcome=\"ok\"} 1",
        "flaredb_connections_open 1",
        "flaredb_scans_open 0",
    ] {
        assert!(text.lines().any(|other| other == line), "no `{line}` in\n{text}");
    }
    let build = concat!("flaredb_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",engine=\"mem\"");
    assert!(text.contains(build), "{text}");
}

#[tokio::test]
async fn the_operations_address_answers_nothing_else() {
    let served = served(|_| {}).await;
    assert_eq!(http(served.node.ops_addr(), "GET", "/").await.0, 404);
    assert_eq!(http(served.node.ops_addr(), "POST", "/livez").await.0, 405);
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = busy.local_addr().unwrap();
    for is_ops in [false, true] {
        let mut config = NodeConfig::on_free_ports();
        *(if is_ops { &mut config.ops_listen } else { &mut config.listen }) = address;
        let engine = rdb_engine_mem::open(&Default::default()).unwrap();
        let error = serve(std::sync::Arc::new(engine), config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn listening_beyond_loopback_has_to_be_spelled_out() {
    let mut config = NodeConfig::on_free_ports();
    config.listen.set_ip("0.0.0.0".parse().unwrap());
    let engine = std::sync::Arc::new(rdb_engine_mem::open(&Default::default()).unwrap());
    let error = serve(engine.clone(), config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    config.insecure = true;
    serve(engine, config).await.unwrap().shutdown().await.unwrap();
}
