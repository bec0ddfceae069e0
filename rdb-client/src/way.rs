use std::mem;
use std::sync::Arc;

use rdb_engine_api::Result;
use rdb_proto::kv::v1::kv_client::KvClient;

use crate::call::{Deadline, Tell, attempt};
use crate::lanes::{Lane, Lanes};
use crate::pipeline::{Asked, Method, Pipelines};
use crate::wire::Wire;

/// The way of a request to the node and of its answer back.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    course: Course,
    max_message_bytes: usize,
}

#[derive(Clone, Debug)]
enum Course {
    /// Over a pipeline, where there is one.
    Prompt(Arc<Lanes>),
    /// By itself.
    Alone(Arc<Lanes>),
    /// By itself, among those that wait.
    Lane(Lane),
}

impl Way {
    /// For what is answered soon.
    pub(crate) const fn prompt(lanes: Arc<Lanes>, max_message_bytes: usize) -> Self {
        Self { course: Course::Prompt(lanes), max_message_bytes }
    }

    /// For what shall not go over a pipeline.
    pub(crate) const fn alone(lanes: Arc<Lanes>, max_message_bytes: usize) -> Self {
        Self { course: Course::Alone(lanes), max_message_bytes }
    }

    /// For what waits for what others do.
    pub(crate) const fn lane(lane: Lane, max_message_bytes: usize) -> Self {
        Self { course: Course::Lane(lane), max_message_bytes }
    }

    /// Asks once, and repeats nothing.
    pub(crate) async fn ask<M: Method>(&self, message: M, deadline: Deadline) -> Result<M::Answer> {
        let message = match self.pipelines() {
            None => message,
            Some(pipelines) => match pipelines.ask(message, deadline, Ok).await {
                Asked::Answered(answer) => return Ok(answer),
                Asked::Failed(error, _) => return Err(error),
                Asked::Elsewhere(message) => message,
            },
        };
        // Boxed: the future of every request would be as large as gRPC's, and is moved about.
        Box::pin(self.ask_alone(message, deadline)).await
    }

    /// Asks once, and makes of the answer what is wanted. Where there is none, the message is there again for
    /// another attempt.
    pub(crate) async fn ask_with<M: Method, T>(
        &self,
        message: &mut M,
        deadline: Deadline,
        convert: impl Fn(M::Answer) -> Result<T>,
    ) -> Result<T> {
        if let Some(pipelines) = self.pipelines() {
            match pipelines.ask(mem::take(message), deadline, &convert).await {
                Asked::Answered(told) => return Ok(told),
                Asked::Failed(error, back) => {
                    *message = back;
                    return Err(error);
                }
                Asked::Elsewhere(back) => *message = back,
            }
        }
        convert(Box::pin(self.ask_alone(message.clone(), deadline)).await?)
    }

    async fn ask_alone<M: Method>(&self, message: M, deadline: Deadline) -> Result<M::Answer> {
        let limit = self.max_message_bytes;
        let kv = KvClient::new(self.wire());
        let kv = kv.max_decoding_message_size(limit).max_encoding_message_size(limit);
        attempt(M::CALL, deadline, Tell::Deadline, message, |request| M::send(kv, request)).await
    }

    fn pipelines(&self) -> Option<&Pipelines> {
        match &self.course {
            Course::Prompt(lanes) => lanes.pipelines(),
            Course::Alone(_) | Course::Lane(_) => None,
        }
    }

    fn wire(&self) -> Wire {
        match &self.course {
            Course::Prompt(lanes) | Course::Alone(lanes) => lanes.prompt().clone(),
            Course::Lane(lane) => lane.wire(),
        }
    }
}
