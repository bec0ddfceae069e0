use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Batch, Engine, Error, Outcome, Result, WriteOptions};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::kv_server::Kv;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::gate::{Admission, unary, upload};
use crate::handlers::{Handlers, put_response};
use crate::pipeline::{self, Pipelines};
use crate::restore;
use crate::scan;
use crate::watch::{self, Watches};

/// The service `flaredb.kv.v1.Kv` over an engine.
#[derive(Debug)]
pub(crate) struct KvService<E: ?Sized> {
    handlers: Arc<Handlers<E>>,
    scans: Gauge,
    watches: Watches,
    pipelines: Pipelines,
}

impl<E: Engine + ?Sized> KvService<E> {
    pub(crate) fn new(engine: Arc<E>, max_message_bytes: usize, registry: &mut Registry) -> Self {
        let (conflicts, scans) = (Counter::default(), Gauge::default());
        registry.register("conflicts", "Writes answered with a conflict", conflicts.clone());
        registry.register("scans_open", "Scans being delivered", scans.clone());
        let watches = Watches::register(registry);
        let pipelines = Pipelines::register(registry);
        let handlers = Arc::new(Handlers::new(engine, max_message_bytes, conflicts));
        Self { handlers, scans, watches, pipelines }
    }

    /// How many scans are being delivered.
    pub(crate) const fn scans(&self) -> &Gauge {
        &self.scans
    }

    /// How many watches are being delivered.
    pub(crate) const fn watches(&self) -> &Gauge {
        &self.watches.open
    }

    async fn write_request<Q, A>(
        &self,
        mut request: Request<Q>,
        answer: impl FnOnce(Outcome) -> Result<A>,
    ) -> Result<Response<A>, Status>
    where
        (Batch, WriteOptions): TryFrom<Q, Error = Error>,
    {
        let admission = Admission::of(&mut request)?;
        let write = match self.handlers.prepare(request.into_inner(), &admission, Instant::now()) {
            Ok(write) => write,
            Err(error) => return Err(admission.fail(error)),
        };
        let waits_until = write.waits_until;
        let work = async { answer(self.handlers.write(write).await?) };
        match waits_until {
            Some(deadline) => admission.answer_waiting(deadline, work).await,
            None => admission.answer(work).await,
        }
    }
}

#[tonic::async_trait]
impl<E: Engine + ?Sized> Kv for KvService<E> {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        unary(request, |request, _| self.handlers.get(request)).await
    }

    async fn get_many(
        &self,
        request: Request<v1::GetManyRequest>,
    ) -> Result<Response<v1::GetManyResponse>, Status> {
        unary(request, |request, _| self.handlers.get_many(request)).await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::PutResponse>, Status> {
        self.write_request(request, put_response).await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        self.write_request(request, |outcome| Ok(outcome.into())).await
    }

    async fn compare_and_swap(
        &self,
        request: Request<v1::CompareAndSwapRequest>,
    ) -> Result<Response<v1::CompareAndSwapResponse>, Status> {
        self.write_request(request, |outcome| Ok(outcome.into())).await
    }

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.write_request(request, |outcome| Ok(outcome.into())).await
    }

    type ScanStream = ReceiverStream<Result<v1::ScanResponse, Status>>;

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        scan::open(self.handlers.engine(), &self.scans, request).await.map(Response::new)
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        unary(request, |request, _| self.handlers.open_session(request)).await
    }

    async fn resume_session(
        &self,
        request: Request<v1::ResumeSessionRequest>,
    ) -> Result<Response<v1::ResumeSessionResponse>, Status> {
        unary(request, |request, _| self.handlers.resume_session(request)).await
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        unary(request, |request, _| self.handlers.end_session(request)).await
    }

    async fn settle(
        &self,
        request: Request<v1::SettleRequest>,
    ) -> Result<Response<v1::SettleResponse>, Status> {
        unary(request, |request, _| self.handlers.settle(request)).await
    }

    async fn time(&self, request: Request<v1::TimeRequest>) -> Result<Response<v1::TimeResponse>, Status> {
        unary(request, |request, _| self.handlers.time(request)).await
    }

    type PipelineStream = ReceiverStream<Result<v1::PipelineResponse, Status>>;

    async fn pipeline(
        &self,
        request: Request<Streaming<v1::PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        pipeline::open(&self.handlers, &self.pipelines, request).map(Response::new)
    }

    type WatchStream = ReceiverStream<Result<v1::WatchResponse, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        watch::open(self.handlers.engine(), &self.watches, request).await.map(Response::new)
    }

    async fn restore(
        &self,
        request: Request<Streaming<v1::RestoreRequest>>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        let work = async |messages, _| Ok(restore::restore(self.handlers.engine(), messages).await?.into());
        upload(request, work).await
    }
}
