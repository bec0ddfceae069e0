use std::sync::Arc;

use futures::FutureExt as _;
use rdb_engine_api::Result;
use rdb_proto::pd::v1;
use rdb_proto::pd::v1::pd_server::Pd;
use rdb_server::service::{Messages, Method, Reception, dialogue, unary};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::Oracle;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::timestamp::MAX_COUNT;

/// The methods of the service. What is cut off of a heartbeat or a request for timestamps has changed nothing
/// that matters to anyone.
pub(crate) const METHODS: [Method; 7] = [
    Method::read("/flaredb.pd.v1.Pd/Cluster", "cluster"),
    Method::write("/flaredb.pd.v1.Pd/Register", "register"),
    Method::read("/flaredb.pd.v1.Pd/Heartbeat", "heartbeat"),
    Method::read("/flaredb.pd.v1.Pd/Stores", "stores"),
    Method::write("/flaredb.pd.v1.Pd/AllocateIds", "allocate_ids"),
    Method::read("/flaredb.pd.v1.Pd/Locate", "locate"),
    Method::read("/flaredb.pd.v1.Pd/Timestamps", "timestamps").received(Reception::Dialogue),
];

/// The most requests for timestamps of one client that are answered together.
const MAX_GROUP: usize = 256;

/// The service `flaredb.pd.v1.Pd`.
#[derive(Debug)]
pub(crate) struct PdService {
    oracle: Arc<Oracle>,
    registry: Arc<Registry>,
    metrics: Metrics,
}

impl PdService {
    pub(crate) const fn new(oracle: Arc<Oracle>, registry: Arc<Registry>, metrics: Metrics) -> Self {
        Self { oracle, registry, metrics }
    }
}

#[tonic::async_trait]
impl Pd for PdService {
    async fn cluster(
        &self,
        request: Request<v1::ClusterRequest>,
    ) -> Result<Response<v1::ClusterResponse>, Status> {
        let work = async |v1::ClusterRequest {}, _| {
            Ok(v1::ClusterResponse {
                cluster_id: self.registry.cluster_id(),
                server_version: env!("CARGO_PKG_VERSION").to_owned(),
            })
        };
        unary(request, work).await
    }

    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let work = async |request: v1::RegisterRequest, _| {
            let store_id = self.registry.register(request).await?;
            self.metrics.registrations.inc();
            Ok(v1::RegisterResponse {
                cluster_id: self.registry.cluster_id(),
                store_id,
                heartbeat_interval_ms: self.registry.heartbeat_interval_ms(),
            })
        };
        unary(request, work).await
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let work = async |request: v1::HeartbeatRequest, _| {
            self.registry.heartbeat(request).await?;
            self.metrics.heartbeats.inc();
            Ok(v1::HeartbeatResponse { heartbeat_interval_ms: self.registry.heartbeat_interval_ms() })
        };
        unary(request, work).await
    }

    async fn stores(
        &self,
        request: Request<v1::StoresRequest>,
    ) -> Result<Response<v1::StoresResponse>, Status> {
        let work = async |v1::StoresRequest {}, _| {
            let stores = self.registry.stores().await?;
            Ok(v1::StoresResponse { cluster_id: self.registry.cluster_id(), stores })
        };
        unary(request, work).await
    }

    async fn allocate_ids(
        &self,
        request: Request<v1::AllocateIdsRequest>,
    ) -> Result<Response<v1::AllocateIdsResponse>, Status> {
        let work = async |v1::AllocateIdsRequest { count }, _| {
            let first = self.registry.allocate_ids(count).await?;
            self.metrics.ids.inc_by(count.into());
            Ok(v1::AllocateIdsResponse { first, count })
        };
        unary(request, work).await
    }

    async fn locate(
        &self,
        request: Request<v1::LocateRequest>,
    ) -> Result<Response<v1::LocateResponse>, Status> {
        unary(request, async |request: v1::LocateRequest, _| self.registry.locate(request).await).await
    }

    type TimestampsStream = ReceiverStream<Result<v1::TimestampsResponse, Status>>;

    async fn timestamps(
        &self,
        request: Request<Streaming<v1::TimestampsRequest>>,
    ) -> Result<Response<Self::TimestampsStream>, Status> {
        let oracle = Arc::clone(&self.oracle);
        dialogue(request, |mut messages, answers| async move {
            let mut next = messages.next().await?;
            while let Some(v1::TimestampsRequest { count }) = next {
                let (counts, then) = group(count, &mut messages);
                let range = oracle.timestamps(counts.iter().sum()).await?;
                let mut first = range.start;
                for count in counts {
                    answers.send(v1::TimestampsResponse { first, count }).await?;
                    first += u64::from(count);
                }
                next = match then {
                    Some(then) => then?,
                    None => messages.next().await?,
                };
            }
            Ok(())
        })
    }
}

/// Takes the requests that wait already, as many as can be answered together, and the one behind them where it is
/// there too: it may be the end of the stream, or an error.
fn group(
    first: u32,
    messages: &mut Messages<v1::TimestampsRequest>,
) -> (Vec<u32>, Option<Result<Option<v1::TimestampsRequest>>>) {
    let mut counts = vec![first];
    let mut sum = first;
    // A count of 0 is answered with an error, and not together with others.
    while first > 0 && counts.len() < MAX_GROUP {
        match messages.next().now_or_never() {
            Some(Ok(Some(v1::TimestampsRequest { count })))
                if count > 0 && sum.saturating_add(count) <= MAX_COUNT =>
            {
                counts.push(count);
                sum += count;
            }
            then => return (counts, then),
        }
    }
    (counts, None)
}
