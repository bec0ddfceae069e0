//! Requests of many messages, on a small service of our own.

use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::ErrorKind;
use rdb_proto::pd::v1::pd_client::PdClient;
use rdb_proto::pd::v1::pd_server::{Pd, PdServer};
use rdb_proto::pd::v1::{self, TimestampsRequest, TimestampsResponse};
use rdb_server::NodeConfig;
use rdb_server::service::{Bound, Method, Reception, Server, Services, dialogue, unary};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::harness::{PATIENCE, channel, metric, read_error};

/// Counts up. A count of 0 panics, and one of 1 waits to be let go.
#[derive(Debug, Default)]
struct Counting {
    release: Arc<Notify>,
}

#[tonic::async_trait]
impl Pd for Counting {
    async fn cluster(
        &self,
        request: Request<v1::ClusterRequest>,
    ) -> Result<Response<v1::ClusterResponse>, Status> {
        let answer = v1::ClusterResponse { cluster_id: 7, server_version: String::new() };
        unary(request, async |_, _| Ok(answer)).await
    }

    async fn register(
        &self,
        _: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn heartbeat(
        &self,
        _: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn stores(&self, _: Request<v1::StoresRequest>) -> Result<Response<v1::StoresResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn allocate_ids(
        &self,
        _: Request<v1::AllocateIdsRequest>,
    ) -> Result<Response<v1::AllocateIdsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn locate(&self, _: Request<v1::LocateRequest>) -> Result<Response<v1::LocateResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type TimestampsStream = ReceiverStream<Result<TimestampsResponse, Status>>;

    async fn timestamps(
        &self,
        request: Request<tonic::Streaming<TimestampsRequest>>,
    ) -> Result<Response<Self::TimestampsStream>, Status> {
        let release = Arc::clone(&self.release);
        dialogue(request, |mut messages, answers| async move {
            let mut first = 1;
            while let Some(TimestampsRequest { count }) = messages.next().await? {
                assert!(count > 0, "told to");
                if count == 1 {
                    release.notified().await;
                }
                answers.send(TimestampsResponse { first, count }).await?;
                first += u64::from(count);
            }
            Ok(())
        })
    }
}

struct Served {
    server: Server,
    release: Arc<Notify>,
    client: PdClient<Channel>,
}

async fn served(configure: impl FnOnce(&mut NodeConfig)) -> Served {
    let mut config = NodeConfig::on_free_ports();
    configure(&mut config);
    let bound = Bound::new(config).await.unwrap();
    let counting = Counting::default();
    let release = Arc::clone(&counting.release);
    let mut services = Services::new();
    services.routes = Routes::new(PdServer::new(counting).max_decoding_message_size(usize::MAX));
    services.methods = vec![
        Method::read("/flaredb.pd.v1.Pd/Cluster", "cluster"),
        Method::read("/flaredb.pd.v1.Pd/Timestamps", "timestamps").received(Reception::Dialogue),
    ];
    services.names = vec!["flaredb.pd.v1.Pd"];
    services.descriptors = rdb_proto::FILE_DESCRIPTOR_SET;
    let server = bound.serve(services).await.unwrap();
    let client = PdClient::new(channel(server.addr()).await);
    Served { server, release, client }
}

struct Talk {
    say: mpsc::UnboundedSender<TimestampsRequest>,
    hear: tonic::Streaming<TimestampsResponse>,
}

impl Talk {
    async fn begin(client: &mut PdClient<Channel>) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let hear = client.timestamps(UnboundedReceiverStream::new(said)).await.unwrap().into_inner();
        Self { say, hear }
    }

    fn say(&self, count: u32) {
        self.say.send(TimestampsRequest { count }).unwrap();
    }

    async fn hear(&mut self) -> Result<Option<u64>, Status> {
        let answer = timeout(PATIENCE, self.hear.message()).await.unwrap();
        answer.map(|answer| answer.map(|answer| answer.first))
    }
}

#[tokio::test]
async fn a_dialogue_is_answered_while_it_goes_on_and_outlives_the_nodes_deadline() {
    let limit = Duration::from_millis(50);
    let mut served = served(|config| config.request_timeout = limit).await;
    let mut talk = Talk::begin(&mut served.client).await;
    let start = Instant::now();
    let mut expected = 1;
    while start.elapsed() < limit * 3 {
        talk.say(2);
        assert_eq!(talk.hear().await.unwrap(), Some(expected));
        expected += 2;
    }
    metric(served.server.ops_addr(), "flaredb_requests_in_flight 1").await;
    metric(served.server.ops_addr(), "flaredb_request_bytes_in_flight 0").await;
    drop(talk.say);
    assert_eq!(talk.hear.message().await.unwrap(), None);
    metric(served.server.ops_addr(), "flaredb_requests_in_flight 0").await;
    metric(served.server.ops_addr(), "flaredb_requests_total{method=\"timestamps\",code=\"ok\"} 1").await;
}

#[tokio::test]
async fn a_dialogue_ends_when_the_server_drains_and_does_not_hold_it_up() {
    let mut served = served(|config| config.drain_timeout = PATIENCE).await;
    let mut talk = Talk::begin(&mut served.client).await;
    talk.say(2);
    assert_eq!(talk.hear().await.unwrap(), Some(1));
    let start = Instant::now();
    let shutdown = tokio::spawn(served.server.shutdown());
    assert_eq!(read_error(&talk.hear().await.unwrap_err()), ErrorKind::Unavailable);
    shutdown.await.unwrap().unwrap();
    assert!(start.elapsed() < PATIENCE / 4, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_dialogue_ends_by_its_clients_deadline() {
    let mut served = served(|_| {}).await;
    let (say, said) = mpsc::unbounded_channel::<TimestampsRequest>();
    let mut request = Request::new(UnboundedReceiverStream::new(said));
    request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
    let mut hear = served.client.timestamps(request).await.unwrap().into_inner();
    let error = timeout(PATIENCE, hear.message()).await.unwrap().unwrap_err();
    assert_eq!(read_error(&error), ErrorKind::Unavailable);
    drop(say);
}

#[tokio::test]
async fn a_panic_in_a_dialogue_stays_with_it() {
    let mut served = served(|_| {}).await;
    let mut talk = Talk::begin(&mut served.client).await;
    talk.say(0);
    assert_eq!(read_error(&talk.hear().await.unwrap_err()), ErrorKind::Internal);
    metric(served.server.ops_addr(), "flaredb_panics_total 1").await;
    let cluster = served.client.cluster(v1::ClusterRequest {}).await.unwrap().into_inner();
    assert_eq!(cluster.cluster_id, 7);
}

#[tokio::test]
async fn each_message_of_a_dialogue_is_held_to_the_limit() {
    let mut served = served(|config| config.max_message_bytes = Some(2)).await;
    let mut talk = Talk::begin(&mut served.client).await;
    talk.say(2); // two bytes
    assert_eq!(talk.hear().await.unwrap(), Some(1));
    talk.say(200); // three
    assert_eq!(read_error(&talk.hear().await.unwrap_err()), ErrorKind::InvalidArgument);
    metric(served.server.ops_addr(), "flaredb_requests_refused_total 1").await;
    metric(served.server.ops_addr(), "flaredb_request_bytes_in_flight 0").await;
}

#[tokio::test]
async fn messages_wait_with_the_client_while_the_service_takes_none() {
    let mut served = served(|_| {}).await;
    let mut talk = Talk::begin(&mut served.client).await;
    // Waits; what comes after is more than the windows and the queues hold.
    talk.say(1);
    let many = 1 << 19;
    for _ in 0..many {
        talk.say(2);
    }
    let ops = served.server.ops_addr();
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < Duration::from_millis(500) {
        let (_, text) = crate::harness::http(ops, "GET", "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix("flaredb_request_bytes_in_flight "));
        seen = seen.max(line.unwrap().parse::<usize>().unwrap());
    }
    assert!((1..1 << 20).contains(&seen), "{seen}");
    served.release.notify_one();
    assert_eq!(talk.hear().await.unwrap(), Some(1));
    drop(talk);
    metric(ops, "flaredb_requests_in_flight 0").await;
    metric(ops, "flaredb_request_bytes_in_flight 0").await;
    served.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_method_that_is_not_in_the_table_is_refused() {
    let mut served = served(|_| {}).await;
    let error = served.client.locate(v1::LocateRequest::default()).await.unwrap_err();
    assert_eq!(read_error(&error), ErrorKind::Unsupported);
}
