use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rdb_engine_api::ErrorKind;
use rdb_proto::kv::v1::PipelineResponse;
use rdb_proto::{Call, from_status};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};

use super::codec::Codec;
use super::command::{Command, News};
use super::conduit::Conduit;
use super::drain::Drain;
use super::queue::Queue;
use super::refusal::Refusal;
use crate::request;
use crate::wire::Wire;

const PATH: &str = "/flaredb.kv.v1.Kv/Pipeline";

/// The longest message of answers. A node sends none that is nearly as long: what is large goes by itself.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How often a stream that takes no more commands looks whether anybody still waits for its answers.
const FAREWELL: Duration = Duration::from_millis(500);

/// A line of commands to the node: what waits, and the streams that take it along, one after the other.
#[derive(Debug)]
pub(super) struct Pipe {
    wire: Wire,
    queue: Mutex<Queue>,
    /// How many callers wait for answers.
    waiting: AtomicUsize,
    refusal: Arc<Refusal>,
    closing: CancellationToken,
}

impl Pipe {
    pub(super) fn new(wire: Wire, refusal: Arc<Refusal>, closing: CancellationToken) -> Self {
        Self { wire, queue: Mutex::default(), waiting: AtomicUsize::new(0), refusal, closing }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn begin_to_wait(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_to_wait(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Lets a command wait for the next message; that is at once, unless others are before it. Where there is no
    /// stream, one is opened, and nobody waits until it is: the first message opens it.
    pub(super) fn push(self: &Arc<Self>, command: Arc<Command>) {
        let mut queue = self.queue();
        queue.push(command);
        let opening = match &queue.conduit {
            Some(conduit) if !conduit.is_cut() => None,
            _ => Some(self.open(&mut queue)),
        };
        let waker = queue.waker.take();
        drop(queue);
        if let Some(opening) = opening {
            opening.spawn();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Lets nothing more depart over the stream that this command departed over, where nothing was heard of that
    /// since. Those who wait for its answers go on waiting.
    pub(super) fn doubt(self: &Arc<Self>, command: &Arc<Command>) {
        let mut queue = self.queue();
        if let Some(conduit) = queue.conduit.take_if(|conduit| conduit.is_silent_since(command)) {
            conduit.leaving.cancel();
            let waker = queue.waker.take();
            let opening = (!queue.is_empty()).then(|| self.open(&mut queue));
            drop(queue);
            if let Some(opening) = opening {
                opening.spawn();
            }
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn open(self: &Arc<Self>, queue: &mut Queue) -> Opening {
        let conduit = Arc::new(Conduit::new(self.closing.child_token()));
        queue.conduit = Some(Arc::clone(&conduit));
        queue.waker = None;
        Opening(End { pipe: Arc::clone(self), conduit })
    }

    /// There is room for commands again.
    fn wake(&self) {
        if let Some(waker) = self.queue().waker.take() {
            waker.wake();
        }
    }

    async fn request(
        self: &Arc<Self>,
        conduit: &Arc<Conduit>,
    ) -> Result<Streaming<PipelineResponse>, Status> {
        let mut grpc = Grpc::new(self.wire.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        grpc.ready().await.map_err(|error| Status::unknown(format!("Service was not ready: {error}")))?;
        let mut request = Request::new(Drain::new(Arc::clone(self), Arc::clone(conduit)));
        request::Request::begin().mark(&mut request);
        let answers = grpc.streaming(request, PathAndQuery::from_static(PATH), Codec).await?;
        Ok(answers.into_inner())
    }

    /// The stream has ended. What departed over it has no answer; what did not goes over the next one, unless
    /// this one took nothing along, so that the next would do no better.
    fn ended(self: &Arc<Self>, conduit: &Arc<Conduit>, news: &News) {
        let mut queue = self.queue();
        // The body ends when it is asked for more.
        let mut waker = None;
        if queue.is_of(conduit) {
            queue.conduit = None;
            waker = queue.waker.take();
        }
        let departed = conduit.take();
        let may_go_on =
            conduit.has_carried() && matches!(news, News::Lost(_)) && !self.closing.is_cancelled();
        let (opening, unsent) = match queue.conduit {
            Some(_) => (None, None),
            None if queue.is_empty() => (None, None),
            None if may_go_on && Handle::try_current().is_ok() => (Some(self.open(&mut queue)), None),
            None => (None, Some(queue.take())),
        };
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(opening) = opening {
            opening.spawn();
        }
        for command in departed.into_commands().chain(unsent.into_iter().flatten()) {
            command.tell(news.clone());
        }
    }
}

/// A stream that is to be opened.
struct Opening(End);

impl Opening {
    /// Not under the lock of the queue: where the runtime is going down, the stream ends at once.
    fn spawn(self) {
        tokio::spawn(self.run());
    }

    async fn run(self) {
        let End { pipe, conduit } = &self.0;
        let opened = tokio::select! {
            biased;
            () = pipe.closing.cancelled() => return,
            () = abandoned(conduit) => return,
            opened = pipe.request(conduit) => opened,
        };
        let news = match opened {
            Ok(answers) => News::Lost(Arc::new(read(pipe, conduit, answers).await)),
            Err(status) if from_status(&status, Call::Write).kind() == ErrorKind::Unsupported => {
                pipe.refusal.remember();
                News::NoPipeline
            }
            Err(status) => News::Refused(Arc::new(status)),
        };
        pipe.ended(conduit, &news);
    }
}

/// Tells those who wait whatever becomes of the task.
struct End {
    pipe: Arc<Pipe>,
    conduit: Arc<Conduit>,
}

impl Drop for End {
    fn drop(&mut self) {
        let news = News::Lost(Arc::new(Status::unavailable("client stopped reading its pipeline")));
        self.pipe.ended(&self.conduit, &news);
    }
}

/// Hands out the answers until the stream ends, and says how it did.
async fn read(pipe: &Pipe, conduit: &Conduit, mut answers: Streaming<PipelineResponse>) -> Status {
    let mut told = Vec::new();
    let mut abandoned = pin!(abandoned(conduit));
    loop {
        let message = tokio::select! {
            biased;
            message = answers.message() => message,
            () = &mut abandoned => return Status::cancelled("nobody waits for answers"),
        };
        if let Some(status) = heard(pipe, conduit, message, &mut told) {
            return status;
        }
    }
}

/// Waits until the stream takes no more commands, and nobody waits for its answers.
async fn abandoned(conduit: &Conduit) {
    conduit.leaving.cancelled().await;
    let mut farewell = interval(FAREWELL);
    farewell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        farewell.tick().await;
        if conduit.is_abandoned() {
            return;
        }
    }
}

/// Hands out the answers of a message. Returns how the stream ended, if it did.
fn heard(
    pipe: &Pipe,
    conduit: &Conduit,
    message: Result<Option<PipelineResponse>, Status>,
    told: &mut Vec<(Arc<Command>, News)>,
) -> Option<Status> {
    match message {
        Ok(Some(message)) => match conduit.deliver(message, told) {
            Some(true) => pipe.wake(),
            Some(false) => {}
            None => return Some(Status::internal("node answered what nobody asked")),
        },
        Ok(None) => return Some(Status::unavailable("node ended the pipeline")),
        Err(status) => return Some(status),
    }
    None
}
