//! The node's pipelines: each command does what the request of its name would.

use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use rdb_proto::kv::v1::{self, answer::Answer, command::Request as Asked, kv_server::Kv};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::{Act, Fake, Orders, Service};

/// What came over pipelines.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// How many commands each message had, for each stream that was asked for.
    messages: Mutex<Vec<Vec<usize>>>,
}

impl Fake {
    /// How many commands each message had, for each stream that was asked for.
    pub(crate) fn messages(&self) -> Vec<Vec<usize>> {
        self.orders.pipelines.messages.lock().clone()
    }
}

/// Acts at `pipeline` concern the stream: all but `Answer`, and those that break the connection, refuse it.
pub(super) async fn serve(
    orders: &Arc<Orders>,
    mut requests: Streaming<v1::PipelineRequest>,
) -> Result<Response<<Service as Kv>::PipelineStream>, Status> {
    let stream = {
        let mut messages = orders.pipelines.messages.lock();
        messages.push(Vec::new());
        messages.len() - 1
    };
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
    let service = Service(Arc::clone(orders));
    tokio::spawn(async move {
        while let Ok(Some(message)) = requests.message().await {
            service.0.pipelines.messages.lock()[stream].push(message.commands.len());
            for command in message.commands {
                let (service, answers) = (service.clone(), answers.clone());
                tokio::spawn(async move {
                    let number = command.number;
                    let answer = Some(service.carry_out(command).await);
                    let answers = answers.send(Ok(v1::PipelineResponse {
                        answers: vec![v1::Answer { number, answer }],
                    }));
                    drop(answers);
                });
            }
        }
    });
    Ok(Response::new(UnboundedReceiverStream::new(answered).boxed()))
}

impl Service {
    async fn carry_out(&self, command: v1::Command) -> Answer {
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
