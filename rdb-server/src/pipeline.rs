mod command;
mod slots;
mod stream;
mod unsent;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Engine, Error, ErrorKind, Result};
use rdb_proto::kv::v1;
use rdb_proto::to_status;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use self::command::Places;
use self::stream::{Stream, supervised};
use self::unsent::Unsent;
use crate::flow::Flow;
use crate::gate::Admission;
use crate::handlers::Handlers;
use crate::messages::Messages;
use crate::open::Open;

type Message = Result<v1::PipelineResponse, Status>;

/// What is counted of a node's pipelines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipelines {
    open: Gauge,
    messages: Counter,
    commands: Counter,
    answers: Counter,
}

impl Pipelines {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let pipelines = Self::default();
        registry.register("pipelines_open", "Pipelines being served", pipelines.open.clone());
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("pipeline_messages", "Messages of commands received on pipelines", &pipelines.messages);
        counter("pipeline_commands", "Commands received on pipelines", &pipelines.commands);
        counter("pipeline_answer_messages", "Messages of answers sent on pipelines", &pipelines.answers);
        pipelines
    }
}

/// Leaves a pipeline to a task that serves it until its client has ended it or left, by its client's deadline, or
/// until the node drains.
///
/// It gives its place back at once: each of its commands takes one.
pub(crate) fn open<E: Engine + ?Sized>(
    handlers: &Arc<Handlers<E>>,
    pipelines: &Pipelines,
    mut request: Request<Streaming<v1::PipelineRequest>>,
) -> Result<ReceiverStream<Message>, Status> {
    let admission = Admission::of(&mut request)?;
    let flow = request.extensions_mut().remove::<Arc<Flow>>().ok_or_else(|| {
        to_status(&Error::new(ErrorKind::Internal, "pipeline reached its service without a connection"))
    })?;
    let places = Places::new(&admission.state().methods).map_err(|error| admission.fail(error))?;
    admission.wait();
    let is_open = Open::new(&pipelines.open);
    let messages = Messages::new(request.into_inner());
    let (handlers, pipelines) = (Arc::clone(handlers), pipelines.clone());
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _is_open = is_open;
        let idle = admission.state().config.request_timeout;
        let past_deadline = async {
            match admission.requested() {
                Some(deadline) => deadline.passed().await,
                None => std::future::pending().await,
            }
        };
        let serving = async {
            let stream = Stream::new(&handlers, supervised, admission.state(), places, &pipelines, flow);
            stream.serve(messages, &sender).await
        };
        let result = tokio::select! {
            biased;
            () = sender.closed() => return, // nobody is there any more; counted as cancelled
            () = past_deadline => Err(admission.cut_off("deadline has passed")),
            result = admission.catch(serving) => result,
        };
        let (unsent, end) = match result {
            Ok((unsent, end)) => (Some(unsent), end),
            Err(error) => (None, Err(error)),
        };
        admission.finish(&end);
        let end = end.map_err(|error| admission.fail(error));
        // Before the reader takes the last answers: it may take its time, or never come.
        drop(admission);
        let end = match unsent {
            Some(unsent) if !unsent.is_empty() => match deliver(unsent, &sender, &pipelines, idle).await {
                Ok(()) => end,
                Err(error) => Err(to_status(&error)),
            },
            _ => end,
        };
        if let Err(status) = end {
            let _ = sender.send(Err(status)).await; // fails where nobody is there any more
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// Sends the last answers.
async fn deliver(
    mut unsent: Unsent,
    sender: &Sender<Message>,
    pipelines: &Pipelines,
    idle: Duration,
) -> Result<()> {
    while !unsent.is_empty() {
        match timeout(idle, sender.reserve()).await {
            Ok(Ok(room)) => {
                pipelines.answers.inc();
                room.send(Ok(unsent.next()));
            }
            Ok(Err(_)) => return Ok(()), // nobody is there any more
            Err(_) => return Err(unread(idle)),
        }
    }
    Ok(())
}

/// Why a pipeline ends whose client does not read.
fn unread(idle: Duration) -> Error {
    Error::new(ErrorKind::Exhausted, "answers were left unread for too long")
        .with("limit_ms", idle.as_millis())
}
