use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Engine, Error, ErrorKind, Result, View, Watch, WatchEvent, WatchStream};
use rdb_proto::kv::v1;
use rdb_proto::{SCAN_CHUNK_BYTES, WatchPart, event_bytes, pack_events};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::answers::{Answers, feed};
use crate::gate::Admission;
use crate::open::Open;

type Answer = Result<v1::WatchResponse, Status>;

/// What is counted of a node's watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watches {
    pub(crate) open: Gauge,
    messages: Counter,
}

impl Watches {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let watches = Self::default();
        registry.register("watches_open", "Watches being delivered", watches.open.clone());
        registry.register(
            "watch_messages",
            "Messages sent to watches after their first, progress included",
            watches.messages.clone(),
        );
        watches
    }
}

/// Opens a watch on the engine, and leaves it to a task that feeds the answer.
///
/// It ends with its client, by its client's deadline, when the node drains, and where it is left unread for as
/// long as a scan may be.
pub(crate) async fn open<E: Engine + ?Sized>(
    engine: &E,
    watches: &Watches,
    mut request: Request<v1::WatchRequest>,
) -> Result<ReceiverStream<Answer>, Status> {
    let admission = Admission::of(&mut request)?;
    let is_open = Open::new(&watches.open);
    let work = async {
        let watch = Watch::try_from(request.into_inner())?;
        engine.watch(watch).await
    };
    match admission.supervise(work).await {
        Ok(view) => {
            admission.wait();
            let idle = engine.info().limits.scan_idle;
            let watches = watches.clone();
            Ok(feed(Arc::clone(&admission), idle, |answers| async move {
                let _is_open = is_open;
                Err(deliver(view, &answers, &watches).await)
            }))
        }
        Err(error) => Err(admission.fail(error)),
    }
}

/// Delivers until something ends it.
async fn deliver(view: View<WatchStream>, answers: &Answers<v1::WatchResponse>, watches: &Watches) -> Error {
    let mut delivered = view.version;
    let mut events = view.data;
    let work = async {
        answers.send(WatchPart::Start(view.version).into()).await?;
        loop {
            // What the client is not ready for waits in the engine's history, which all watches share.
            drop(answers.room().await?);
            let (ready, end) = ready(&mut events).await;
            let last = ready.last().map(WatchEvent::version);
            for part in pack_events(ready) {
                watches.messages.inc();
                answers.send(part.into()).await?;
            }
            delivered = last.unwrap_or(delivered);
            end?;
        }
    };
    let result: Result<std::convert::Infallible> = work.await;
    let Err(error) = result;
    // The engine says itself how far it came.
    if error.version().is_some() { error } else { error.at(delivered) }
}

/// Waits for an event, and takes with it what is ready, as much as fills a message; and how the watch ended, where
/// it did.
async fn ready(events: &mut WatchStream) -> (Vec<WatchEvent>, Result<()>) {
    let (mut ready, mut bytes) = (Vec::new(), 0);
    let mut next = events.next().await;
    loop {
        match next {
            Some(Ok(event)) => {
                bytes += event_bytes(&event);
                ready.push(event);
            }
            Some(Err(error)) => return (ready, Err(error)),
            None => {
                let error = Error::new(ErrorKind::Internal, "engine ended a watch without saying why");
                return (ready, Err(error));
            }
        }
        if bytes >= SCAN_CHUNK_BYTES {
            return (ready, Ok(()));
        }
        match events.next().now_or_never() {
            Some(more) => next = more,
            None => return (ready, Ok(())),
        }
    }
}
