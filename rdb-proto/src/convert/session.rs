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

#[cfg(test)]
mod tests {
    use super::*;
    use rdb_engine_api::{Commit, Durability, Version};

    const ONE: NonZeroU64 = NonZeroU64::MIN;

    #[test]
    fn a_session_and_its_options_survive_the_wire() {
        let session = Session::new(ONE, NonZeroU64::MAX, ONE, Duration::from_millis(7));
        assert_eq!(Session::try_from(v1::Session::from(session)).unwrap(), session);
        let response = v1::OpenSessionResponse { session: Some(session.into()) };
        assert_eq!(Session::try_from(response).unwrap(), session);
        for options in [SessionOptions::default(), SessionOptions::default().idle(Duration::from_millis(9))] {
            let request = v1::OpenSessionRequest::from(options.clone());
            assert_eq!(SessionOptions::from(request), options);
        }
    }

    #[test]
    fn an_idle_time_is_never_shortened_to_none() {
        let options = SessionOptions::default().idle(Duration::from_nanos(1));
        assert_eq!(v1::OpenSessionRequest::from(options).idle_ms, Some(1));
    }

    #[test]
    fn a_stamp_survives_the_wire() {
        let stamp = Stamp { session: ONE, life: NonZeroU64::MAX, sequence: ONE, acknowledged: 0 };
        assert_eq!(Stamp::try_from(v1::Stamp::from(stamp)).unwrap(), stamp);
        let stamp = Stamp { session: NonZeroU64::MAX, life: ONE, sequence: ONE, acknowledged: u64::MAX };
        assert_eq!(Stamp::try_from(v1::Stamp::from(stamp)).unwrap(), stamp);
    }

    #[test]
    fn a_stamp_of_nothing_is_an_invalid_argument() {
        let stamp = v1::Stamp { session: 1, sequence: 1, life: 1, acknowledged: 0 };
        for stamp in [
            v1::Stamp { session: 0, ..stamp },
            v1::Stamp { sequence: 0, ..stamp },
            v1::Stamp { life: 0, ..stamp },
        ] {
            assert_eq!(Stamp::try_from(stamp).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        assert_eq!(number("session", 0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn an_answer_without_a_session_that_can_be_is_malformed() {
        let session = v1::Session { id: 1, life: 1, window: 1, idle_ms: 1 };
        for session in [
            None,
            Some(v1::Session { id: 0, ..session }),
            Some(v1::Session { life: 0, ..session }),
            Some(v1::Session { window: 0, ..session }),
        ] {
            let error = Session::try_from(v1::OpenSessionResponse { session }).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
    }

    #[test]
    fn what_became_of_a_write_survives_the_wire() {
        let commit = Commit { version: Version::MIN, durability: Durability::Synced };
        for outcome in [None, Some(Outcome::Committed(commit)), Some(Outcome::Unchanged(commit))] {
            let response = v1::SettleResponse::from(outcome.clone());
            assert_eq!(Option::<Outcome>::try_from(response).unwrap(), outcome);
        }
        // An outcome that is none must not read as never executed.
        let response = v1::SettleResponse { outcome: Some(v1::Outcome { outcome: None }) };
        assert_eq!(Option::<Outcome>::try_from(response).unwrap_err().kind(), ErrorKind::Internal);
    }
}
