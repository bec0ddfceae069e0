//! Many requests over few streams, and none of them the wiser (the wire's `Pipeline`).
//!
//! A caller puts its command into the queue of a [`Pipe`]. The body of the open stream takes along whatever
//! waits whenever HTTP/2 asks it for more, as one message: the busier it is, the more commands share a message,
//! and nobody waits for company. The stream's task hands the answers, which come in any order, to their callers.
//!
//! **What is known of a command whose answer does not come** (C10). The caller who gives up and the body that
//! takes the command along decide by one atomic exchange ([`Departure`](crate::departure::Departure)), as with a
//! request of its own. What did not depart is certain never to be applied. What departed may have been, unless
//! the node refused the stream as a whole and says that it applied nothing.
//!
//! | the stream | what departed over it | what did not |
//! |---|---|---|
//! | could not be opened | as a request of its own that fails with the same status | the same: `Unavailable`, unless the status says otherwise |
//! | is refused, for the node has no pipelines | goes as a request of its own | goes as a request of its own |
//! | ends, having taken commands along | a write is `Unknown`, a read `Unavailable` | goes over the next stream |
//! | ends, having taken none | | `Unavailable` |
//! | says nothing until the deadline of a command | goes on waiting | goes over the next stream |
//!
//! What is long, or has a long answer, goes as a request of its own: it would hold up those behind it.

mod codec;
mod command;
mod conduit;
mod drain;
mod method;
mod pipe;
mod queue;
mod refusal;
mod table;

use std::future::poll_fn;
use std::sync::Arc;

use command::{Command, News};
pub(crate) use method::Method;
use pipe::Pipe;
use queue::MAX_BYTES;
use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::kv::v1::answer::{Answer, Failure};
use rdb_proto::{Call, from_status};
use refusal::Refusal;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};

use crate::call::{self, Deadline};
use crate::dialer::Dialer;
use crate::request::Request;
use crate::scan::malformed;
use crate::wire::Wire;

/// The pipes of a client. Those who ask keep it; the streams end with the last of them.
#[derive(Debug)]
pub(crate) struct Pipelines {
    pipes: Vec<Arc<Pipe>>,
    refusal: Arc<Refusal>,
    _closing: DropGuard,
}

/// What became of a request that was to go over a pipeline.
pub(crate) enum Asked<M, T> {
    Answered(T),
    /// The request is there for another attempt.
    Failed(Error, M),
    /// It was not executed, and has to go as a request of its own.
    Elsewhere(M),
}

impl Pipelines {
    /// One over each of the connections. Nothing is opened yet.
    pub(crate) fn new(wires: Vec<Wire>, dialer: &Arc<Dialer>) -> Self {
        let (refusal, closing) = (Arc::new(Refusal::new(Arc::clone(dialer))), CancellationToken::new());
        let pipe = |wire| {
            let refusal = Arc::clone(&refusal);
            Arc::new(Pipe::new(wire, refusal, closing.child_token()))
        };
        let pipes = wires.into_iter().map(pipe).collect();
        Self { pipes, refusal, _closing: closing.drop_guard() }
    }

    /// Sends a request once, waits for the answer until the deadline, and makes of it what is wanted.
    pub(crate) async fn ask<M: Method, T>(
        &self,
        message: M,
        deadline: Deadline,
        convert: impl FnOnce(M::Answer) -> Result<T>,
    ) -> Asked<M, T> {
        let bytes = message.encoded_len();
        // Of those with the fewest the first: a single caller never needs a second connection.
        let pipe = match self.pipes.iter().min_by_key(|pipe| pipe.waiting()) {
            Some(pipe) if bytes <= MAX_BYTES && !self.refusal.holds() => pipe,
            _ => return Asked::Elsewhere(message),
        };
        let request = Request::current();
        request.calls(M::PATH);
        let message = message.into_request();
        let bytes = message.encoded_len();
        let command = Arc::new(Command::new(message, bytes, deadline, request.id()));
        let waiting = Waiting::new(pipe, command);
        let command = &waiting.command;
        pipe.push(Arc::clone(command));
        let told = deadline.reached_before(poll_fn(|cx| command.poll_news(cx))).await;
        let was_unsent = command.departure.give_up();
        let error = match told {
            Some(News::Answer(Some(Answer::Failure(failure)))) => from_failure(failure, M::CALL),
            Some(News::Answer(Some(Answer::Elsewhere(_))) | News::NoPipeline) => {
                return waiting.back().map_or_else(Asked::never, Asked::Elsewhere);
            }
            Some(News::Answer(answer)) => match answer.and_then(M::of_answer).map(convert) {
                Some(Ok(told)) => return Asked::Answered(told),
                Some(Err(error)) => error,
                None => nonsense(M::CALL),
            },
            Some(News::Refused(status)) => call::failed(M::CALL, &status, || was_unsent),
            Some(News::Lost(status)) => lost(M::CALL, &status, was_unsent),
            None => {
                if !was_unsent {
                    pipe.doubt(command);
                }
                call::timed_out(M::CALL, was_unsent)
            }
        };
        waiting.back().map_or_else(Asked::never, |message| Asked::Failed(error, message))
    }
}

impl<M: Method, T> Asked<M, T> {
    /// A command is made of one request only.
    fn never() -> Self {
        Self::Failed(malformed("a command changed on its way"), M::default())
    }
}

/// A caller who waits. When it goes away, its command does not depart any more.
struct Waiting<'a> {
    pipe: &'a Pipe,
    command: Arc<Command>,
}

impl<'a> Waiting<'a> {
    fn new(pipe: &'a Pipe, command: Arc<Command>) -> Self {
        pipe.begin_to_wait();
        Self { pipe, command }
    }

    /// The request, for another attempt.
    fn back<M: Method>(&self) -> Option<M> {
        M::of_request(self.command.request.clone())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.command.departure.give_up();
        self.pipe.end_to_wait();
    }
}

fn from_failure(failure: Failure, call: Call) -> Error {
    let code = Code::from(i32::try_from(failure.code).unwrap_or(-1));
    from_status(&Status::with_details(code, failure.message, failure.details), call)
}

/// The stream ended after its head had come, which says nothing of the command, whatever it says.
fn lost(call: Call, status: &Status, was_unsent: bool) -> Error {
    let (kind, message) = match call {
        _ if was_unsent => (ErrorKind::Unavailable, "request was not sent"),
        Call::Read => (ErrorKind::Unavailable, "connection was lost before the answer came"),
        Call::Write => (
            ErrorKind::Unknown,
            "connection was lost before the answer came; the write may have been applied",
        ),
    };
    Error::new(kind, message).because(from_status(status, call))
}

fn nonsense(call: Call) -> Error {
    let kind = match call {
        Call::Read => ErrorKind::Internal,
        Call::Write => ErrorKind::Unknown,
    };
    Error::new(kind, "node sent an answer that makes no sense")
}
