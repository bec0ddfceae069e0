use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::{Call, to_status};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::deadline::Deadline;
use crate::metrics::{Ending, Method};
use crate::state::State;

/// What every request passes: a bound on how many there are, a deadline, a net for panics, and counters.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<State>);

impl Gate {
    pub(crate) const fn new(state: Arc<State>) -> Self {
        Self(state)
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.0
    }

    /// Handles a request that has one answer.
    pub(crate) async fn unary<Q, A, F>(
        &self,
        method: Method,
        request: Request<Q>,
        work: impl FnOnce(Q, Deadline) -> F,
    ) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A>>,
    {
        let admission = self.admit(method)?;
        let result = match Deadline::of(request.metadata(), self.0.config.request_timeout) {
            Ok(deadline) => {
                // Made inside of the net: it runs code of the engine's and may panic.
                let work = async { work(request.into_inner(), deadline).await };
                admission.supervise(deadline, work).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(answer) => {
                admission.finish(&Ok(()));
                Ok(Response::new(answer))
            }
            Err(error) => Err(admission.fail(error)),
        }
    }

    /// Takes a place among the requests in flight.
    pub(crate) fn admit(&self, method: Method) -> Result<Admission, Status> {
        let started = Instant::now();
        if !self.0.enter() {
            let error = Error::new(ErrorKind::Exhausted, "too many requests in flight")
                .with("limit", self.0.config.max_in_flight);
            self.0.metrics.ended(method, Ending::Failed(error.kind()), started.elapsed());
            return Err(to_status(&error));
        }
        if method == Method::Scan {
            self.0.metrics.scans.inc();
        }
        Ok(Admission { state: Arc::clone(&self.0), method, started, ending: Ending::Cancelled })
    }
}

/// A place among the requests in flight. Dropping it gives the place back and counts the request.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Arc<State>,
    method: Method,
    started: Instant,
    ending: Ending,
}

impl Admission {
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Runs the work until it is done, until its deadline, or until the node ends all requests, and turns a
    /// panic into an error.
    pub(crate) async fn supervise<A>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = Result<A>>,
    ) -> Result<A> {
        tokio::select! {
            biased;
            result = self.catch(work) => result,
            () = deadline.passed() => Err(self.cut_off("deadline has passed")),
            () = self.state.ending.cancelled() => Err(self.cut_off("node is shutting down")),
        }
    }

    /// Turns a panic into an error, so that it stays with the request that met it.
    pub(crate) async fn catch<A>(&self, work: impl Future<Output = Result<A>>) -> Result<A> {
        // Nothing of the work is used after it panicked, but the engine, which sees to itself.
        AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            self.state.metrics.panics.inc();
            tracing::error!(method = ?self.method, "a request's handling panicked");
            let kind = match self.method.call() {
                Call::Read => ErrorKind::Internal,
                Call::Write => ErrorKind::Unknown,
            };
            Err(Error::new(kind, "request's handling panicked"))
        })
    }

    /// What a request is told that is not waited for any longer. Whatever it has asked of the engine goes on
    /// there, so a write may yet be applied (C10).
    pub(crate) fn cut_off(&self, why: &'static str) -> Error {
        match self.method.call() {
            Call::Read => Error::new(ErrorKind::Unavailable, why),
            Call::Write => Error::new(ErrorKind::Unknown, why),
        }
    }

    /// Counts how the request ended.
    pub(crate) fn finish(mut self, result: &Result<()>) {
        self.ending = result.into();
    }

    /// Counts a failure and puts it into the wire's form.
    pub(crate) fn fail(self, error: Error) -> Status {
        match error.kind() {
            ErrorKind::Closed => self.state.engine_closed.cancel(),
            ErrorKind::Internal | ErrorKind::Corrupt => {
                tracing::error!(method = ?self.method, error = error.report(), "request failed");
            }
            _ => {}
        }
        let status = to_status(&error);
        self.finish(&Err(error));
        status
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.state.metrics.ended(self.method, self.ending, self.started.elapsed());
        if self.method == Method::Scan {
            self.state.metrics.scans.dec();
        }
        self.state.leave();
    }
}
