use std::num::NonZeroU64;
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Outcome, Session, SessionOptions, Stamp};

use super::malformed;
use super::record::to_ms;
use super::write::to_outcome;
use crate::kv::v1;

impl From<Stamp> for v1::Stamp {
    fn from(stamp: Stamp) -> Self {
        Self {
            session: stamp.session.get(),
            sequence: stamp.sequence.get(),
            life: stamp.life.get(),
            acknowledged: stamp.acknowledged,
        }
    }
}

impl TryFrom<v1::Stamp> for Stamp {
    type Error = Error;

    fn try_from(stamp: v1::Stamp) -> Result<Self, Error> {
        Ok(Self {
            session: number("stamp.session", stamp.session)?,
            life: number("stamp.life", stamp.life)?,
            sequence: number("stamp.sequence", stamp.sequence)?,
            acknowledged: stamp.acknowledged,
        })
    }
}

/// A number of a request that is never 0.
pub fn number(field: &str, number: u64) -> Result<NonZeroU64, Error> {
    let zero = || Error::new(ErrorKind::InvalidArgument, "number is never 0").with("field", field);
    NonZeroU64::new(number).ok_or_else(zero)
}

impl From<SessionOptions> for v1::OpenSessionRequest {
    fn from(options: SessionOptions) -> Self {
        Self { idle_ms: options.idle.map(to_ms) }
    }
}

impl From<v1::OpenSessionRequest> for SessionOptions {
    fn from(request: v1::OpenSessionRequest) -> Self {
        let mut options = Self::default();
        options.idle = request.idle_ms.map(Duration::from_millis);
        options
    }
}

impl From<Session> for v1::Session {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.get(),
            life: session.life.get(),
            window: session.window.get(),
            idle_ms: to_ms(session.idle),
        }
    }
}

impl TryFrom<v1::Session> for Session {
    type Error = Error;

    fn try_from(session: v1::Session) -> Result<Self, Error> {
        let number = |field, number| NonZeroU64::new(number).ok_or_else(|| malformed(field));
        Ok(Self::new(
            number("session.id", session.id)?,
            number("session.life", session.life)?,
            number("session.window", session.window)?,
            Duration::from_millis(session.idle_ms),
        ))
    }
}

impl TryFrom<v1::OpenSessionResponse> for Session {
    type Error = Error;

    fn try_from(response: v1::OpenSessionResponse) -> Result<Self, Error> {
        response.session.ok_or_else(|| malformed("session"))?.try_into()
    }
}

impl From<Option<Outcome>> for v1::SettleResponse {
    fn from(outcome: Option<Outcome>) -> Self {
        Self { outcome: outcome.map(Into::into) }
    }
}

impl TryFrom<v1::SettleResponse> for Option<Outcome> {
    type Error = Error;

    fn try_from(response: v1::SettleResponse) -> Result<Self, Error> {
        response.outcome.map(|outcome| to_outcome(Some(outcome))).transpose()
    }
}
