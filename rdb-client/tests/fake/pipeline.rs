//! The node's pipelines: each command does what the request of its name would.

use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use rdb_proto::kv::v1::{self, answer::Answer, command::Request as Asked, kv_server::Kv};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::{Act, Fake, Service};

/// What came over pipelines.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// How many commands each message had, for each stream that was asked for.
    messages: Mutex<Vec<Vec<usize>>>,
    open: Arc<()>,
}

impl Fake {
    /// How many commands each message had, for each stream that was asked for.
    pub(crate) fn messages(&self) -> Vec<Vec<usize>> {
        self.orders.pipelines.messages.lock().clone()
    }

    /// How many streams the node has open.
    pub(crate) fn pipelines_open(&self) -> usize {
        Arc::strong_count(&self.orders.pipelines.open) - 1
    }
}

/// Acts at `pipeline` concern the stream.
pub(super) async fn serve(
    service: &Service,
    mut requests: Streaming<v1::PipelineRequest>,
) -> Result<Response<<Service as Kv>::PipelineStream>, Status> {
    let service = service.clone();
    let orders = &service.0;
    let stream = {
        let mut messages = orders.pipelines.messages.lock();
        messages.push(Vec::new());
        messages.len() - 1
    };
    let open = Arc::clone(&orders.pipelines.open);
    let act = orders.acts_at.lock().get_mut("pipeline").and_then(|acts| acts.pop_front());
    match act.unwrap_or(Act::Answer) {
        Act::Fail(error) => return Err(rdb_proto::to_status(&error)),
        Act::Stranger(code) => return Err(Status::new(code, "stranger")),
        Act::Hang => return std::future::pending().await,
        // Ends as if all were well.
        Act::Nonsense => return Ok(Response::new(Box::pin(futures::stream::empty()))),
        _ => {}
    }
    let (answers, answered) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let _open = open;
        while let Ok(Some(message)) = requests.message().await {
            service.0.pipelines.messages.lock()[stream].push(message.commands.len());
            for command in message.commands {
                let (service, answers) = (service.clone(), answers.clone());
                tokio::spawn(async move {
                    let number = command.number;
                    let answer = Some(service.carry_out(command).await);
                    let answers = answers
                        .send(Ok(v1::PipelineResponse { answers: vec![v1::Answer { number, answer }] }));
                    drop(answers);
                });
            }
        }
    });
    Ok(Response::new(UnboundedReceiverStream::new(answered).boxed()))
}

impl Service {
    async fn carry_out(&self, command: v1::Command) -> Answer {
        // Whatever was ordered: the answer is too large for here.
        if self.0.acts_at.lock().get_mut("elsewhere").and_then(|acts| acts.pop_front()).is_some() {
            return Answer::Elsewhere(v1::answer::Elsewhere {});
        }
        let mut metadata = MetadataMap::new();
        metadata.insert("x-request-id", command.request_id.parse().unwrap());
        if let Some(ms) = command.timeout_ms {
            metadata.insert("grpc-timeout", format!("{ms}m").parse().unwrap());
        }
        macro_rules! by_method {
            ($($name:ident, $method:ident;)*) => {
                match command.request.unwrap() {
                    $(Asked::$name(message) => {
                        let request = Request::from_parts(metadata, Extensions::default(), message);
                        match self.$method(request).await {
                            Ok(answer) => Answer::$name(answer.into_inner()),
                            Err(status) => failure(&status),
                        }
                    })*
                }
            };
        }
        by_method! {
            Get, get;
            GetMany, get_many;
            Put, put;
            Delete, delete;
            CompareAndSwap, compare_and_swap;
            Write, write;
            OpenSession, open_session;
            ResumeSession, resume_session;
            EndSession, end_session;
            Settle, settle;
            Time, time;
        }
    }
}

fn failure(status: &Status) -> Answer {
    Answer::Failure(v1::answer::Failure {
        code: i32::from(status.code()) as u32,
        message: status.message().to_owned(),
        details: status.details().to_vec().into(),
    })
}
