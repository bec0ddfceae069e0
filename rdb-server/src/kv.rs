use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Batch, Engine, Error, ErrorKind, Key, Outcome, Record, Result, WriteOptions};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::kv_server::Kv;
use rdb_proto::number;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::gate::{Admission, unary, upload};
use crate::restore;
use crate::scan;
use crate::watch::{self, Watches};

/// The service `flaredb.kv.v1.Kv` over an engine.
#[derive(Debug)]
pub(crate) struct KvService<E: ?Sized> {
    engine: Arc<E>,
    max_message_bytes: usize,
    conflicts: Counter,
    scans: Gauge,
    watches: Watches,
}

impl<E: Engine + ?Sized> KvService<E> {
    pub(crate) fn new(engine: Arc<E>, max_message_bytes: usize, registry: &mut Registry) -> Self {
        let (conflicts, scans) = (Counter::default(), Gauge::default());
        registry.register("conflicts", "Writes answered with a conflict", conflicts.clone());
        registry.register("scans_open", "Scans being delivered", scans.clone());
        let watches = Watches::register(registry);
        Self { engine, max_message_bytes, conflicts, scans, watches }
    }

    /// How many scans are being delivered.
    pub(crate) const fn scans(&self) -> &Gauge {
        &self.scans
    }

    /// How many watches are being delivered.
    pub(crate) const fn watches(&self) -> &Gauge {
        &self.watches.open
    }

    /// Every write comes through here.
    async fn write_request<Q, A>(
        &self,
        mut request: Request<Q>,
        answer: impl FnOnce(Outcome) -> Result<A>,
    ) -> Result<Response<A>, Status>
    where
        (Batch, WriteOptions): TryFrom<Q, Error = Error>,
    {
        let admission = Admission::of(&mut request)?;
        let (batch, mut options) = match request.into_inner().try_into() {
            Ok(write) => write,
            Err(error) => return Err(admission.fail(error)),
        };
        // Without conditions there is nothing to wait for.
        let wait = options.wait.filter(|_| !batch.conditions().is_empty());
        let deadline = wait.map_or(admission.deadline(), |wait| admission.deadline_after(wait));
        // A write whose turn has not come by the deadline is better never begun than unknown, and a conflict is
        // better told in time.
        let remaining = deadline.remaining();
        options.timeout = Some(options.timeout.map_or(remaining, |timeout| timeout.min(remaining)));
        options.wait = options.wait.map(|wait| wait.min(deadline.in_time()));
        let work = async {
            let outcome = self.engine.write(batch, options).await?;
            if matches!(outcome, Outcome::Conflict(_)) {
                self.conflicts.inc();
            }
            answer(outcome)
        };
        if wait.is_some() && self.engine.info().capabilities.blocking {
            admission.wait();
            admission.answer_waiting(deadline, work).await
        } else {
            admission.answer(work).await
        }
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
        let answer = |outcome| match outcome {
            Outcome::Committed(commit) => Ok(commit.into()),
            // The engine broke C4; whether the put took effect cannot be told from such an answer.
            _ => Err(Error::new(ErrorKind::Unknown, "engine did not commit a put")),
        };
        self.write_request(request, answer).await
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

    type PipelineStream = ReceiverStream<Result<v1::PipelineResponse, Status>>;

    async fn pipeline(
        &self,
        _: Request<Streaming<v1::PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        Err(Status::unimplemented("being built"))
    }

    type WatchStream = ReceiverStream<Result<v1::WatchResponse, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        watch::open(&*self.engine, &self.watches, request).await.map(Response::new)
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
