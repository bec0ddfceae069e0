use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use hyper::HeaderMap;
use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::{Call, to_status};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::Span;
use tracing::field::Empty;

use crate::answers::{Answers, feed};
use crate::config::MAX_TIME;
use crate::deadline::Deadline;
use crate::messages::Messages;
use crate::method::{Method, Reception};
use crate::metrics::Ending;
use crate::request_id::RequestId;
use crate::state::State;

/// Handles a request that has one answer: within its deadline, which the work is told, and with a net for
/// panics.
///
/// # Errors
/// What the work ends in, in the wire's form; `Unavailable` for a read and `Unknown` for a write that is cut off.
pub async fn unary<Q, A, F>(
    mut request: Request<Q>,
    work: impl FnOnce(Q, Deadline) -> F,
) -> Result<Response<A>, Status>
where
    F: Future<Output = Result<A>>,
{
    let admission = Admission::of(&mut request)?;
    let deadline = admission.deadline;
    // Made inside of the net: it runs code of the engine's and may panic.
    admission.answer(async { work(request.into_inner(), deadline).await }).await
}

/// Handles a request of many messages that has one answer at its end ([`Reception::Upload`]).
///
/// # Errors
/// As of [`unary`].
pub async fn upload<Q, A, F>(
    request: Request<Streaming<Q>>,
    work: impl FnOnce(Messages<Q>, Deadline) -> F,
) -> Result<Response<A>, Status>
where
    F: Future<Output = Result<A>>,
{
    unary(request, |messages, deadline| work(Messages::new(messages), deadline)).await
}

/// Handles a request of many messages that are answered while it goes on ([`Reception::Dialogue`]): until the
/// work ends, or its client leaves, or the server drains.
///
/// An answer that is left unread for [`NodeConfig::request_timeout`](crate::NodeConfig::request_timeout) ends
/// it as [`Exhausted`](ErrorKind::Exhausted).
///
/// # Errors
/// [`Internal`](ErrorKind::Internal) where the request did not come through the server.
pub fn dialogue<Q, A, F>(
    mut request: Request<Streaming<Q>>,
    work: impl FnOnce(Messages<Q>, Answers<A>) -> F,
) -> Result<Response<ReceiverStream<Result<A, Status>>>, Status>
where
    A: Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let admission = Admission::of(&mut request)?;
    let messages = Messages::new(request.into_inner());
    let idle = admission.state.config.request_timeout;
    let answers = feed(admission, idle, |answers| {
        let work = work(messages, answers);
        async { work.await.map(|()| None) }
    });
    Ok(Response::new(answers))
}

/// What every request passes before it has been received: a place among the requests in flight, a deadline, a
/// net for panics, and counters. It travels to the service with the request. Dropping the last copy gives the
/// place back and counts the request.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Arc<State>,
    /// Its place among the methods.
    method: usize,
    started: Instant,
    id: RequestId,
    /// All that is logged of it, where somebody wants to know so much.
    span: Span,
    requested: Option<Deadline>,
    deadline: Deadline,
    held_bytes: AtomicUsize,
    /// Whether it waits for what others do, and has given its place back.
    waits: AtomicBool,
    /// Never set where the client went away.
    ending: OnceLock<Ending>,
}

impl Admission {
    /// Takes a place among the requests in flight for a request that begins to arrive.
    pub(crate) fn new(state: &Arc<State>, method: usize, headers: &HeaderMap) -> Result<Self, Status> {
        let id = RequestId::of_headers(headers);
        let requested = Deadline::requested(headers);
        Self::enter(state, method, Instant::now(), id, requested).map_err(|error| to_status(&error))
    }

    /// Takes a place among the requests in flight, and room for its bytes, for a command of a pipeline, which
    /// arrived at an instant.
    pub(crate) fn of_command(
        state: &Arc<State>,
        method: usize,
        arrived: Instant,
        id: String,
        timeout: Option<Duration>,
        bytes: usize,
    ) -> Result<Self> {
        let id = RequestId::of_command(id);
        // A timeout beyond what the clock can hold is none.
        let requested = timeout.and_then(|timeout| Deadline::from(arrived, timeout));
        let admission = Self::enter(state, method, arrived, id, Ok(requested))?;
        admission.hold(bytes).inspect_err(|error| admission.finish(&Err(error.clone())))?;
        Ok(admission)
    }

    fn enter(
        state: &Arc<State>,
        method: usize,
        started: Instant,
        id: RequestId,
        requested: Result<Option<Deadline>>,
    ) -> Result<Self> {
        let requested = requested.and_then(|requested| {
            state.enter()?;
            Ok(requested)
        });
        let requested = requested.inspect_err(|error| {
            state.metrics.ended(method, Ending::Failed(error.kind()), started.elapsed());
        })?;
        let node = match state.methods.get(method).reception {
            Reception::Whole => state.config.request_timeout,
            Reception::Upload | Reception::Dialogue => MAX_TIME,
        };
        // The node's own times are within bounds: see `MAX_TIME`.
        let node = Deadline::from(started, node).unwrap_or_else(|| Deadline::after(MAX_TIME));
        let span = tracing::debug_span!(
            "request",
            request = %id,
            method = state.methods.get(method).name,
            outcome = Empty,
        );
        Ok(Self {
            state: Arc::clone(state),
            method,
            started,
            id,
            span,
            requested,
            deadline: requested.map_or(node, |client| client.min(node)),
            held_bytes: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            ending: OnceLock::new(),
        })
    }

