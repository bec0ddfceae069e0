//! The engine's time (C15), in whole milliseconds.
//!
//! It starts at an opening from the later of the wall clock and the latest time that the store knows of, and
//! goes on by the monotonic clock: what the wall clock does meanwhile changes nothing. The latest time is in
//! the version line's row, and so in every commit: it does not run backward over restarts either, whatever
//! the wall clock says then. Only a crash takes back what it told since the last commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Clock;

/// Nanoseconds in a millisecond.
const MILLI: u128 = 1_000_000;

#[derive(Debug)]
pub(super) struct EngineTime {
    /// The time at the opening.
    base: u64,
    /// What the monotonic clock showed then.
    started: Duration,
    /// The latest time that was told or judged by.
    latest: AtomicU64,
}

/// An instant, to whole milliseconds on both sides of it, so that rounding never shortens a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What has passed for sure: a record that ends at this or before is due.
    pub(super) passed: u64,
    /// What has been reached at most: the time that the engine tells, and from which lives are counted.
    pub(super) reached: u64,
}

impl EngineTime {
    /// Starts where an earlier opening left off.
    pub(super) fn start(kept: u64, clock: &dyn Clock) -> Self {
        let wall = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let base = kept.max(u64::try_from(wall).unwrap_or(u64::MAX));
        Self { base, started: clock.monotonic(), latest: AtomicU64::new(base) }
    }

    /// The present.
    pub(super) fn now(&self, clock: &dyn Clock) -> Reading {
        let nanos = clock.monotonic().saturating_sub(self.started).as_nanos();
        let after = |millis: u128| self.base.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX));
        let reading = Reading { passed: after(nanos / MILLI), reached: after(nanos.div_ceil(MILLI)) };
        self.latest.fetch_max(reading.reached, Ordering::Relaxed);
        reading
    }

    /// The latest time that anybody has been told.
    pub(super) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Relaxed)
    }
}

/// An instant in milliseconds since 1970, rounded up: a life does not become shorter by being stored.
pub(super) fn to_millis(instant: SystemTime) -> u64 {
    whole_millis(instant.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// None where the system's time does not reach as far.
pub(super) fn from_millis(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// Milliseconds, rounded up, as the wire does it: what lasts for so long still does.
pub(super) fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(MILLI)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    const START: u64 = 1_700_000_000_000;

    fn clock() -> ManualClock {
        ManualClock::new(UNIX_EPOCH + Duration::from_millis(START))
    }

    #[test]
    fn time_goes_on_by_the_monotonic_clock_whatever_the_wall_clock_does() {
        let clock = clock();
        let time = EngineTime::start(0, &clock);
        for wall in [0, 2 * START, START] {
            clock.set_wall(UNIX_EPOCH + Duration::from_millis(wall));
            assert_eq!(time.now(&clock).reached, START);
        }
        clock.advance(Duration::from_millis(5));
        assert_eq!(time.now(&clock), Reading { passed: START + 5, reached: START + 5 });
        assert_eq!(time.latest(), START + 5);
    }

    #[test]
    fn time_goes_on_behind_the_latest_that_was_kept() {
        assert_eq!(EngineTime::start(START + 7, &clock()).now(&clock()).reached, START + 7);
        assert_eq!(EngineTime::start(START - 7, &clock()).now(&clock()).reached, START);
        let end = EngineTime::start(u64::MAX, &clock());
        let clock = clock();
        clock.advance(Duration::from_secs(1));
        assert_eq!(end.now(&clock).reached, u64::MAX);
    }

    #[test]
    fn rounding_never_shortens_a_life() {
        let clock = clock();
        let time = EngineTime::start(0, &clock);
        clock.advance(Duration::from_micros(1_001));
        assert_eq!(time.now(&clock), Reading { passed: START + 1, reached: START + 2 });
        assert_eq!(whole_millis(Duration::from_micros(1_001)), 2);
        assert_eq!(to_millis(UNIX_EPOCH + Duration::from_micros(1_001)), 2);
        assert_eq!(to_millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(to_millis(from_millis(START).unwrap()), START);
    }
}
