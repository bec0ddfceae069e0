use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::HeaderMap;
use hyper::body::{Body, Frame};
use rdb_engine_api::{Error, ErrorKind};
use rdb_proto::{Call, to_status};
use tonic::Status;

use crate::flow::{Busy, Flow};
use crate::metrics::Shed;

/// An answer on its way to a client, counted until the client has taken it. Where there is no room for more,
/// it ends in an error instead.
#[derive(Debug)]
pub(crate) struct Outgoing {
    body: Option<tonic::body::Body>,
    /// What came first.
    first: Option<Frame<Chunk>>,
    call: Call,
    busy: Busy,
}

impl Outgoing {
    /// Encodes what is there already, so that it counts, whether or not the client takes anything: hyper 1.12 would
    /// ask for it at once too, but others only once there is a window, and until then answers would wait uncounted.
    pub(crate) async fn new(body: tonic::body::Body, call: Call, busy: Busy) -> Result<Self, Status> {
        let mut outgoing = Self { body: Some(body), first: None, call, busy };
        if !outgoing.is_end_stream() {
            let first = poll_fn(|context| {
                Poll::Ready(match outgoing.poll_more(context) {
                    Poll::Ready(first) => first.transpose(),
                    Poll::Pending => Ok(None),
                })
            });
            outgoing.first = first.await?;
        }
        Ok(outgoing)
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let Some(frame) = ready!(Pin::new(body).poll_frame(context)?) else {
            self.body = None;
            return Poll::Ready(None);
        };
        let frame = match frame.into_data() {
            Ok(bytes) => match Chunk::new(bytes, self.busy.flow()) {
                Ok(chunk) => Frame::data(chunk),
                Err(error) => {
                    self.body = None;
                    self.no_room(error)
                }
            },
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(trailers),
                Err(_) => return Poll::Ready(None), // there is no third kind
            },
        };
        Poll::Ready(Some(Ok(frame)))
    }

    /// What the client is told whose answer there is no room for.
    fn no_room(&self, error: Error) -> Frame<Chunk> {
        self.busy.flow().state().metrics.shed(Shed::AnswerBytes);
        let error = match self.call {
            Call::Read => error,
            // It may well have been applied (C10).
            Call::Write => Error::new(ErrorKind::Unknown, "there was no room for the answer").because(error),
        };
        let mut trailers = HeaderMap::new();
        // Fails where the message has bytes that no header can have, and ours have none.
        let _ = to_status(&error).add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl Body for Outgoing {
    type Data = Chunk;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.poll_more(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}

/// Bytes of an answer. HTTP/2 keeps them until the connection has taken them, and drops them where the client
/// leaves.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    flow: Arc<Flow>,
}

impl Chunk {
    fn new(bytes: Bytes, flow: &Arc<Flow>) -> Result<Self, Error> {
        flow.hold(bytes.len())?;
        Ok(Self { bytes, flow: Arc::clone(flow) })
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.flow.let_go(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.bytes.has_remaining() {
            self.flow.let_go(self.bytes.len());
        }
    }
}
