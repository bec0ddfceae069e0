use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::{Result, Stop};

/// Those that are due within it are let go together: waking for each of them would cost more than it tells.
const SHORTEST: Duration = Duration::from_micros(50);
/// How soon it sees that it is to stop.
const LONGEST: Duration = Duration::from_millis(10);

/// Lets operations begin at a fixed rate, whatever becomes of those before them.
#[derive(Debug)]
pub(crate) struct Pacer {
    begin: Instant,
    end: Instant,
    per_second: f64,
    due: Semaphore,
    taken: AtomicU64,
    stop: Stop,
}

impl Pacer {
    pub(crate) fn new(begin: Instant, end: Instant, per_second: f64, stop: Stop) -> Arc<Self> {
        Arc::new(Self { begin, end, per_second, due: Semaphore::new(0), taken: AtomicU64::new(0), stop })
    }

    /// Begins, by a thread that sleeps to the microsecond: the runtime's timer knows milliseconds only, which
    /// would be counted as latency.
    pub(crate) fn start(self: &Arc<Self>) -> Result<()> {
        let pacer = Arc::clone(self);
        let thread = thread::Builder::new().name("rdb-bench-pacer".to_owned()).spawn(move || {
            let mut released = 0;
            while let Some(rest) = pacer.release(&mut released) {
                thread::park_timeout(rest);
            }
        });
        thread.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
    }

    /// Begins, by the runtime's timer, which can be paused.
    pub(crate) fn start_by_runtime(self: &Arc<Self>) {
        let pacer = Arc::clone(self);
        tokio::spawn(async move {
            let mut released = 0;
            while let Some(rest) = pacer.release(&mut released) {
                sleep(rest).await;
            }
        });
    }

    /// Waits for the next operation and says when it is planned to begin; none when the time is over.
    pub(crate) async fn next(&self) -> Option<Instant> {
        // Those still due at the end are not begun any more.
        if self.due.is_closed() {
            return None;
        }
        self.due.acquire().await.ok()?.forget();
        Some(self.planned(self.taken.fetch_add(1, Ordering::Relaxed)))
    }

    /// How many are due and were not begun: at the end, what the target did not keep up with.
    pub(crate) fn behind(&self) -> u64 {
        self.due.available_permits() as u64
    }

    fn planned(&self, number: u64) -> Instant {
        self.begin + Duration::from_secs_f64(number as f64 / self.per_second)
    }

    /// Lets go what is due, and says how long there is nothing more to do.
    fn release(&self, released: &mut u64) -> Option<Duration> {
        let now = Instant::now();
        if now >= self.end || self.stop.is_stopped() {
            self.due.close();
            return None;
        }
        let due = match now.checked_duration_since(self.begin) {
            Some(elapsed) => (elapsed.as_secs_f64() * self.per_second) as u64 + 1,
            None => 0,
        };
        let more = due.saturating_sub(*released);
        self.due.add_permits(usize::try_from(more).unwrap_or(0));
        *released += more;
        let next = self.planned(*released).min(self.end);
        Some(next.saturating_duration_since(now).clamp(SHORTEST, LONGEST))
    }
}
