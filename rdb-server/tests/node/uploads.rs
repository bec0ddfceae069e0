//! Requests of many messages with one answer, on a service made by hand: no definition of ours has one.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::Request as HttpRequest;
use rdb_engine_api::ErrorKind;
use rdb_proto::pd::v1::{AllocateIdsResponse, TimestampsRequest};
use rdb_server::NodeConfig;
use rdb_server::service::{Bound, Method, Reception, Server, Services, upload};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::codegen::http::Response as HttpResponse;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::{ClientStreamingService, NamedService};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::harness::{PATIENCE, channel, metric, write_error};

/// Adds up the counts of a request's messages.
#[derive(Clone, Copy)]
struct Adding;

impl ClientStreamingService<TimestampsRequest> for Adding {
    type Response = AllocateIdsResponse;
    type Future = BoxFuture<'static, Result<Response<AllocateIdsResponse>, Status>>;

    fn call(&mut self, request: Request<Streaming<TimestampsRequest>>) -> Self::Future {
        Box::pin(upload(request, async |mut messages, _| {
            let mut count = 0;
            while let Some(message) = messages.next().await? {
                count += message.count;
            }
            Ok(AllocateIdsResponse { first: 0, count })
        }))
    }
}

impl NamedService for Adding {
    const NAME: &'static str = "tests.Adding";
}

impl Service<HttpRequest<tonic::body::Body>> for Adding {
    type Response = HttpResponse<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<tonic::body::Body>) -> Self::Future {
        let codec = ProstCodec::<AllocateIdsResponse, TimestampsRequest>::default();
        let service = *self;
        Box::pin(async move { Ok(tonic::server::Grpc::new(codec).client_streaming(service, request).await) })
    }
}

struct Upload {
    say: mpsc::UnboundedSender<TimestampsRequest>,
    answer: JoinHandle<Result<Response<AllocateIdsResponse>, Status>>,
}

async fn begin(configure: impl FnOnce(&mut NodeConfig)) -> (Server, Upload) {
    let mut config = NodeConfig::on_free_ports();
    configure(&mut config);
    let mut services = Services::new();
    services.routes = Routes::new(Adding);
    services.methods = vec![Method::write("/tests.Adding/Add", "add").received(Reception::Upload)];
    services.descriptors = rdb_proto::FILE_DESCRIPTOR_SET;
    let server = Bound::new(config).await.unwrap().serve(services).await.unwrap();
    let mut client = Grpc::new(channel(server.addr()).await);
    let (say, said) = mpsc::unbounded_channel();
    let answer = tokio::spawn(async move {
        client.ready().await.unwrap();
        let codec = ProstCodec::<TimestampsRequest, AllocateIdsResponse>::default();
        let path = PathAndQuery::from_static("/tests.Adding/Add");
        client.client_streaming(Request::new(UnboundedReceiverStream::new(said)), path, codec).await
    });
    say.send(TimestampsRequest { count: 2 }).unwrap();
    metric(server.ops_addr(), "flaredb_requests_in_flight 1").await;
    (server, Upload { say, answer })
}

#[tokio::test]
async fn an_upload_is_answered_at_its_end_even_where_the_server_drains_meanwhile() {
    let limit = Duration::from_millis(50);
    let (server, upload) = begin(|config| {
        config.request_timeout = limit;
        config.drain_timeout = PATIENCE;
    })
    .await;
    let shutdown = tokio::spawn(server.shutdown());
    let mut answer = upload.answer;
    assert!(timeout(limit * 3, &mut answer).await.is_err());
    upload.say.send(TimestampsRequest { count: 3 }).unwrap();
    drop(upload.say);
    assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().unwrap().into_inner().count, 5);
    shutdown.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_upload_that_never_ends_does_not_hold_up_the_end() {
    let limit = Duration::from_secs(1);
    let (server, upload) = begin(|config| config.drain_timeout = limit).await;
    let start = Instant::now();
    server.shutdown().await.unwrap();
    assert!(start.elapsed() < limit + limit / 2);
    let status = timeout(PATIENCE, upload.answer).await.unwrap().unwrap().unwrap_err();
    assert_eq!(write_error(&status).kind(), ErrorKind::Unknown);
}
