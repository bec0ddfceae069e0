//! Pipelines through the proxy: to each command befalls what would to a request of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use parking_lot::Mutex;
use prost::Message as _;
use rdb_proto::kv::v1::answer::{Answer as Told, Failure};
use rdb_proto::kv::v1::command::Request as Asked;
use rdb_proto::kv::v1::kv_client::KvClient;
use rdb_proto::kv::v1::{Answer as AnswerMessage, Command, PipelineRequest, PipelineResponse};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response};

use super::{Answer, Fate, Shared};

/// Whether the message is compressed, and its length.
const HEAD: usize = 5;

/// What befalls the commands that are not answered, by number.
type Fates = Arc<Mutex<HashMap<u64, Fate>>>;

/// Carries the commands of a stream to the node, and the answers back.
pub(super) fn forward(body: Incoming, shared: Arc<Shared>) -> Answer {
    let (messages, sent) = unbounded_channel();
    let (answers, answered) = unbounded_channel();
    let fates = Fates::default();
    tokio::spawn(bring(body, messages, Arc::clone(&shared), Arc::clone(&fates)));
    tokio::spawn(take_back(sent, answers, shared, fates));
    let mut response = Response::new(tonic::body::Body::new(Answers { answered, has_ended: false }));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

async fn bring(
    mut body: Incoming,
    messages: UnboundedSender<PipelineRequest>,
    shared: Arc<Shared>,
    fates: Fates,
) {
    let mut received = BytesMut::new();
    // The node keeps what it got, whatever becomes of the client.
    while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        let Ok(data) = frame.into_data() else { return };
        received.extend_from_slice(&data);
        while let Some(message) = next_message(&mut received) {
            let Ok(message) = PipelineRequest::decode(message) else { return };
            for command in &message.commands {
                shared.tally.calls.fetch_add(1, Relaxed);
                let fate = shared.draw();
                fates.lock().insert(command.number, fate);
                repeat(command, fate, &shared);
            }
            if messages.send(message).is_err() {
                return;
            }
        }
    }
}

/// Delivers a write once more, later, as a request of its own.
fn repeat(command: &Command, fate: Fate, shared: &Arc<Shared>) {
    let (Some(Asked::Write(write)), Some(after)) = (&command.request, fate.repeats) else { return };
    let (write, shared) = (write.clone(), Arc::clone(shared));
    shared.clone().repetitions.spawn(async move {
        sleep(after).await;
        let tally = &shared.tally;
        match KvClient::new(shared.node.clone()).write(write).await {
            Ok(_) => &tally.repeated,
            Err(status) if status.details().is_empty() => &tally.lost,
            Err(_) => &tally.refused,
        }
        .fetch_add(1, Relaxed);
    });
}

async fn take_back(
    sent: UnboundedReceiver<PipelineRequest>,
    answers: UnboundedSender<Bytes>,
    shared: Arc<Shared>,
    fates: Fates,
) {
    let mut node = KvClient::new(shared.node.clone());
    let Ok(answered) = node.pipeline(UnboundedReceiverStream::new(sent)).await else { return };
    let mut answered = answered.into_inner();
    while let Ok(Some(message)) = answered.message().await {
        let mut now = Vec::new();
        for mut answer in message.answers {
            let Some(Fate { drops, delays, .. }) = fates.lock().remove(&answer.number) else { return };
            if drops {
                shared.tally.dropped.fetch_add(1, Relaxed);
                answer.answer = Some(no_word());
            }
            match delays {
                None => now.push(answer),
                Some(delay) => {
                    shared.tally.delayed.fetch_add(1, Relaxed);
                    let answers = answers.clone();
                    tokio::spawn(async move {
                        sleep(delay).await;
                        let _ = answers.send(framed(vec![answer])); // fails where the client has left
                    });
                }
            }
        }
        if !now.is_empty() && answers.send(framed(now)).is_err() {
            return;
        }
    }
}

/// What a proxy says that lost an answer.
fn no_word() -> Told {
    let code = Code::Unavailable as u32;
    Told::Failure(Failure { code, message: "answer was dropped".to_owned(), details: Bytes::new() })
}

fn next_message(received: &mut BytesMut) -> Option<Bytes> {
    let length = received.get(1..HEAD)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if received.len() < HEAD + length {
        return None;
    }
    received.advance(HEAD);
    Some(received.split_to(length).freeze())
}

fn framed(answers: Vec<AnswerMessage>) -> Bytes {
    let message = PipelineResponse { answers }.encode_to_vec();
    let mut frame = BytesMut::with_capacity(HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// The answers, until the node's stream ends.
struct Answers {
    answered: UnboundedReceiver<Bytes>,
    has_ended: bool,
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.answered.poll_recv(context).map(|answers| match answers {
            Some(answers) => Some(Ok(Frame::data(answers))),
            None => {
                self.has_ended = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("14"));
                Some(Ok(Frame::trailers(trailers)))
            }
        })
    }
}
