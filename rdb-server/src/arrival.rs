use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming};
use rdb_engine_api::{Error, ErrorKind, Result};
use tonic::Status;

use crate::gate::Admission;

/// What gRPC puts before a message: a flag and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// Receives a request until it is whole; `None` where its client has left.
///
/// No service has seen the request yet, so whatever ends it here was certainly not applied (C10).
pub(crate) async fn receive(admission: &Admission, body: Incoming) -> Result<Option<Bytes>> {
    let ending = &admission.state().ending; // to copy it would take a lock that all requests share
    let deadline = admission.deadline();
    let message = tokio::select! {
        biased;
        message = collect(admission, body) => message?,
        () = deadline.passed() => {
            return Err(Error::new(ErrorKind::Unavailable, "request was not whole by its deadline"));
        }
        () = ending.cancelled() => None,
    };
    // Also where it is whole: its service would have to say that a write's outcome is unknown.
    if ending.is_cancelled() {
        return Err(Error::new(ErrorKind::Unavailable, "node is shutting down"));
    }
    Ok(message)
}

async fn collect(admission: &Admission, mut body: Incoming) -> Result<Option<Bytes>> {
    let limit = admission.state().max_message_bytes;
    // Frames are copied: a slice of what was read from the connection would keep all of that alive.
    let mut message = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(frame) = frame else { return Ok(None) };
        let Ok(data) = frame.into_data() else { continue }; // trailers say nothing that we read
        if message.len() + data.len() > limit.saturating_add(PREFIX_BYTES) {
            admission.state().metrics.requests_refused.inc();
            return Err(Error::new(ErrorKind::InvalidArgument, "message is too long").with("limit", limit));
        }
        admission.hold(data.len())?;
        message.extend_from_slice(&data);
    }
    Ok(Some(message.freeze()))
}

/// The body of a request that has been received.
#[derive(Debug)]
pub(crate) struct Whole(pub(crate) Bytes);

impl Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let message = std::mem::take(&mut self.0);
        Poll::Ready((!message.is_empty()).then(|| Ok(Frame::data(message))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
