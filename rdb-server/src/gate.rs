use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures::FutureExt as _;
use hyper::HeaderMap;
use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::{Call, to_status};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::deadline::Deadline;
use crate::metrics::{Ending, Method};
use crate::state::State;

/// Handles a request that has one answer.
pub(crate) async fn unary<Q, A, F>(
    mut request: Request<Q>,
    work: impl FnOnce(Q, Deadline) -> F,
) -> Result<Response<A>, Status>
where
    F: Future<Output = Result<A>>,
{
    let admission = Admission::of(&mut request)?;
    let deadline = admission.deadline;
    // Made inside of the net: it runs code of the engine's and may panic.
    let work = async { work(request.into_inner(), deadline).await };
    match admission.supervise(work).await {
        Ok(answer) => {
            admission.finish(&Ok(()));
            Ok(Response::new(answer))
        }
        Err(error) => Err(admission.fail(error)),
    }
}

/// What every request passes before it has been received: a place among the requests in flight, a deadline, a
/// net for panics, and counters. It travels to the service with the request. Dropping the last copy gives the
/// place back and counts the request.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Arc<State>,
    method: Method,
    started: Instant,
    requested: Option<Deadline>,
    deadline: Deadline,
    held_bytes: usize,
    /// Never set where the client went away.
    ending: OnceLock<Ending>,
}

impl Admission {
    /// Takes a place among the requests in flight.
    pub(crate) fn new(state: &Arc<State>, method: Method, headers: &HeaderMap) -> Result<Self, Status> {
        let started = Instant::now();
        let requested = Deadline::requested(headers).and_then(|requested| {
            state.enter()?;
            Ok(requested)
        });
        let requested = requested.map_err(|error| {
            state.metrics.ended(method, Ending::Failed(error.kind()), started.elapsed());
            to_status(&error)
        })?;
        if method == Method::Scan {
            state.metrics.scans.inc();
        }
        let node = Deadline::after(state.config.request_timeout);
        Ok(Self {
            state: Arc::clone(state),
            method,
            started,
            requested,
            deadline: requested.map_or(node, |client| client.min(node)),
            held_bytes: 0,
            ending: OnceLock::new(),
        })
    }

    /// The admission that came with the request.
    pub(crate) fn of<Q>(request: &mut Request<Q>) -> Result<Arc<Self>, Status> {
        request.extensions_mut().remove().ok_or_else(|| {
            to_status(&Error::new(ErrorKind::Internal, "request reached its service without an admission"))
        })
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// When the request has to be answered: the sooner of what the client asked for and what the node allows.
    pub(crate) const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// What the client asked for.
    pub(crate) const fn requested(&self) -> Option<Deadline> {
        self.requested
    }

    /// Takes room for bytes of the request, until it ends.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<()> {
        self.state.hold(bytes)?;
        self.held_bytes += bytes;
        Ok(())
    }

    /// Runs the work until it is done, until the deadline, or until the node ends all requests, and turns a
    /// panic into an error.
    pub(crate) async fn supervise<A>(&self, work: impl Future<Output = Result<A>>) -> Result<A> {
        tokio::select! {
            biased;
            result = self.catch(work) => result,
            () = self.deadline.passed() => Err(self.cut_off("deadline has passed")),
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

    /// Says how the request ended.
    pub(crate) fn finish(&self, result: &Result<()>) {
        let _ = self.ending.set(result.into()); // the first one is what the client was told
    }

    /// Says that the request failed, and puts the failure into the wire's form.
    pub(crate) fn fail(&self, error: Error) -> Status {
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
        let ending = self.ending.get().copied().unwrap_or(Ending::Cancelled);
        self.state.metrics.ended(self.method, ending, self.started.elapsed());
        if self.method == Method::Scan {
            self.state.metrics.scans.dec();
        }
        self.state.let_go(self.held_bytes);
        self.state.leave();
    }
}
