use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;

use super::codec::Parcel;
use super::conduit::Conduit;
use super::pipe::Pipe;

/// The messages of a stream: whenever HTTP/2 asks for one, all that waits, at once and together.
pub(super) struct Drain {
    pipe: Arc<Pipe>,
    conduit: Arc<Conduit>,
    /// Whether those who are about to run had their turn since something came.
    has_yielded: bool,
}

impl Drain {
    pub(super) const fn new(pipe: Arc<Pipe>, conduit: Arc<Conduit>) -> Self {
        Self { pipe, conduit, has_yielded: false }
    }
}

impl Stream for Drain {
    type Item = Parcel;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Parcel>> {
        let this = &mut *self;
        if !this.has_yielded {
            // The answers of one message wake many callers, who run one after the other. The first of them must
            // not leave with a message of its own while the others are on their way here.
            this.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut queue = this.pipe.queue();
        if !queue.is_of(&this.conduit) {
            return Poll::Ready(None);
        }
        let parcel = queue.depart(&this.conduit);
        if !parcel.is_empty() {
            return Poll::Ready(Some(parcel));
        }
        queue.waker = Some(cx.waker().clone());
        this.has_yielded = false;
        Poll::Pending
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.conduit.cut();
    }
}
