use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::departure::Departure;

/// Whether a request's message has begun its way to the server.
///
/// No error of gRPC, HTTP/2 or TCP tells this reliably, and a deadline that passes tells nothing. So the
/// request's body itself is watched. A server acts on a request only when it has the whole message, and
/// the message exists for the connection only once the body is polled: a request that was given up before
/// yields no message ever after. That certifies that it was not and will not be applied (C10).
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight(Arc<Departure>);

impl Flight {
    /// Stops the request from ever being sent; false if it may be on its way already.
    pub(crate) fn give_up(&self) -> bool {
        self.0.give_up()
    }

    /// Lets the request go; false if it was given up.
    pub(crate) fn depart(&self) -> bool {
        self.0.depart()
    }

    /// The same body, watched.
    pub(crate) fn watch(self, body: Body) -> Body {
        if body.is_end_stream() {
            // Without a body the head is all there is, and nobody polls for more.
            self.depart();
        }
        Body::new(WatchedBody { body, flight: self })
    }
}

struct WatchedBody {
    body: Body,
    flight: Flight,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.flight.depart() {
            return Poll::Ready(Some(Err(Status::cancelled("request was given up before it was sent"))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn first_frame(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    /// A message.
    struct Message;

    impl HttpBody for Message {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"message")))))
        }
    }

    #[tokio::test]
    async fn a_request_given_up_in_time_never_yields_its_message() {
        let flight = Flight::default();
        let mut body = flight.clone().watch(Body::new(Message));
        assert!(flight.give_up());
        assert!(flight.give_up(), "giving up twice is the same as once");
        let status = first_frame(&mut body).await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::Cancelled);
    }

    #[tokio::test]
    async fn a_request_whose_body_was_polled_may_be_on_its_way() {
        let flight = Flight::default();
        let mut body = flight.clone().watch(Body::new(Message));
        assert!(first_frame(&mut body).await.unwrap().is_ok());
        assert!(!flight.give_up());
        assert!(first_frame(&mut body).await.unwrap().is_ok());
    }

    #[test]
    fn a_request_without_a_body_is_on_its_way_from_the_start() {
        let flight = Flight::default();
        let _body = flight.clone().watch(Body::empty());
        assert!(!flight.give_up());
    }
}
