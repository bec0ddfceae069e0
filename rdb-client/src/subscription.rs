use std::time::Duration;

use futures::stream;
#[cfg(doc)]
use rdb_engine_api::Engine;
use rdb_engine_api::{Error, ErrorKind, Result, Version, View, Watch, WatchEvent, WatchStream};
use tokio::time::sleep;

use crate::Client;
use crate::watch::OpenWatch;

/// The least pause before a watch is opened again: a policy without pauses means requests.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// A watch that is opened again where it broke off: after the last version that was delivered.
pub(crate) struct Subscription {
    client: Client,
    /// What is asked for next: later than what has been delivered.
    watch: Watch,
    version: Version,
    /// None while it is broken off.
    open: Option<OpenWatch>,
    /// How often it broke off or could not be opened since the last event.
    failed: u32,
}

impl Subscription {
    pub(crate) async fn begin(client: Client, watch: Watch) -> Result<Self> {
        let open = client.open_watch(&watch).await?;
        let version = open.version();
        Ok(Self { client, watch: watch.after(version), version, open: Some(open), failed: 0 })
    }

    /// The version up to which everything has been delivered.
    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// The next event. After an error there is none.
    pub(crate) async fn next(&mut self) -> Result<WatchEvent> {
        loop {
            let error = match &mut self.open {
                Some(open) => match open.next().await {
                    Ok(event) => {
                        self.failed = 0;
                        self.version = event.version();
                        self.watch.after = Some(self.version);
                        return Ok(event);
                    }
                    // The reader fell behind: what comes next is not there any more, or will not be soon.
                    Err(error) if error.kind() == ErrorKind::Exhausted => return Err(error),
                    Err(error) => error,
                },
                None => match self.client.try_watch(&self.watch).await {
                    Ok(open) => {
                        self.open = Some(open);
                        continue;
                    }
                    Err(error) => error,
                },
            };
            if !self.client.may_pass(&error) {
                let is_compacted = error.kind() == ErrorKind::Compacted;
                return Err(if is_compacted { error } else { error.at(self.version) });
            }
            self.open = None;
            self.failed = self.failed.saturating_add(1);
            tracing::debug!(
                version = %self.version,
                failed = self.failed,
                error = error.report(),
                "watch broke off and is opened again"
            );
            self.client.pause_after(self.failed).await;
        }
    }

    /// The events.
    pub(crate) fn into_events(self) -> WatchStream {
        Box::pin(stream::unfold(Some(self), |open| async {
            let mut subscription = open?;
            match subscription.next().await {
                Ok(event) => Some((Ok(event), Some(subscription))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

impl Client {
    /// Watches a range, and goes on by itself: where the connection is lost or the node restarts, the watch is
    /// opened again after the last version that was delivered, so that nothing is missed and nothing comes
    /// twice (C16). It goes on trying until it is dropped, or the client is closed.
    ///
    /// # Errors
    /// As [`watch`](Engine::watch). The stream ends with
    /// - [`Compacted`](ErrorKind::Compacted) where the history no longer has what comes next, as after a restart
    ///   of a node without durable history;
    /// - [`Exhausted`](ErrorKind::Exhausted) where the reader fell behind;
    /// - [`Closed`](ErrorKind::Closed) where this client is closed.
    ///
    /// In the first two cases, scan and subscribe again, or let
    /// [`watch_from_snapshot`](Self::watch_from_snapshot) do that. But for `Compacted`,
    /// [`Error::version`] is the last version up to which everything was delivered.
    pub async fn subscribe(&self, watch: Watch) -> Result<View<WatchStream>> {
        let subscription = Subscription::begin(self.clone(), watch).await?;
        Ok(View { version: subscription.version(), data: subscription.into_events() })
    }

    /// Whether an error of a scan or a watch goes away by itself while the node comes back: it is cut off,
    /// restarts, or has too many open, among them perhaps ours that it does not know to be broken.
    pub(crate) fn may_pass(&self, error: &Error) -> bool {
        let kind = error.kind();
        matches!(kind, ErrorKind::Unavailable | ErrorKind::Exhausted | ErrorKind::Closed) && !self.is_closed()
    }

    /// Waits before something is tried once more that is tried for ever.
    pub(crate) async fn pause_after(&self, failed: u32) {
        let pause = self.retry().backoff(failed, rand::random()).max(LEAST_PAUSE);
        tokio::select! {
            () = sleep(pause) => {}
            () = self.closing().cancelled() => {}
        }
    }
}
