use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdb_engine_api::{Clock as _, SystemClock};

/// The engine's time (C15): what the wall clock showed at the opening, or the last time that is known from
/// before where that is later, and what has passed since then. It never runs backward.
#[derive(Debug)]
pub(crate) struct Time {
    base: Duration,
    clock: SystemClock,
}

impl Time {
    /// The time after an opening; `logged` is the last time in the log, in milliseconds.
    pub(crate) fn new(clock: SystemClock, logged: u64) -> Self {
        let wall = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = wall.max(Duration::from_millis(logged)).saturating_sub(clock.monotonic());
        Self { base, clock }
    }

    fn now(&self) -> Duration {
        self.base + self.clock.monotonic()
    }

    /// The time in whole milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// When a record expires that is put now: never before the time is over, so rounded up.
    pub(crate) fn end_of(&self, ttl: Duration) -> SystemTime {
        let end = (self.now() + ttl).as_nanos().div_ceil(1_000_000);
        UNIX_EPOCH + Duration::from_millis(u64::try_from(end).unwrap_or(u64::MAX))
    }

    /// The time since some instant before the opening.
    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}
