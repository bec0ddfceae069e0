use std::time::Duration;

use hyper::HeaderMap;
use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::time::Instant;

/// gRPC's header for how long the client waits for an answer.
const HEADER: &str = "grpc-timeout";

/// The most time kept for an answer to be made and to arrive.
const MAX_MARGIN: Duration = Duration::from_millis(500);

/// The instant at which a request has to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A time from now, which is one of the node's own and so within its bounds.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What the client asked for.
    pub(crate) fn requested(headers: &HeaderMap) -> Result<Option<Self>> {
        // A timeout beyond what the clock can hold is none.
        Ok(requested(headers)?.and_then(|timeout| Instant::now().checked_add(timeout)).map(Self))
    }

    /// A time from an instant, if the clock can hold it.
    pub(crate) fn from(instant: Instant, time: Duration) -> Option<Self> {
        instant.checked_add(time).map(Self)
    }

    pub(crate) const fn instant(self) -> Instant {
        self.0
    }

    /// The time until then; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.remaining_at(Instant::now())
    }

    /// The time from an instant until then.
    pub(crate) fn remaining_at(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// The time from an instant until then, less what an answer may need to be on time itself.
    pub(crate) fn in_time(self, now: Instant) -> Duration {
        let remaining = self.remaining_at(now);
        remaining - (remaining / 10).min(MAX_MARGIN)
    }

    /// Waits for it.
    pub async fn passed(self) {
        tokio::time::sleep_until(self.0).await;
    }
}

/// Reads the header: up to eight digits and a unit.
fn requested(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let malformed = || {
        Error::new(
            ErrorKind::InvalidArgument,
            "grpc-timeout is not up to eight digits and one of H, M, S, m, u, n",
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let number: u64 = digits.parse().map_err(|_| malformed())?;
    Ok(Some(match &text[digits.len()..] {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(malformed()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<Duration>> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, value.parse().unwrap());
        requested(&headers)
    }

    #[test]
    fn every_unit_is_understood() {
        for (value, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(read(value).unwrap(), Some(expected));
        }
        assert_eq!(requested(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_malformed_timeout_is_an_invalid_argument() {
        for value in ["", "S", "1", "1s", "1SS", "-1S", "1.5S", "123456789S", "1 S"] {
            assert_eq!(read(value).unwrap_err().kind(), ErrorKind::InvalidArgument, "`{value}`");
        }
    }
}
