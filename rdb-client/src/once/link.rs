use std::num::NonZeroU64;

use rdb_engine_api::{Outcome, Result, Session, SessionOptions, Stamp};
use rdb_proto::Call;
use rdb_proto::kv::v1::{self, kv_client::KvClient};

use crate::call::{Deadline, Tell, attempt};
use crate::wire::Wire;

/// The way to the node: asks once, and repeats nothing.
#[derive(Clone, Debug)]
pub(crate) struct Link(KvClient<Wire>);

impl Link {
    pub(crate) const fn new(kv: KvClient<Wire>) -> Self {
        Self(kv)
    }

    /// An answer that does not come leaves a session behind that nobody knows; it ends when it was idle.
    pub(crate) async fn open(&self, options: SessionOptions, deadline: Deadline) -> Result<Session> {
        let mut kv = self.0.clone();
        let send = |request| async move { kv.open_session(request).await };
        let message = v1::OpenSessionRequest::from(options);
        attempt(Call::Read, deadline, Tell::Deadline, message, send).await?.try_into()
    }

    pub(crate) async fn resume(&self, session: NonZeroU64, deadline: Deadline) -> Result<Option<Session>> {
        let mut kv = self.0.clone();
        let send = |request| async move { kv.resume_session(request).await };
        let message = v1::ResumeSessionRequest { session: session.get() };
        let answer = attempt(Call::Read, deadline, Tell::Deadline, message, send).await?;
        answer.session.map(TryInto::try_into).transpose()
    }

    pub(crate) async fn end(&self, session: NonZeroU64, deadline: Deadline) -> Result<()> {
        let mut kv = self.0.clone();
        let send = |request| async move { kv.end_session(request).await };
        let message = v1::EndSessionRequest { session: session.get() };
        attempt(Call::Read, deadline, Tell::Deadline, message, send).await.map(|_| ())
    }

    pub(crate) async fn settle(&self, stamp: Stamp, deadline: Deadline) -> Result<Option<Outcome>> {
        let mut kv = self.0.clone();
        let send = |request| async move { kv.settle(request).await };
        let message = v1::SettleRequest { stamp: Some(stamp.into()) };
        attempt(Call::Read, deadline, Tell::Deadline, message, send).await?.try_into()
    }

    pub(crate) async fn write(&self, message: v1::WriteRequest, deadline: Deadline) -> Result<Outcome> {
        let mut kv = self.0.clone();
        let send = |request| async move { kv.write(request).await };
        attempt(Call::Write, deadline, Tell::Deadline, message, send).await?.try_into()
    }
}
