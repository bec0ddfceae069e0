//! Watches: streams that read the log at their readers' pace (C16).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::log::{Found, Log};
use super::registry::Place;
use crate::{
    CommittedBatch, CommittedOp, Error, ErrorKind, Previous, Result, Version, View, Watch, WatchEvent,
    WatchStream,
};

/// What a watch can ask for.
const PROGRESS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(24 * 60 * 60)];

/// Opens a watch. `present` is the version of a view of the store.
pub(super) async fn open(log: Arc<Log>, watch: Watch, present: Version) -> Result<View<WatchStream>> {
    let (version, place) = log.enter(&watch, present).await?;
    let Watch { previous, progress, .. } = watch;
    let watcher = Watcher { log, place, previous, progress, found: VecDeque::new(), told: Instant::now() };
    let data = stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(event) => Some((Ok(event), Some(watcher))),
            Err(error) => {
                if error.kind() == ErrorKind::Exhausted {
                    watcher.log.meter.overtaken.increment();
                }
                // The place first: whoever sees the watch's end can open the next.
                drop(watcher);
                Some((Err(error), None))
            }
        }
    });
    Ok(View { version, data: Box::pin(data) })
}

pub(super) fn check_progress(every: Duration) -> Result<()> {
    let [least, most] = PROGRESS;
    if (least..=most).contains(&every) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, "progress of a watch is asked for too often or too seldom")
        .with("every_ms", every.as_millis())
        .with("least_ms", least.as_millis())
        .with("most_ms", most.as_millis()))
}

struct Watcher {
    log: Arc<Log>,
    place: Arc<Place>,
    previous: bool,
    progress: Duration,
    /// Taken from the log, not delivered yet.
    found: VecDeque<Arc<CommittedBatch>>,
    /// When the reader was last told a version.
    told: Instant,
}

impl Watcher {
    async fn next(&mut self) -> Result<WatchEvent> {
        let mut read = None;
        loop {
            if let Some(commit) = self.next_found() {
                self.told = Instant::now();
                self.log.meter.events.increment();
                return Ok(WatchEvent::Commit(commit));
            }
            if let Some(Found { up_to, is_caught_up }) = read.take() {
                let due = self.told + self.progress;
                if Instant::now() >= due {
                    self.told = Instant::now();
                    self.log.compact();
                    return Ok(WatchEvent::Progress(up_to));
                }
                if is_caught_up {
                    // Woken or due: the log knows.
                    let _ = timeout_at(due, self.place.wake.notified()).await;
                } else {
                    // A long stretch of the history may concern others alone.
                    yield_now().await;
                }
            }
            read = Some(self.log.read(&self.place, &mut self.found)?);
        }
    }

    fn next_found(&mut self) -> Option<CommittedBatch> {
        while let Some(commit) = self.found.pop_front() {
            let commit = self.delivered(&commit);
            if commit.is_some() {
                return commit;
            }
        }
        None
    }

    /// What the watch delivers of a commit.
    fn delivered(&self, commit: &CommittedBatch) -> Option<CommittedBatch> {
        let deliver = |op: &CommittedOp| match self.previous {
            true => op.clone(),
            false => CommittedOp::new(op.key.clone(), op.record.clone(), Previous::NotAsked),
        };
        let ops: Vec<_> = self.place.touched(commit).iter().map(deliver).collect();
        (!ops.is_empty()).then(|| CommittedBatch::new(commit.version, commit.cause, ops))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.log.leave(&self.place, self.previous);
    }
}
