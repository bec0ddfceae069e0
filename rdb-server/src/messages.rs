use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures::{Stream, StreamExt};
use hyper::body::{Body, Frame, Incoming};
use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::{Call, from_status, to_status};
use tokio::time::{Sleep, sleep};
use tonic::{Status, Streaming};

use crate::arrival::PREFIX_BYTES;
use crate::gate::Admission;
use crate::method::Reception;

/// The messages of a request that has many, as they come.
#[derive(Debug)]
pub struct Messages<Q>(Streaming<Q>);

impl<Q> Messages<Q> {
    pub(crate) const fn new(messages: Streaming<Q>) -> Self {
        Self(messages)
    }

    /// Waits for the next one; `None` after the last.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) where the client has left before the end, or sends no whole message
    /// for so long that an upload ends ([`NodeConfig::stall_timeout`](crate::NodeConfig::stall_timeout)),
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a message that is too long or malformed,
    /// [`Exhausted`](ErrorKind::Exhausted) where there is no room for its bytes.
    pub async fn next(&mut self) -> Result<Option<Q>> {
        StreamExt::next(self).await.transpose()
    }
}

impl<Q> Stream for Messages<Q> {
    type Item = Result<Q>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Q>>> {
        let message = ready!(Pin::new(&mut self.0).poll_next(context));
        Poll::Ready(message.map(|message| {
            message.map_err(|status| match status.details() {
                // Of gRPC's machinery: it could make no message of the bytes.
                [] => Error::new(ErrorKind::InvalidArgument, "message cannot be read")
                    .because(status.message().to_owned()),
                _ => from_status(&status, Call::Read),
            })
        }))
    }
}

/// The body of a request with many messages, on its way to its service. It is read no faster than the service
/// takes messages, holds each to the limit, and takes room for the bytes of those that are not taken yet. An upload
/// whose client leaves its service without the next message for too long ends, and so does a dialogue in the middle of
/// a message.
#[derive(Debug)]
pub(crate) struct Passing {
    body: Incoming,
    admission: Arc<Admission>,
    message: Framing,
    /// What was handed on: all of it is taken when more is asked for, but for a message that is not whole.
    handed: usize,
    /// Since the service waits for its client.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Passing {
    pub(crate) fn new(body: Incoming, admission: Arc<Admission>) -> Self {
        Self { body, admission, message: Framing::default(), handed: 0, waiting: None }
    }

    fn take(&mut self, data: &Bytes) -> Result<()> {
        let state = self.admission.state();
        let limit = state.max_message_bytes;
        if let Err(length) = self.message.advance(data.clone(), limit) {
            state.metrics.requests_refused.inc();
            return Err(Error::new(ErrorKind::InvalidArgument, "message is too long")
                .with("bytes", length)
                .with("limit", limit));
        }
        self.admission.hold(data.len())?;
        self.handed += data.len();
        if self.message.has_ended {
            self.waiting = None;
        }
        Ok(())
    }

    /// Whether the service waits for too long. A dialogue may rest for as long as its client likes, but not in the
    /// middle of a message, whose bytes take room.
    fn poll_left_waiting(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        if self.admission.method().reception != Reception::Upload && self.message.received == 0 {
            return Poll::Pending;
        }
        let limit = self.admission.state().config.stall_timeout;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context));
        let error = Error::new(ErrorKind::Unavailable, "next message did not come in time");
        Poll::Ready(error.with("limit_ms", limit.as_millis()))
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let taken = self.handed.saturating_sub(self.message.received);
        self.admission.let_go(taken);
        self.handed -= taken;
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => {
                let error = ready!(self.poll_left_waiting(context));
                return Poll::Ready(Some(Err(to_status(&error))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(_))) => {
                let error = Error::new(ErrorKind::Unavailable, "request broke off");
                return Poll::Ready(Some(Err(to_status(&error))));
            }
        };
        let taken = match frame.data_ref() {
            Some(data) => self.take(data),
            None => Ok(()),
        };
        Poll::Ready(Some(taken.map(|()| frame).map_err(|error| to_status(&error))))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.admission.let_go(self.handed);
    }
}

/// Where in gRPC's sequence of messages a stream is.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    /// The bytes of the current message that have come, its prefix included.
    received: usize,
    /// Whether a message has ended in the bytes that came last.
    has_ended: bool,
}

impl Framing {
    /// Follows the messages in some bytes; an error is the length of one that is above the limit.
    fn advance(&mut self, mut data: Bytes, limit: usize) -> Result<(), usize> {
        self.has_ended = false;
        while data.has_remaining() {
            if self.received < PREFIX_BYTES {
                let taken = data.len().min(PREFIX_BYTES - self.received);
                data.copy_to_slice(&mut self.prefix[self.received..self.received + taken]);
                self.received += taken;
                if self.received < PREFIX_BYTES {
                    return Ok(());
                }
                if self.length() > limit {
                    return Err(self.length());
                }
            }
            let taken = data.len().min(PREFIX_BYTES + self.length() - self.received);
            data.advance(taken);
            self.received += taken;
            if self.received == PREFIX_BYTES + self.length() {
                self.received = 0;
                self.has_ended = true;
            }
        }
        Ok(())
    }

    fn length(&self) -> usize {
        let [_, length @ ..] = self.prefix;
        usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(lengths: &[u8]) -> Vec<u8> {
        lengths
            .iter()
            .flat_map(|&length| [vec![0, 0, 0, 0, length], vec![7; length.into()]].concat())
            .collect()
    }

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        let bytes = framed(&[3, 0, 7]);
        for cut in 1..bytes.len() {
            let mut framing = Framing::default();
            for part in bytes.chunks(cut) {
                assert_eq!(framing.advance(Bytes::copy_from_slice(part), 7), Ok(()));
            }
            assert_eq!(framing.received, 0, "cut {cut}");
            let mut framing = Framing::default();
            let seen: Result<(), usize> =
                bytes.chunks(cut).try_for_each(|part| framing.advance(Bytes::copy_from_slice(part), 6));
            assert_eq!(seen, Err(7), "cut {cut}");
        }
    }
}
