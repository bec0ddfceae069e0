use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use futures::FutureExt as _;
use prost::Message as _;
use rdb_engine_api::{Engine, Error, ErrorKind, Result};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::answer::Answer;
use rdb_proto::{Call, MAX_COMMANDS, to_status};
use tokio::sync::mpsc::Sender;
use tokio::task::coop::{consume_budget, unconstrained};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument as _, Span};

use super::command::{Places, Work, execute, may_wait};
use super::slots::Slots;
use super::unsent::{Unsent, failure};
use super::{Message, Pipelines, unread};
use crate::deadline::Deadline;
use crate::flow::Flow;
use crate::gate::Admission;
use crate::handlers::Handlers;
use crate::messages::Messages;
use crate::state::State;

/// The most bytes of commands that are not answered yet, and of answers that are not sent, beyond which no more is
/// read of a pipeline. One command may be larger.
const MAX_BYTES: usize = 4 << 20;
/// A message above this size is not kept for one of its commands.
const LARGE_MESSAGE: usize = 64 << 10;

/// A command's work, with a net for panics, in its span. It does not count against what Tokio lets a task do before
/// it has to rest: how many are polled at once has a bound of our own.
pub(super) fn supervised<'a, E: Engine + ?Sized>(
    handlers: &'a Handlers<E>,
    work: Work,
    span: Span,
) -> impl Future<Output = thread::Result<Result<Answer>>> + Send + 'a {
    // Nothing of the work is used after it panicked, but the engine, which sees to itself.
    let work = AssertUnwindSafe(execute(handlers, work)).catch_unwind();
    unconstrained(work.instrument(span))
}

/// A command that the engine works on.
#[derive(Debug)]
struct Begun {
    number: u64,
    admission: Admission,
    deadline: Deadline,
    /// Whether it may wait for what others do.
    waits: bool,
    bytes: usize,
}

/// Commands that were received and are not begun yet, for want of room.
#[derive(Debug)]
struct Received {
    commands: std::vec::IntoIter<v1::Command>,
    at: Instant,
    /// The bytes of all that came together.
    bytes: usize,
}

/// A pipeline: its commands and their answers, in one task.
pub(super) struct Stream<'a, E: ?Sized, M, F> {
    handlers: &'a Handlers<E>,
    make: M,
    /// The stream's own.
    admission: &'a Admission,
    state: &'a Arc<State>,
    places: Places,
    pipelines: &'a Pipelines,
    received: Option<Received>,
    begun: Slots<Begun, F>,
    /// Of those.
    bytes: usize,
    unsent: Unsent,
    /// No command's deadline is sooner.
    next_deadline: Option<Instant>,
    /// Whether the node drains: what comes now is refused.
    drains: bool,
    /// When writes that wait for others are cut off, where the node drains and they have not been.
    patience: Option<Instant>,
}

