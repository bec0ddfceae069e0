use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::{Call, from_status};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status, TimeoutExpired};
use tracing::Instrument as _;

use crate::flight::Flight;
use crate::request::{self, CURRENT};
use crate::retry::RetryPolicy;

/// gRPC's metadata for how long the answer is awaited.
const TIMEOUT: &str = "grpc-timeout";

/// When a request must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        // Further away than anyone waits, and near enough for every clock.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        Self(Instant::now() + timeout.min(FAR))
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// The milliseconds that are left, rounded up.
    pub(crate) fn left_ms(self) -> u64 {
        self.left_ms_at(Instant::now())
    }

    /// The milliseconds that are left at this instant, rounded up.
    pub(crate) fn left_ms_at(self, now: Instant) -> u64 {
        let left = self.0.saturating_duration_since(now);
        u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// The deadline of one attempt, where there is a use in another after it: half of what is left beyond the
    /// time that the answer takes anyway.
    pub(crate) fn share(self, taken_anyway: Duration) -> Self {
        /// Less is not worth dividing.
        const LEAST: Duration = Duration::from_millis(100);
        let spare = self.left().saturating_sub(taken_anyway);
        if spare < LEAST { self } else { Self(self.0 - spare / 2) }
    }

    /// What comes before the deadline.
    pub(crate) async fn reached_before<T>(self, coming: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.0, coming).await.ok()
    }

    /// Waits for a part of an answer.
    pub(crate) async fn bound<T>(self, part: impl Future<Output = Result<T>>) -> Result<T> {
        match timeout_at(self.0, part).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "no answer in time")),
        }
    }
}

/// Whether the node is told how long the answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// As [`TIMEOUT`].
    Deadline,
    /// Not at all: gRPC's deadline would bound the whole stream, and ours bounds its first part only.
    Nothing,
}

