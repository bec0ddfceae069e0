use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use rdb_engine_api::Engine;
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::node_server::Node;
use tonic::{Request, Response, Status};

use crate::gate::{Admission, unary};
use crate::state::Readiness;

/// The service `flaredb.kv.v1.Node`.
#[derive(Debug)]
pub(crate) struct NodeService<E: ?Sized> {
    engine: Arc<E>,
    max_message_bytes: usize,
    scans: Gauge,
    watches: Gauge,
}

impl<E: Engine + ?Sized> NodeService<E> {
    pub(crate) const fn new(engine: Arc<E>, max_message_bytes: usize, scans: Gauge, watches: Gauge) -> Self {
        Self { engine, max_message_bytes, scans, watches }
    }
}

#[tonic::async_trait]
impl<E: Engine + ?Sized> Node for NodeService<E> {
    async fn info(&self, request: Request<v1::InfoRequest>) -> Result<Response<v1::InfoResponse>, Status> {
        let work = async |v1::InfoRequest {}, _| {
            Ok(v1::InfoResponse {
                engine: Some(self.engine.info().into()),
                server_version: env!("CARGO_PKG_VERSION").to_owned(),
                max_message_bytes: self.max_message_bytes as u64,
            })
        };
        unary(request, work).await
    }

    async fn status(
        &self,
        mut request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let admission = Admission::of(&mut request)?;
        let state = admission.state();
        let work = async {
            let count = |number: i64| u64::try_from(number).unwrap_or(0);
            let readiness = match state.readiness() {
                Readiness::Ready => v1::NodeState::Serving,
                Readiness::Draining => v1::NodeState::Draining,
                Readiness::EngineClosed => v1::NodeState::EngineClosed,
            };
            Ok(v1::StatusResponse {
                state: readiness.into(),
                uptime_ms: u64::try_from(state.uptime().as_millis()).unwrap_or(u64::MAX),
                open_connections: count(state.metrics.connections.get()),
                open_requests: count(state.open_requests()),
                open_scans: count(self.scans.get()),
                open_watches: count(self.watches.get()),
            })
        };
        admission.answer(work).await
    }
}