impl<'a, E, M, F> Stream<'a, E, M, F>
where
    E: Engine + ?Sized,
    M: Fn(&'a Handlers<E>, Work, Span) -> F,
    F: Future<Output = thread::Result<Result<Answer>>>,
{
    pub(super) fn new(
        handlers: &'a Handlers<E>,
        make: M,
        admission: &'a Admission,
        places: Places,
        pipelines: &'a Pipelines,
        flow: Arc<Flow>,
    ) -> Self {
        Self {
            handlers,
            make,
            admission,
            state: admission.state(),
            places,
            pipelines,
            received: None,
            begun: Slots::new(),
            bytes: 0,
            unsent: Unsent::new(flow),
            next_deadline: None,
            drains: false,
            patience: None,
        }
    }

    /// Serves until all is answered and nothing more comes, with the answers that are not sent yet and what the
    /// stream ends in.
    ///
    /// # Errors
    /// [`Exhausted`](ErrorKind::Exhausted) where the client leaves its answers unread.
    pub(super) async fn serve(
        mut self,
        mut messages: Messages<v1::PipelineRequest>,
        sender: &Sender<Message>,
    ) -> Result<(Unsent, Result<()>)> {
        let idle = self.state.config.request_timeout;
        let (mut draining, mut ending) =
            (pin!(self.state.draining.cancelled()), pin!(self.state.ending.cancelled()));
        let mut alarm = pin!(sleep_until(Instant::now()));
        let mut alarm_at = None;
        let (mut end, mut has_ended) = (None, false);
        loop {
            if self.received.is_some() {
                self.begin_received(Instant::now());
            }
            if !self.unsent.is_empty() {
                if let Ok(room) = sender.try_reserve() {
                    self.pipelines.answers.inc();
                    room.send(Ok(self.unsent.next()));
                }
                // What is left has to wait until the reader has taken that.
                self.unsent.wait();
            }
            if self.begun.is_empty() && self.received.is_none() {
                // What comes is refused as long as it comes, and as there is room for more answers.
                if self.drains && end.is_none() && self.has_room() {
                    consume_budget().await;
                    match messages.next().now_or_never() {
                        Some(Ok(Some(message))) => {
                            end = self.receive(message).err().map(Err);
                            continue;
                        }
                        _ => end = Some(Err(shutting_down())),
                    }
                }
                if let Some(end) = end {
                    return Ok((self.unsent, end));
                }
            }
            let due = self.due(idle);
            if let Some(due) = due
                && alarm_at.is_none_or(|at| due < at)
            {
                alarm.as_mut().reset(due);
                alarm_at = Some(due);
            }
            let reads = end.is_none() && self.received.is_none() && self.has_room();
            tokio::select! {
                biased;
                () = &mut ending, if !has_ended => {
                    has_ended = true;
                    self.cut_off_all();
                    end.get_or_insert_with(|| Err(shutting_down()));
                }
                () = &mut draining, if !self.drains => {
                    self.drains = true;
                    self.patience = Some(Instant::now() + self.state.config.drain_timeout / 10);
                }
                () = poll_fn(|context| self.begun.poll_woken(context)) => {
                    self.begun.take_turn();
                    while let Some((begun, output)) = self.begun.next() {
                        self.done(begun, output);
                    }
                }
                Ok(room) = sender.reserve(), if !self.unsent.is_empty() => {
                    self.pipelines.answers.inc();
                    room.send(Ok(self.unsent.next()));
                }
                message = messages.next(), if reads => match message {
                    Ok(Some(message)) => {
                        end = self.receive(message).err().map(Err);
                        // Whoever always has more to say leaves the others their turn.
                        consume_budget().await;
                    }
                    Ok(None) => end = Some(Ok(())),
                    Err(error) => end = Some(Err(error)),
                },
                () = &mut alarm, if alarm_at.is_some() => {
                    alarm_at = None;
                    let now = Instant::now();
                    if self.unsent.since().is_some_and(|since| since + idle <= now) {
                        return Err(unread(idle));
                    }
                    self.cut_off_late(now);
                }
            }
        }
    }

    /// When something has to be looked at.
    fn due(&self, idle: std::time::Duration) -> Option<Instant> {
        let unread = self.unsent.since().map(|since| since + idle);
        [self.next_deadline, unread, self.patience].into_iter().flatten().min()
    }

    /// Whether one more command may be begun.
    fn has_room(&self) -> bool {
        let most = self.state.config.max_streams_per_connection as usize;
        self.begun.len() + self.unsent.len() < most && self.bytes + self.unsent.bytes() < MAX_BYTES
    }

    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) where there are too many commands: some were not read.
    fn receive(&mut self, message: v1::PipelineRequest) -> Result<()> {
        if message.commands.len() > MAX_COMMANDS {
            self.state.metrics.requests_refused.inc();
            let error = Error::new(ErrorKind::InvalidArgument, "message has too many commands");
            return Err(error.with("limit", MAX_COMMANDS));
        }
        self.pipelines.messages.inc();
        self.pipelines.commands.inc_by(message.commands.len() as u64);
        if self.drains {
            for command in message.commands {
                self.refuse(command);
            }
            return Ok(());
        }
        let now = Instant::now();
        // The stream holds what it has received until it is asked for more.
        let bytes = self.admission.held_bytes();
        self.received = Some(Received { commands: message.commands.into_iter(), at: now, bytes });
        self.begin_received(now);
        Ok(())
    }

    /// Begins what was received, as much as there is room for.
    fn begin_received(&mut self, now: Instant) {
        let Some(mut received) = self.received.take() else { return };
        while self.has_room() {
            let Some(command) = received.commands.next() else { return };
            self.begin(command, received.at, now, received.bytes);
        }
        self.received = Some(received).filter(|received| received.commands.len() > 0);
    }

    fn begin(&mut self, mut command: v1::Command, arrived: Instant, now: Instant, message_bytes: usize) {
        let bytes = command.encoded_len();
        let waits = command.request.as_ref().is_some_and(may_wait);
        if waits || (message_bytes > LARGE_MESSAGE && bytes < message_bytes / 2) {
            command = apart(command);
        }
        let Some((number, admission, request)) = self.admit(command, arrived, bytes) else { return };
        if admission.deadline().remaining_at(now).is_zero() && now > arrived {
            // Certainly not applied: it was never begun (C10).
            let error = Error::new(ErrorKind::Unavailable, "deadline has passed");
            return self.answer(number, &admission, Err(error));
        }
        let work = match Work::new(request, self.handlers, &admission, now) {
            Ok(work) => work,
            Err(error) => return self.answer(number, &admission, Err(error)),
        };
        let waits_until = match &work {
            Work::Write(write, _) => write.waits_until,
            _ => None,
        };
        let deadline = waits_until.unwrap_or(admission.deadline());
        let future = (self.make)(self.handlers, work, admission.span().clone());
        let begun = Begun { number, admission, deadline, waits: waits_until.is_some(), bytes };
        self.bytes += bytes;
        match self.begun.begin(begun, future) {
            Some((begun, output)) => self.done(begun, output),
            None => {
                let deadline = deadline.instant();
                if self.next_deadline.is_none_or(|next| deadline < next) {
                    self.next_deadline = Some(deadline);
                }
            }
        }
    }

    /// Refuses what came too late.
    fn refuse(&mut self, command: v1::Command) {
        let bytes = command.encoded_len();
        if let Some((number, admission, _)) = self.admit(command, Instant::now(), bytes) {
            self.answer(number, &admission, Err(shutting_down()));
        }
    }

    /// Makes a request of a command, unless it is refused.
    fn admit(
        &mut self,
        command: v1::Command,
        arrived: Instant,
        bytes: usize,
    ) -> Option<(u64, Admission, v1::command::Request)> {
        let v1::Command { number, timeout_ms, request_id, request } = command;
        let Some(request) = request else {
            self.state.metrics.requests_refused.inc();
            let error = Error::new(
                ErrorKind::InvalidArgument,
                "field is not set, or is of a kind unknown to this server",
            );
            self.unsent.push(number, Call::Read, failure(&to_status(&error.with("field", "request"))));
            return None;
        };
        let method = self.places.of(&request);
        let timeout = timeout_ms.map(std::time::Duration::from_millis);
        match Admission::of_command(self.state, method, arrived, request_id, timeout, bytes) {
            Ok(admission) => Some((number, admission, request)),
            Err(error) => {
                self.unsent.push(number, Call::Read, failure(&to_status(&error)));
                None
            }
        }
    }

    fn done(&mut self, begun: Begun, output: thread::Result<Result<Answer>>) {
        self.bytes -= begun.bytes;
        let result = output.unwrap_or_else(|_| Err(begun.admission.panicked()));
        self.answer(begun.number, &begun.admission, result);
    }

    fn answer(&mut self, number: u64, admission: &Admission, result: Result<Answer>) {
        let answer = match result {
            Ok(answer) => {
                admission.finish(&Ok(()));
                answer
            }
            Err(error) => failure(&admission.fail(error)),
        };
        self.unsent.push(number, admission.method().call, answer);
    }

    fn cut_off(&mut self, begun: Begun, why: &'static str) {
        self.bytes -= begun.bytes;
        self.answer(begun.number, &begun.admission, Err(begun.admission.cut_off(why)));
    }

    /// Cuts off what has not been answered by its deadline, and what waits for others once nobody comes any more.
    fn cut_off_late(&mut self, now: Instant) {
        let mut next = None;
        for late in self.begun.remove(|begun| {
            let at = begun.deadline.instant();
            if at <= now {
                return true;
            }
            next = Some(next.map_or(at, |next: Instant| next.min(at)));
            false
        }) {
            self.cut_off(late, "deadline has passed");
        }
        self.next_deadline = next;
        if self.patience.is_some_and(|patience| patience <= now) {
            self.patience = None;
            for waiting in self.begun.remove(|begun| begun.waits) {
                self.cut_off(waiting, "node is shutting down");
            }
        }
    }

    /// Cuts everything off.
    fn cut_off_all(&mut self) {
        for begun in self.begun.remove(|_| true) {
            self.cut_off(begun, "node is shutting down");
        }
        for command in self.received.take().into_iter().flat_map(|received| received.commands) {
            self.refuse(command);
        }
    }
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::Unavailable, "node is shutting down")
}

/// A command whose bytes are its own: a slice would keep all of what was received with it.
fn apart(command: v1::Command) -> v1::Command {
    v1::Command::decode(Bytes::from(command.encode_to_vec())).unwrap_or(command)
}
