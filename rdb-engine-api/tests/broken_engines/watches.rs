use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use rdb_engine_api::{
    CommittedBatch, Error, ErrorKind, Result, Version, View, Watch, WatchEvent, WatchStream,
};
use tokio::select;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::disk::Disk;
use super::sound::{Inner, closed};

/// The longest time between two marks of progress.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where a watch stands.
struct Place<D> {
    engine: Weak<Inner<D>>,
    changed: Receiver<()>,
    watch: Watch,
    /// Everything up to here is delivered.
    position: Version,
    cuts: u64,
    mark_at: Instant,
    /// Counts among the open watches as long as it lives.
    _open: Arc<()>,
}

/// Opens a watch (C16).
pub(crate) fn open<D: Disk>(engine: &Arc<Inner<D>>, watch: Watch) -> Result<View<WatchStream>> {
    let invalid = |what| Error::new(ErrorKind::InvalidArgument, what);
    if watch.progress < Duration::from_millis(1) || watch.progress > DAY {
        return Err(invalid("progress is told too often or too seldom"));
    }
    let changed = engine.changed.subscribe();
    let (version, cuts) = engine.with_state(|state| {
        let limits = state.limits.clone();
        state.history.trim(state.time.monotonic(), &limits);
        let version = watch.after.unwrap_or(state.version);
        if version > state.version {
            return Err(invalid("watch begins beyond the present"));
        }
        if version < state.history.compacted {
            return Err(compacted(state.history.compacted));
        }
        Ok((version, state.history.cuts))
    })??;
    let open = Arc::clone(&engine.watches);
    // One is the engine's own, one this watch's.
    if Arc::strong_count(&open) > engine.info.limits.max_watches + 1 {
        return Err(Error::new(ErrorKind::Exhausted, "too many watches are open"));
    }
    let mark_at = Instant::now() + watch.progress;
    let engine = Arc::downgrade(engine);
    let place = Place { engine, changed, watch, position: version, cuts, mark_at, _open: open };
    let data = stream::unfold(Some(place), |place| async {
        let mut place = place?;
        let event = place.next().await;
        let goes_on = event.is_ok();
        Some((event, goes_on.then_some(place)))
    });
    Ok(View { version, data: data.boxed() })
}

impl<D: Disk> Place<D> {
    async fn next(&mut self) -> Result<WatchEvent> {
        loop {
            self.changed.borrow_and_update();
            if let Some(commit) = self.look()? {
                self.mark_at = Instant::now() + self.watch.progress;
                return Ok(WatchEvent::Commit(commit));
            }
            select! {
                changed = self.changed.changed() => changed.map_err(|_| closed())?,
                () = sleep_until(self.mark_at) => {
                    self.mark_at = Instant::now() + self.watch.progress;
                    return Ok(WatchEvent::Progress(self.position));
                }
            }
        }
    }

    /// The next commit that touches the range, where there is one.
    fn look(&mut self) -> Result<Option<CommittedBatch>> {
        let (watch, position, cuts) = (&self.watch, self.position, self.cuts);
        let engine = self.engine.upgrade().ok_or_else(closed)?;
        let (commit, version) = engine.with_state(|state| {
            if state.history.cuts != cuts {
                return Err(compacted(state.history.compacted));
            }
            if state.history.compacted > position {
                return Err(Error::new(ErrorKind::Exhausted, "watcher fell behind").at(position));
            }
            Ok((state.history.next(position, &watch.range, watch.previous), state.version))
        })??;
        self.position = commit.as_ref().map_or(version, |commit| commit.version);
        Ok(commit)
    }
}

fn compacted(oldest: Version) -> Error {
    Error::new(ErrorKind::Compacted, "history does not reach back so far").at(oldest)
}
