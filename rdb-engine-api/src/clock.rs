use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

/// Where an engine takes its time from, so that a test can set it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day. It may jump, forward and backward.
    fn wall(&self) -> SystemTime;

    /// The time since some fixed instant. It never runs backward.
    fn monotonic(&self) -> Duration;

    /// The longest that somebody who waits for a time of this clock may sleep before looking at it again.
    fn longest_sleep(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The operating system's clocks.
    #[allow(clippy::disallowed_methods)] // the one place that asks the operating system
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that asks the operating system
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    /// Its time passes as that of a sleep does; a minute bounds what nobody has thought of.
    fn longest_sleep(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// A clock that stands still until it is set, for tests.
#[derive(Debug)]
pub struct ManualClock {
    time: Mutex<(SystemTime, Duration)>,
}

impl ManualClock {
    /// A clock that shows `wall`.
    pub const fn new(wall: SystemTime) -> Self {
        Self { time: Mutex::new((wall, Duration::ZERO)) }
    }

    /// Lets time pass on both scales.
    pub fn advance(&self, by: Duration) {
        let mut time = self.time.lock();
        time.0 += by;
        time.1 += by;
    }

    /// Sets the time of day, backward if need be; the monotonic time stays.
    pub fn set_wall(&self, wall: SystemTime) {
        self.time.lock().0 = wall;
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> SystemTime {
        self.time.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.time.lock().1
    }

    /// Setting it wakes nobody.
    fn longest_sleep(&self) -> Duration {
        Duration::from_millis(100)
    }
}
