use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::BufMut;
use parking_lot::Mutex;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, uint64};
use rdb_proto::kv::v1::{answer::Answer, command::Request};
use tokio::time::Instant;
use tonic::Status;

use crate::call::Deadline;
use crate::departure::Departure;
use crate::request::Id;

/// The fields of `Command`.
const NUMBER: u32 = 1;
const TIMEOUT_MS: u32 = 2;
const REQUEST_ID: u32 = 3;

/// A request on its way over a pipeline, which its caller and the stream share.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: Request,
    /// How long the request is, encoded.
    pub(super) bytes: usize,
    pub(super) departure: Departure,
    deadline: Deadline,
    id: Id,
    fate: Mutex<Fate>,
    /// Its number on the stream that it departed over; 0 before.
    number: AtomicU64,
    /// How many messages that stream had brought when it departed.
    heard: AtomicU64,
}

/// What became of a command.
#[derive(Debug)]
enum Fate {
    /// Nobody knows yet.
    Open(Option<Waker>),
    Known(News),
    /// The caller has been told.
    Told,
}

/// What the stream has to tell of a command.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// The node's answer; none where it makes no sense.
    Answer(Option<Answer>),
    /// The stream could not be opened.
    Refused(Arc<Status>),
    /// The stream ended.
    Lost(Arc<Status>),
    /// The node has no pipelines.
    NoPipeline,
}

impl Command {
    pub(super) fn new(request: Request, bytes: usize, deadline: Deadline, id: Id) -> Self {
        Self {
            request,
            bytes,
            departure: Departure::default(),
            deadline,
            id,
            fate: Mutex::new(Fate::Open(None)),
            number: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        }
    }

    /// Notes over which stream it departs.
    pub(super) fn departs(&self, number: u64, heard: u64) {
        self.number.store(number, Ordering::Relaxed);
        self.heard.store(heard, Ordering::Relaxed);
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, news: News) {
        let before = mem::replace(&mut *self.fate.lock(), Fate::Known(news));
        if let Fate::Open(Some(caller)) = before {
            caller.wake();
        }
    }

    /// Waits for the news; they are told once.
    pub(super) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<News> {
        let mut fate = self.fate.lock();
        match &mut *fate {
            Fate::Open(Some(waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Fate::Open(waker) => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Fate::Known(_) | Fate::Told => {}
        }
        match mem::replace(&mut *fate, Fate::Told) {
            Fate::Known(news) => Poll::Ready(news),
            Fate::Open(_) | Fate::Told => Poll::Pending,
        }
    }

    /// Writes it as a field of a message: a `Command`, without making one.
    pub(super) fn encode(&self, field: u32, now: Instant, buffer: &mut impl BufMut) {
        let (number, timeout_ms, id) = (self.number(), self.deadline.left_ms_at(now), self.id.text());
        let length = uint64::encoded_len(NUMBER, &number)
            + uint64::encoded_len(TIMEOUT_MS, &timeout_ms)
            + key_len(REQUEST_ID)
            + encoded_len_varint(id.len() as u64)
            + id.len()
            + self.bytes;
        encode_key(field, WireType::LengthDelimited, buffer);
        encode_varint(length as u64, buffer);
        uint64::encode(NUMBER, &number, buffer);
        uint64::encode(TIMEOUT_MS, &timeout_ms, buffer);
        encode_key(REQUEST_ID, WireType::LengthDelimited, buffer);
        encode_varint(id.len() as u64, buffer);
        buffer.put_slice(id.as_bytes());
        self.request.encode(buffer);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message as _;
    use rdb_proto::kv::v1;

    use super::*;

    #[test]
    fn a_command_is_written_as_the_wire_has_it() {
        let request = Request::Get(v1::GetRequest { key: "k".into() });
        let id = Id::next();
        let bytes = request.encoded_len();
        let command = Command::new(request.clone(), bytes, Deadline::after(Duration::from_secs(5)), id);
        let mut buffer = Vec::new();
        for number in [1, u64::MAX] {
            command.departs(number, 0);
            command.encode(1, Instant::now(), &mut buffer);
        }
        let message = v1::PipelineRequest::decode(buffer.as_slice()).unwrap();
        assert_eq!(message.commands.len(), 2);
        for (command, number) in message.commands.into_iter().zip([1, u64::MAX]) {
            assert_eq!(command.number, number);
            assert!((4_000..=5_000).contains(&command.timeout_ms.unwrap()));
            assert_eq!(command.request_id, id.to_string());
            assert_eq!(command.request, Some(request.clone()));
        }
    }
}