/// Sends a request once and waits for the answer until the deadline.
pub(crate) async fn attempt<Req, Res, Fut>(
    call: Call,
    deadline: Deadline,
    tell: Tell,
    message: Req,
    send: impl FnOnce(Request<Req>) -> Fut,
) -> Result<Res>
where
    Fut: Future<Output = Result<Response<Res>, Status>>,
{
    let flight = Flight::default();
    let mut request = Request::new(message);
    request.extensions_mut().insert(flight.clone());
    request::Request::current().mark(&mut request);
    if tell == Tell::Deadline {
        request.set_timeout(deadline.left());
        if let Some(timeout) = request.metadata_mut().get_mut(TIMEOUT) {
            request::keep_out_of_table(timeout);
        }
    }
    match timeout_at(deadline.0, send(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if has_cause::<TimeoutExpired>(&status, |_| true) => {
            Err(timed_out(call, flight.give_up()))
        }
        Ok(Err(status)) => Err(failed(call, &status, || flight.give_up())),
        Err(_) => Err(timed_out(call, flight.give_up())),
    }
}

/// Repeats what certainly did nothing, as often as the policy and the deadline allow. `prepare` makes the
/// attempt, and answers none where it is too late for another. All attempts are one request, with one id.
pub(crate) async fn repeat<T, Fut>(
    policy: &RetryPolicy,
    deadline: Deadline,
    mut prepare: impl FnMut() -> Option<Fut>,
) -> Result<T>
where
    Fut: Future<Output = Result<T>>,
{
    let request = request::Request::begin();
    let mut attempts = 0;
    let counted = || {
        attempts += 1;
        prepare()
    };
    let attempted = CURRENT.scope(request.clone(), attempt_often(policy, deadline, counted));
    let result = attempted.instrument(request.span().clone()).await;
    request.end(attempts, result)
}

async fn attempt_often<T, Fut>(
    policy: &RetryPolicy,
    deadline: Deadline,
    mut prepare: impl FnMut() -> Option<Fut>,
) -> Result<T>
where
    Fut: Future<Output = Result<T>>,
{
    let mut failed = 0;
    let mut last = None;
    loop {
        let Some(attempt) = prepare() else {
            return Err(last.unwrap_or_else(too_late));
        };
        let error = match attempt.await {
            // From a read it says "try again", from a write it certifies besides that nothing was applied.
            Err(error) if error.kind() == ErrorKind::Unavailable => error,
            done => return done,
        };
        failed += 1;
        match policy.pause(failed, rand::random()) {
            // With a pause up to the deadline nothing could be sent after it.
            Some(pause) if pause < deadline.left() => sleep(pause).await,
            _ => return Err(if failed > 1 { error.with("attempts", failed) } else { error }),
        }
        last = Some(error);
    }
}

/// The request's time was over before it was sent.
pub(crate) fn too_late() -> Error {
    Error::new(ErrorKind::Unavailable, "time is over before the request was sent")
}

/// No answer came in time. `was_unsent`: the request certainly never left.
pub(crate) fn timed_out(call: Call, was_unsent: bool) -> Error {
    if was_unsent {
        return too_late();
    }
    match call {
        Call::Read => Error::new(ErrorKind::Unavailable, "no answer in time"),
        Call::Write => Error::new(ErrorKind::Unknown, "no answer in time; the write may have been applied"),
    }
}

/// The request failed. `was_unsent`: whether it certainly never left.
pub(crate) fn failed(call: Call, status: &Status, was_unsent: impl FnOnce() -> bool) -> Error {
    let error = from_status(status, call);
    let never_executed = || was_unsent() || has_cause(status, is_refused_stream);
    if error.kind() == ErrorKind::Unknown && never_executed() {
        return Error::new(ErrorKind::Unavailable, "request was not sent").because(error);
    }
    error
}

/// HTTP/2 promises of a stream refused by the other side that nothing was processed.
fn is_refused_stream(error: &h2::Error) -> bool {
    error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// Whether an error of this type, for which `holds`, is among the causes.
fn has_cause<E: StdError + 'static>(status: &Status, holds: impl Fn(&E) -> bool) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(&holds) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_write_that_cannot_be_sent_in_time_was_not_applied() {
        for (call, sent) in [(Call::Read, false), (Call::Write, false), (Call::Read, true)] {
            let never = |request: Request<()>| {
                if sent {
                    request.extensions().get::<Flight>().unwrap().depart();
                }
                std::future::pending::<Result<Response<()>, Status>>()
            };
            let deadline = Deadline::after(Duration::from_millis(1));
            let error = attempt(call, deadline, Tell::Deadline, (), never).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
    }

    #[tokio::test]
    async fn a_write_on_its_way_at_the_deadline_is_unknown() {
        let never = |request: Request<()>| {
            request.extensions().get::<Flight>().unwrap().depart();
            std::future::pending::<Result<Response<()>, Status>>()
        };
        let deadline = Deadline::after(Duration::from_millis(1));
        let error = attempt(Call::Write, deadline, Tell::Deadline, (), never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown);
    }

    #[tokio::test]
    async fn a_write_that_failed_before_it_was_sent_was_not_applied() {
        let fail =
            |_: Request<()>| async { Err::<Response<()>, _>(Status::unknown("Service was not ready")) };
        let deadline = Deadline::after(Duration::from_secs(5));
        let error = attempt(Call::Write, deadline, Tell::Deadline, (), fail).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn only_what_certainly_did_nothing_is_repeated() {
        for kind in ErrorKind::ALL {
            let count = Cell::new(0);
            let policy = RetryPolicy::default().attempts(3).pauses(Duration::ZERO, Duration::ZERO);
            let deadline = Deadline::after(Duration::from_secs(5));
            let result: Result<()> = repeat(&policy, deadline, || {
                count.set(count.get() + 1);
                Some(async move { Err(Error::new(kind, "no")) })
            })
            .await;
            assert_eq!(result.unwrap_err().kind(), kind);
            assert_eq!(count.get(), if kind == ErrorKind::Unavailable { 3 } else { 1 }, "{kind}");
        }
    }

    #[tokio::test]
    async fn an_attempt_leaves_time_for_another() {
        for (left, taken, expected) in [(600, 0, 300), (600, 400, 500), (600, 900, 600), (1, 0, 1)] {
            let left = Deadline::after(Duration::from_secs(left));
            let share = left.share(Duration::from_secs(taken)).left_ms().div_ceil(1_000);
            assert_eq!(share, expected, "{taken} s of {left:?}");
        }
    }

    #[tokio::test]
    async fn repeating_ends_with_the_deadline() {
        let policy = RetryPolicy::default().attempts(u32::MAX);
        let started = Instant::now();
        let deadline = Deadline::after(Duration::from_millis(100));
        let result: Result<()> =
            repeat(&policy, deadline, || Some(async { Err(Error::new(ErrorKind::Unavailable, "no")) })).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
