use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use rdb_engine_api::{Batch, Engine, Error, ErrorKind, Key, Outcome, Record, Result, WriteOptions};
use rdb_proto::kv::v1;
use rdb_proto::number;
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::gate::Admission;

/// What the methods of `Kv` do that have one request and one answer, however those travel: each by itself, or
/// many on a pipeline.
#[derive(Debug)]
pub(crate) struct Handlers<E: ?Sized> {
    engine: Arc<E>,
    max_message_bytes: usize,
    conflicts: Counter,
}

/// A write that is ready for the engine.
#[derive(Debug)]
pub(crate) struct Write {
    batch: Batch,
    options: WriteOptions,
    /// When it has to be answered that may wait for its conditions (C20).
    pub(crate) waits_until: Option<Deadline>,
}

impl<E: Engine + ?Sized> Handlers<E> {
    pub(crate) const fn new(engine: Arc<E>, max_message_bytes: usize, conflicts: Counter) -> Self {
        Self { engine, max_message_bytes, conflicts }
    }

    pub(crate) fn engine(&self) -> &E {
        &self.engine
    }

    pub(crate) async fn get(&self, request: v1::GetRequest) -> Result<v1::GetResponse> {
        let key = Key::try_from(request)?;
        Ok(self.engine.get(&key).await?.into())
    }

    pub(crate) async fn get_many(&self, request: v1::GetManyRequest) -> Result<v1::GetManyResponse> {
        let keys = Vec::<Key>::try_from(request)?;
        let view = self.engine.get_many(&keys).await?;
        check_answer(&view.data, self.max_message_bytes)?;
        Ok(view.into())
    }

    /// Every write comes through here. It is told its admission's deadline as of an instant, which is now or a
    /// moment ago. One that may wait for its conditions gives its place back.
    pub(crate) fn prepare<Q>(&self, request: Q, admission: &Admission, now: Instant) -> Result<Write>
    where
        (Batch, WriteOptions): TryFrom<Q, Error = Error>,
    {
        let (batch, mut options): (Batch, WriteOptions) = request.try_into()?;
        // Without conditions there is nothing to wait for.
        let wait = options.wait.filter(|_| !batch.conditions().is_empty());
        let deadline = wait.map_or(admission.deadline(), |wait| admission.deadline_after(wait));
        // A write whose turn has not come by the deadline is better never begun than unknown, and a conflict is
        // better told in time.
        let remaining = deadline.remaining_at(now);
        options.timeout = Some(options.timeout.map_or(remaining, |timeout| timeout.min(remaining)));
        options.wait = options.wait.map(|wait| wait.min(deadline.in_time(now)));
        let may_wait = wait.is_some() && self.engine.info().capabilities.blocking;
        if may_wait {
            admission.wait();
        }
        Ok(Write { batch, options, waits_until: may_wait.then_some(deadline) })
    }

    pub(crate) async fn write(&self, write: Write) -> Result<Outcome> {
        let outcome = self.engine.write(write.batch, write.options).await?;
        if matches!(outcome, Outcome::Conflict(_)) {
            self.conflicts.inc();
        }
        Ok(outcome)
    }

    pub(crate) async fn open_session(
        &self,
        request: v1::OpenSessionRequest,
    ) -> Result<v1::OpenSessionResponse> {
        let session = self.engine.open_session(request.into()).await?;
        Ok(v1::OpenSessionResponse { session: Some(session.into()) })
    }

    pub(crate) async fn resume_session(
        &self,
        request: v1::ResumeSessionRequest,
    ) -> Result<v1::ResumeSessionResponse> {
        let session = self.engine.resume_session(number("session", request.session)?).await?;
        Ok(v1::ResumeSessionResponse { session: session.map(Into::into) })
    }

    pub(crate) async fn end_session(&self, request: v1::EndSessionRequest) -> Result<v1::EndSessionResponse> {
        self.engine.end_session(number("session", request.session)?).await?;
        Ok(v1::EndSessionResponse {})
    }

    pub(crate) async fn settle(&self, request: v1::SettleRequest) -> Result<v1::SettleResponse> {
        let missing = || Error::new(ErrorKind::InvalidArgument, "field is not set").with("field", "stamp");
        let stamp = request.stamp.ok_or_else(missing)?.try_into()?;
        Ok(self.engine.settle(stamp).await?.into())
    }

    pub(crate) async fn time(&self, _: v1::TimeRequest) -> Result<v1::TimeResponse> {
        Ok(self.engine.time().await?.into())
    }
}

/// What is answered to a put.
///
/// # Errors
/// [`Unknown`](ErrorKind::Unknown) where the engine broke C4: whether the put took effect cannot be told from such
/// an outcome.
pub(crate) fn put_response(outcome: Outcome) -> Result<v1::PutResponse> {
    match outcome {
        Outcome::Committed(commit) => Ok(commit.into()),
        _ => Err(Error::new(ErrorKind::Unknown, "engine did not commit a put")),
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
