use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Batch, Engine, Error, ErrorKind, Key, Outcome, Record, Result, WriteOptions};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::kv_server::Kv;
use rdb_proto::{number, to_status};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::deadline::Deadline;
use crate::gate::{unary, upload};
use crate::restore;
use crate::scan;

/// The service `flaredb.kv.v1.Kv` over an engine.
#[derive(Debug)]
pub(crate) struct KvService<E: ?Sized> {
    engine: Arc<E>,
    max_message_bytes: usize,
    conflicts: Counter,
    scans: Gauge,
}

impl<E: Engine + ?Sized> KvService<E> {
    pub(crate) fn new(engine: Arc<E>, max_message_bytes: usize, registry: &mut Registry) -> Self {
        let (conflicts, scans) = (Counter::default(), Gauge::default());
        registry.register("conflicts", "Writes answered with a conflict", conflicts.clone());
        registry.register("scans_open", "Scans being delivered", scans.clone());
        Self { engine, max_message_bytes, conflicts, scans }
    }

    /// How many scans are being delivered.
    pub(crate) const fn scans(&self) -> &Gauge {
        &self.scans
    }

    /// Every write comes through here.
    async fn write_batch(
        &self,
        batch: Batch,
        mut options: WriteOptions,
        deadline: Deadline,
    ) -> Result<Outcome> {
        // A write whose turn has not come by the deadline is better never begun than unknown.
        let remaining = deadline.remaining();
        options.timeout = Some(options.timeout.map_or(remaining, |wait| wait.min(remaining)));
        let outcome = self.engine.write(batch, options).await?;
        if matches!(outcome, Outcome::Conflict(_)) {
            self.conflicts.inc();
        }
        Ok(outcome)
    }

    /// Handles a write whose answer is an outcome.
    async fn write_request<Q, A>(&self, request: Request<Q>) -> Result<Response<A>, Status>
    where
        (Batch, WriteOptions): TryFrom<Q, Error = Error>,
        A: From<Outcome>,
    {
        let work = async |request: Q, deadline| {
            let (batch, options) = request.try_into()?;
            Ok(self.write_batch(batch, options, deadline).await?.into())
        };
        unary(request, work).await
    }
}

#[tonic::async_trait]
impl<E: Engine + ?Sized> Kv for KvService<E> {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let work = async |request: v1::GetRequest, _| {
            let key = Key::try_from(request)?;
            Ok(self.engine.get(&key).await?.into())
        };
        unary(request, work).await
    }

    async fn get_many(
        &self,
        request: Request<v1::GetManyRequest>,
    ) -> Result<Response<v1::GetManyResponse>, Status> {
        let work = async |request: v1::GetManyRequest, _| {
            let keys = Vec::<Key>::try_from(request)?;
            let view = self.engine.get_many(&keys).await?;
            check_answer(&view.data, self.max_message_bytes)?;
            Ok(view.into())
        };
        unary(request, work).await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::PutResponse>, Status> {
        let work = async |request: v1::PutRequest, deadline| {
            let (batch, options) = request.try_into()?;
            match self.write_batch(batch, options, deadline).await? {
                Outcome::Committed(commit) => Ok(commit.into()),
                // The engine broke C4; whether the put took effect cannot be told from such an answer.
                _ => Err(Error::new(ErrorKind::Unknown, "engine did not commit a put")),
            }
        };
        unary(request, work).await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        self.write_request(request).await
    }

    async fn compare_and_swap(
        &self,
        request: Request<v1::CompareAndSwapRequest>,
    ) -> Result<Response<v1::CompareAndSwapResponse>, Status> {
        self.write_request(request).await
    }

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.write_request(request).await
    }

    type ScanStream = ReceiverStream<Result<v1::ScanResponse, Status>>;

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        scan::open(&*self.engine, &self.scans, request).await.map(Response::new)
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let work = async |request: v1::OpenSessionRequest, _| {
            let session = self.engine.open_session(request.into()).await?;
            Ok(v1::OpenSessionResponse { session: Some(session.into()) })
        };
        unary(request, work).await
    }

    async fn resume_session(
        &self,
        request: Request<v1::ResumeSessionRequest>,
    ) -> Result<Response<v1::ResumeSessionResponse>, Status> {
        let work = async |request: v1::ResumeSessionRequest, _| {
            let session = self.engine.resume_session(number("session", request.session)?).await?;
            Ok(v1::ResumeSessionResponse { session: session.map(Into::into) })
        };
        unary(request, work).await
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        let work = async |request: v1::EndSessionRequest, _| {
            self.engine.end_session(number("session", request.session)?).await?;
            Ok(v1::EndSessionResponse {})
        };
        unary(request, work).await
    }

    async fn settle(
        &self,
        request: Request<v1::SettleRequest>,
    ) -> Result<Response<v1::SettleResponse>, Status> {
        let work = async |request: v1::SettleRequest, _| {
            let missing =
                || Error::new(ErrorKind::InvalidArgument, "field is not set").with("field", "stamp");
            let stamp = request.stamp.ok_or_else(missing)?.try_into()?;
            Ok(self.engine.settle(stamp).await?.into())
        };
        unary(request, work).await
    }

    async fn time(&self, request: Request<v1::TimeRequest>) -> Result<Response<v1::TimeResponse>, Status> {
        let work = async |_: v1::TimeRequest, _| Ok(self.engine.time().await?.into());
        unary(request, work).await
    }

    type WatchStream = ReceiverStream<Result<v1::WatchResponse, Status>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let error = Error::new(ErrorKind::Unsupported, "node does not carry watches");
        Err(to_status(&error))
    }

    async fn restore(
        &self,
        request: Request<Streaming<v1::RestoreRequest>>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        let work = async |messages, _| Ok(restore::restore(&*self.engine, messages).await?.into());
        upload(request, work).await
    }
}

/// Refuses an answer that does not fit into a message. It is the request that has to change: trying again
/// would not help.
fn check_answer(records: &[Option<Record>], limit: usize) -> Result<()> {
    const PER_RECORD: usize = 64;
    let values = records.iter().map(|record| record.as_ref().map_or(0, |record| record.value.len()));
    let bytes = values.sum::<usize>() + records.len() * PER_RECORD;
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        "answer does not fit into a message; ask for fewer keys at once",
    )
    .with("bytes", bytes)
    .with("limit", limit))
}
