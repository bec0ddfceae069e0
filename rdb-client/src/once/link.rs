use std::num::NonZeroU64;

use rdb_engine_api::{Outcome, Result, Session, SessionOptions, Stamp};
use rdb_proto::kv::v1;

use crate::call::Deadline;
use crate::way::Way;

/// The way to the node: asks once, and repeats nothing.
#[derive(Clone, Debug)]
pub(crate) struct Link(Way);

impl Link {
    pub(crate) const fn new(way: Way) -> Self {
        Self(way)
    }

    /// An answer that does not come leaves a session behind that nobody knows; it ends when it was idle.
    pub(crate) async fn open(&self, options: SessionOptions, deadline: Deadline) -> Result<Session> {
        self.0.ask(v1::OpenSessionRequest::from(options), deadline).await?.try_into()
    }

    pub(crate) async fn resume(&self, session: NonZeroU64, deadline: Deadline) -> Result<Option<Session>> {
        let message = v1::ResumeSessionRequest { session: session.get() };
        self.0.ask(message, deadline).await?.session.map(TryInto::try_into).transpose()
    }

    pub(crate) async fn end(&self, session: NonZeroU64, deadline: Deadline) -> Result<()> {
        let message = v1::EndSessionRequest { session: session.get() };
        self.0.ask(message, deadline).await.map(|_| ())
    }

    pub(crate) async fn settle(&self, stamp: Stamp, deadline: Deadline) -> Result<Option<Outcome>> {
        self.0.ask(v1::SettleRequest { stamp: Some(stamp.into()) }, deadline).await?.try_into()
    }

    /// The message is there again for the next attempt, unless it brought an outcome.
    pub(crate) async fn write(&self, message: &mut v1::WriteRequest, deadline: Deadline) -> Result<Outcome> {
        self.0.ask_with(message, deadline, TryInto::try_into).await
    }
}