    /// The admission that came with the request.
    pub(crate) fn of<Q>(request: &mut Request<Q>) -> Result<Arc<Self>, Status> {
        request.extensions_mut().remove().ok_or_else(|| {
            to_status(&Error::new(ErrorKind::Internal, "request reached its service without an admission"))
        })
    }

    pub(crate) fn method(&self) -> &Method {
        self.state.methods.get(self.method)
    }

    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// When the request has to be answered: the sooner of what the client asked for and what the node allows.
    pub(crate) const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// When a request has to be answered that waits this long for what others do: the time counts beside what the
    /// node allows.
    pub(crate) fn deadline_after(&self, wait: Duration) -> Deadline {
        let node = Deadline::after(wait.min(MAX_TIME) + self.state.config.request_timeout);
        self.requested.map_or(node, |client| client.min(node))
    }

    /// What the client asked for.
    pub(crate) const fn requested(&self) -> Option<Deadline> {
        self.requested
    }

    /// Set when the request is not waited for any longer.
    pub(crate) fn stop(&self) -> &CancellationToken {
        let method = self.method();
        if method.lasts || method.reception == Reception::Dialogue {
            &self.state.draining
        } else {
            &self.state.ending
        }
    }

    /// Says that the request may wait for long for what others do, and that the engine bounds how many of its kind
    /// wait, and with how many bytes. It gives back its place and its bytes: requests that wait must not keep
    /// out those that they wait for.
    pub(crate) fn wait(&self) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            self.state.let_go(self.held_bytes.swap(0, Ordering::Relaxed));
            self.state.begin_to_wait();
            self.state.leave();
        }
    }

    /// Takes room for bytes of the request, until it ends.
    pub(crate) fn hold(&self, bytes: usize) -> Result<()> {
        self.state.hold(bytes)?;
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The bytes of the request that it has room for.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Gives room back before the request ends.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.state.let_go(bytes);
    }

    /// Answers the request with what the work ends in.
    pub(crate) async fn answer<A>(
        &self,
        work: impl Future<Output = Result<A>>,
    ) -> Result<Response<A>, Status> {
        self.conclude(self.supervise(work).await)
    }

    /// Answers a request that waits for what others do ([`wait`](Self::wait)), by a deadline of its own. It is waited
    /// for until the node has been draining for a tenth of its time: nobody may come any more for whom it waits.
    pub(crate) async fn answer_waiting<A>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = Result<A>>,
    ) -> Result<Response<A>, Status> {
        let drained = async {
            self.state.draining.cancelled().await;
            tokio::time::sleep(self.state.config.drain_timeout / 10).await;
        };
        self.conclude(tokio::select! {
            biased;
            result = self.catch(work) => result,
            () = deadline.passed() => Err(self.cut_off("deadline has passed")),
            () = drained => Err(self.cut_off("node is shutting down")),
        })
    }

    fn conclude<A>(&self, result: Result<A>) -> Result<Response<A>, Status> {
        match result {
            Ok(answer) => {
                self.finish(&Ok(()));
                Ok(Response::new(answer))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Runs the work until it is done, until the deadline, or until the node ends all requests, and turns a
    /// panic into an error.
    pub(crate) async fn supervise<A>(&self, work: impl Future<Output = Result<A>>) -> Result<A> {
        tokio::select! {
            biased;
            result = self.catch(work) => result,
            () = self.deadline.passed() => Err(self.cut_off("deadline has passed")),
            () = self.stop().cancelled() => Err(self.cut_off("node is shutting down")),
        }
    }

    /// Turns a panic into an error, so that it stays with the request that met it.
    pub(crate) async fn catch<A>(&self, work: impl Future<Output = Result<A>>) -> Result<A> {
        // Nothing of the work is used after it panicked, but the engine, which sees to itself.
        AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(self.panicked()))
    }

    /// What a request is told whose handling panicked.
    pub(crate) fn panicked(&self) -> Error {
        self.state.metrics.panics.inc();
        let (method, request) = (self.method().name, &self.id);
        tracing::error!(method, %request, "a request's handling panicked");
        let kind = match self.method().call {
            Call::Read => ErrorKind::Internal,
            Call::Write => ErrorKind::Unknown,
        };
        Error::new(kind, "request's handling panicked")
    }

    /// What a request is told that is not waited for any longer. Whatever it has asked of the engine goes on
    /// there, so a write may yet be applied (C10).
    pub(crate) fn cut_off(&self, why: &'static str) -> Error {
        match self.method().call {
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
                let (method, request) = (self.method().name, &self.id);
                tracing::error!(method, %request, error = error.report(), "request failed");
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
        let (method, after) = (self.method, self.started.elapsed());
        self.span.record("outcome", ending.name());
        self.state.let_go(*self.held_bytes.get_mut());
        if *self.waits.get_mut() {
            self.state.metrics.ended_waiting(method, ending, after);
            self.state.end_to_wait();
        } else {
            self.state.metrics.ended(method, ending, after);
            self.state.leave();
        }
    }
}
