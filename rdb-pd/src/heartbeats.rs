use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdb_engine_api::Clock;
use rdb_proto::pd::v1::{StoreActivity, StoreState};

/// After how many intervals without a heartbeat a store counts as silent.
const SILENT_AFTER: u32 = 5;

/// When each store was last heard of. In memory alone: after a start nobody has been heard of yet.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    clock: Arc<dyn Clock>,
    interval: Duration,
    last: Mutex<HashMap<u64, (Duration, StoreActivity)>>,
}

impl Heartbeats {
    pub(crate) fn new(clock: Arc<dyn Clock>, interval: Duration) -> Self {
        Self { clock, interval, last: Mutex::default() }
    }

    /// How often a store should send one.
    pub(crate) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Notes a store's sign of life. The store is one that is known, so there are no more than those.
    pub(crate) fn note(&self, store_id: u64, activity: StoreActivity) {
        let now = self.clock.monotonic();
        self.last.lock().insert(store_id, (now, activity));
    }

    /// How a store fares that has not been replaced, and how long ago it was heard of.
    pub(crate) fn state(&self, store_id: u64) -> (StoreState, Option<Duration>) {
        let now = self.clock.monotonic();
        let Some((at, activity)) = self.last.lock().get(&store_id).copied() else {
            return (StoreState::Silent, None);
        };
        let silence = now.saturating_sub(at);
        let state = match activity {
            _ if silence > self.interval * SILENT_AFTER => StoreState::Silent,
            StoreActivity::Leaving => StoreState::Leaving,
            StoreActivity::EngineClosed => StoreState::EngineClosed,
            StoreActivity::Serving | StoreActivity::Unspecified => StoreState::Up,
        };
        (state, Some(silence))
    }
}
