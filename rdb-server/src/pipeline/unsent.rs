use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message as _;
use rdb_engine_api::{Error, ErrorKind};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::answer::{Answer, Elsewhere, Failure};
use rdb_proto::{Call, to_status};
use tokio::time::Instant;
use tonic::Status;

use crate::arrival::PREFIX_BYTES;
use crate::flow::Flow;
use crate::metrics::Shed;

/// The most answers in a message.
const MAX_ANSWERS: usize = 256;
/// The most bytes of several answers in a message. A larger one goes alone; that of a read does not go at all.
const MAX_BYTES: usize = 64 << 10;
/// The most that an answer takes in a message beyond its bytes: its field and its length.
const PER_ANSWER: usize = 6;

/// Answers that are ready and wait for room on the stream. Those for which there is none at once count among the
/// bytes that the client does not take.
#[derive(Debug)]
pub(super) struct Unsent {
    flow: Arc<Flow>,
    answers: VecDeque<Ready>,
    bytes: usize,
    /// How many of the first are counted.
    counted: usize,
    /// The bytes of the message before them, which is on its way to where it is counted. Without room there, the
    /// pipeline would end.
    ahead: usize,
    /// Since when the first waits; not set where there is none that had to.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Ready {
    answer: v1::Answer,
    bytes: usize,
    call: Call,
}

impl Unsent {
    pub(super) const fn new(flow: Arc<Flow>) -> Self {
        Self { flow, answers: VecDeque::new(), bytes: 0, counted: 0, ahead: 0, since: None }
    }

    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the client has been taking nothing.
    pub(super) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Adds what a command ended in.
    pub(super) fn push(&mut self, number: u64, call: Call, answer: Answer) {
        let mut answer = v1::Answer { number, answer: Some(answer) };
        let mut bytes = answer.encoded_len();
        if bytes > MAX_BYTES && call == Call::Read {
            answer.answer = Some(Answer::Elsewhere(Elsewhere {}));
            bytes = answer.encoded_len();
        }
        self.bytes += bytes;
        self.answers.push_back(Ready { answer, bytes, call });
    }

    /// Takes as many as go together.
    pub(super) fn next(&mut self) -> v1::PipelineResponse {
        let (mut count, mut bytes) = (0, 0);
        for ready in self.answers.iter().take(MAX_ANSWERS) {
            if count > 0 && bytes + ready.bytes > MAX_BYTES {
                break;
            }
            count += 1;
            bytes += ready.bytes;
        }
        let counted = self.counted.min(count);
        if counted > 0 {
            self.flow.let_go(self.answers.iter().take(counted).map(|ready| ready.bytes).sum());
            self.counted -= counted;
        }
        self.bytes -= bytes;
        self.ahead = PREFIX_BYTES + bytes + count * PER_ANSWER;
        self.since = None;
        v1::PipelineResponse { answers: self.answers.drain(..count).map(|ready| ready.answer).collect() }
    }

    /// Counts those that have to wait. One for which there is no room is replaced by why.
    pub(super) fn wait(&mut self) {
        if self.counted == self.answers.len() {
            return;
        }
        self.since.get_or_insert_with(Instant::now);
        for ready in self.answers.iter_mut().skip(self.counted) {
            let Err(error) = self.flow.hold_behind(ready.bytes, self.ahead) else { continue };
            self.flow.state().metrics.shed(Shed::AnswerBytes);
            let error = match ready.call {
                Call::Read => error,
                // It may well have been applied (C10).
                Call::Write => {
                    Error::new(ErrorKind::Unknown, "there was no room for the answer").because(error)
                }
            };
            ready.answer.answer = Some(failure(&to_status(&error)));
            self.bytes -= ready.bytes;
            // Short, and bounded by how many commands a pipeline has.
            ready.bytes = 0;
        }
        self.counted = self.answers.len();
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if self.counted > 0 {
            self.flow.let_go(self.answers.iter().take(self.counted).map(|ready| ready.bytes).sum());
        }
    }
}

/// A status in an answer.
pub(super) fn failure(status: &Status) -> Answer {
    Answer::Failure(Failure {
        code: status.code() as u32,
        message: status.message().to_owned(),
        details: status.details().to_owned().into(),
    })
}
