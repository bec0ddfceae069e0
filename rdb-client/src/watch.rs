use std::collections::VecDeque;
use std::time::Duration;

use futures::stream;
use rdb_engine_api::{Error, ErrorKind, Limits, Result, Version, Watch, WatchEvent, WatchStream};
use rdb_proto::kv::v1::{WatchRequest, WatchResponse};
use rdb_proto::{Call, WatchAssembly, WatchPart, from_status};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::Client;
use crate::call::{Deadline, Tell, attempt, repeat};
use crate::client::closed;
use crate::lanes::Lane;
use crate::scan::malformed;

/// An open watch: what the node sends, checked to be in order and whole (C16).
pub(crate) struct OpenWatch {
    parts: Streaming<WatchResponse>,
    _lane: Lane,
    assembly: WatchAssembly,
    ready: VecDeque<WatchEvent>,
    /// The version up to which everything has been delivered.
    version: Version,
    /// How long the node may say nothing.
    patience: Duration,
    closing: CancellationToken,
}

impl OpenWatch {
    /// Waits for the beginning, which is `asked` where the watch asked for one.
    pub(crate) async fn begin(
        mut parts: Streaming<WatchResponse>,
        lane: Lane,
        asked: Option<Version>,
        limits: &Limits,
        patience: Duration,
        closing: CancellationToken,
    ) -> Result<Self> {
        let WatchPart::Start(version) = next_part(&mut parts, patience, &closing).await? else {
            return Err(malformed("watch has no beginning"));
        };
        if asked.is_some_and(|asked| asked != version) {
            return Err(malformed("watch begins elsewhere than it was asked to").with("version", version));
        }
        let assembly = WatchAssembly::new(version, limits);
        Ok(Self { parts, _lane: lane, assembly, ready: VecDeque::new(), version, patience, closing })
    }

    /// The version up to which everything has been delivered.
    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// The next event. After an error there is none.
    pub(crate) async fn next(&mut self) -> Result<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.version = event.version();
                return Ok(event);
            }
            let taken = match next_part(&mut self.parts, self.patience, &self.closing).await {
                Ok(part) => self.assembly.take(part),
                Err(error) => Err(error),
            };
            match taken {
                Ok(events) => self.ready.extend(events),
                // It names the oldest version that can be had.
                Err(error) if error.kind() == ErrorKind::Compacted => return Err(error),
                Err(error) => return Err(error.at(self.version)),
            }
        }
    }

    /// The events. Dropping the stream tells the node to stop.
    pub(crate) fn into_events(self) -> WatchStream {
        Box::pin(stream::unfold(Some(self), |open| async {
            let mut watch = open?;
            match watch.next().await {
                Ok(event) => Some((Ok(event), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

impl Client {
    /// Opens a watch as every read is done.
    pub(crate) async fn open_watch(&self, watch: &Watch) -> Result<OpenWatch> {
        let message = WatchRequest::from(watch.clone());
        self.check_size(&message)?;
        let deadline = Deadline::after(self.timeout());
        repeat(self.retry(), deadline, || Some(self.watch_by(deadline, watch))).await
    }

    /// Opens a watch, or fails.
    pub(crate) async fn try_watch(&self, watch: &Watch) -> Result<OpenWatch> {
        self.watch_by(Deadline::after(self.timeout()), watch).await
    }

    async fn watch_by(&self, deadline: Deadline, watch: &Watch) -> Result<OpenWatch> {
        let message = WatchRequest::from(watch.clone());
        let limits = self.present_limits(deadline).await?;
        let lane = self.lane()?;
        let mut kv = self.kv(lane.wire());
        let open = |request| async move { kv.watch(request).await };
        let parts = attempt(Call::Read, deadline, Tell::Nothing, message, open).await?;
        // Nothing for longer than that is not an idle range: its progress would be told.
        let patience = watch.progress.saturating_add(self.timeout());
        deadline
            .bound(OpenWatch::begin(parts, lane, watch.after, &limits, patience, self.closing().clone()))
            .await
    }
}

async fn next_part(
    parts: &mut Streaming<WatchResponse>,
    patience: Duration,
    closing: &CancellationToken,
) -> Result<WatchPart> {
    let message = tokio::select! {
        biased;
        () = closing.cancelled() => return Err(closed()),
        message = timeout(patience, parts.message()) => message,
    };
    match message {
        Ok(Ok(Some(part))) => part.try_into(),
        Ok(Ok(None)) => Err(Error::new(ErrorKind::Unavailable, "watch was cut short")),
        Ok(Err(status)) => Err(from_status(&status, Call::Read)),
        Err(_) => Err(Error::new(ErrorKind::Unavailable, "no sign of the watch in time")),
    }
}
