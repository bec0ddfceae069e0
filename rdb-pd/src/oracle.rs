use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rdb_engine_api::{Clock, Engine, Error, ErrorKind, Result};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::config::check_time;
use crate::metrics::OracleMetrics;
use crate::timestamp::{MAX_COUNT, MAX_MS, first_of, ms_of};
use crate::window::{Claimed, Window};

/// How often an opening tries again that another driver, or an unknown outcome, has got in the way of.
const OPENINGS: usize = 8;

/// How an [`Oracle`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OracleOptions {
    /// How far ahead of the clock timestamps are claimed; 3 s by default. A restart skips at most that much.
    pub window: Duration,
    /// How long a request waits for the window to be extended; 5 s by default.
    pub patience: Duration,
}

impl Default for OracleOptions {
    fn default() -> Self {
        Self { window: Duration::from_secs(3), patience: Duration::from_secs(5) }
    }
}

impl OracleOptions {
    pub(crate) fn check(&self) -> Result<()> {
        check_time("window", self.window)?;
        check_time("patience", self.patience)
    }
}

/// Gives timestamps: numbers of 64 bits that only ever rise, whatever the clock does and however often the
/// driver restarts.
///
/// A timestamp is 46 bits of milliseconds since the Unix epoch and 18 bits that count within the millisecond. It
/// stays close to the clock where that can be, and above all that was given before where it cannot: behind a
/// clock that was set back, timestamps rise by one with each that is given until the clock has caught up.
///
/// The oracle keeps one row in an engine: the end of the window that it may give from. The row is written, at the
/// engine's best durability, before anything of the window is given; a driver that starts goes on from there, or
/// from the clock where that is later. The window is extended in the background before it runs out, so a request
/// costs a lock of a few nanoseconds and no write. Further than the clock, the window's end moves no faster than
/// time passes: who asks for more than 2^18 timestamps a millisecond for longer than a window lasts is answered
/// `Exhausted`.
///
/// Of several drivers on one engine, the one that has opened last gives timestamps, out of windows that are
/// never another's. An earlier one learns of it with its next extension, at the latest when its window runs out,
/// and answers `Closed` from then on. Until then both give: never the same, but not in one order.
///
/// The algorithm is that of the timestamp oracle of Percolator (Peng and Dabek, "Large-scale Incremental
/// Processing Using Distributed Transactions and Notifications", OSDI 2010, section 2.3); the split into 46 and 18
/// bits and the rules for a clock that jumps are those of TiKV's placement driver. The compare-and-swap in place
/// of an elected leader is ours.
///
/// ```
/// use std::sync::Arc;
///
/// use rdb_engine_api::SystemClock;
/// use rdb_pd::Oracle;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> rdb_engine_api::Result<()> {
/// let engine = Arc::new(rdb_engine_mem::open(&Default::default())?);
/// let oracle = Oracle::open(engine, Arc::new(SystemClock::new()), Default::default()).await?;
/// let one = oracle.timestamps(1).await?;
/// let ten = oracle.timestamps(10).await?;
/// assert!(one.start < ten.start && ten.end - ten.start == 10);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Oracle {
    shared: Arc<Shared>,
    /// What the last look at the window came to; closed where there will be no more.
    looks: watch::Receiver<Look>,
    extending: JoinHandle<()>,
}

impl Oracle {
    /// Goes on from all timestamps that were ever given out of this engine, and claims the first window.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for options that cannot be;
    /// [`Corrupt`](ErrorKind::Corrupt) where the persisted end makes no sense;
    /// [`Exhausted`](ErrorKind::Exhausted) where 46 bits of milliseconds are used up; what reading and writing
    /// report.
    pub async fn open(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        options: OracleOptions,
    ) -> Result<Self> {
        Self::open_with(engine, clock, options, OracleMetrics::default()).await
    }

    pub(crate) async fn open_with(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        options: OracleOptions,
        metrics: OracleMetrics,
    ) -> Result<Self> {
        options.check()?;
        // Within the limits that were checked, it fits.
        let window_ms = u64::try_from(options.window.as_millis()).unwrap_or(u64::MAX);
        let mut window = Window::new(engine, rand::random())?;
        for _ in 0..OPENINGS {
            let persisted_ms = window.read().await?;
            let now_ms = wall_ms(&*clock)?;
            let start_ms = persisted_ms.max(now_ms);
            let end_ms = (start_ms + window_ms).min(MAX_MS);
            if end_ms == persisted_ms {
                return Err(used_up());
            }
            if persisted_ms > now_ms + window_ms {
                tracing::warn!(
                    ahead_ms = persisted_ms - now_ms,
                    "timestamps are ahead of the clock; it may have been set back"
                );
            }
            let claimed = window.claim(end_ms).await?;
            // One that was adopted may begin before `start_ms`, but never before what had been persisted.
            let Claimed::Ours { end_ms } = claimed else { continue };
            let hand = Hand {
                next: first_of(start_ms).max(1),
                end_ms,
                extended_at: clock.monotonic(),
                trouble: None,
                is_lost: false,
            };
            let (tell, looks) = watch::channel(Look::Enough);
            let shared = Arc::new(Shared {
                clock,
                window_ms,
                patience: options.patience,
                hand: Mutex::new(hand),
                wanted: Notify::new(),
                metrics,
            });
            shared.observe();
            let extending = tokio::spawn(extend(Arc::clone(&shared), window, tell));
            return Ok(Self { shared, looks, extending });
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "cannot claim a window of timestamps: others keep claiming it",
        ))
    }

    /// Gives consecutive timestamps, each greater than every one that was given before the call.
    ///
    /// Where the window has run out, it waits for the extension that is under way.
    ///
    /// # Errors
    /// None has been given:
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) for a count that is not 1 to 262,144;
    /// - [`Unavailable`](ErrorKind::Unavailable) where the window cannot be extended, and while the clock is beyond
    ///   46 bits of milliseconds;
    /// - [`Exhausted`](ErrorKind::Exhausted) where more is asked for than there is time, and where 46 bits of
    ///   milliseconds are used up;
    /// - [`Closed`](ErrorKind::Closed) where another driver has taken over, or the engine is closed.
    pub async fn timestamps(&self, count: u32) -> Result<Range<u64>> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Error::new(ErrorKind::InvalidArgument, "number of timestamps is out of range")
                .with("count", count)
                .with("most", MAX_COUNT));
        }
        let count = u64::from(count);
        if let Some(range) = self.shared.take(count)? {
            return Ok(range);
        }
        self.wait_and_take(count).await
    }

    /// Ends the extending of the window. What is left of it may still be given.
    pub(crate) fn stop(&self) {
        self.extending.abort();
    }

    async fn wait_and_take(&self, count: u64) -> Result<Range<u64>> {
        let deadline = Instant::now() + self.shared.patience;
        let mut looks = self.looks.clone();
        loop {
            // Before our own look at the window, so that none of the others is missed in between.
            looks.borrow_and_update();
            if let Some(range) = self.shared.take(count)? {
                return Ok(range);
            }
            self.shared.wanted.notify_one();
            match timeout_at(deadline, looks.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    // Over where the row is lost, which `take` reports.
                    self.shared.take(count)?;
                    return Err(Error::new(ErrorKind::Closed, "timestamps have been stopped"));
                }
                Err(_) => {
                    let late = "window of timestamps was not extended in time";
                    return Err(Error::new(ErrorKind::Unavailable, late));
                }
            }
            if let Some(range) = self.shared.take(count)? {
                return Ok(range);
            }
            let look = *looks.borrow();
            match look {
                // Others were faster: it is worth another wait.
                Look::Enough | Look::Extended => {}
                Look::Short => return Err(self.shared.short_of_time()),
                Look::Failed => {
                    if let Some(trouble) = self.shared.hand.lock().trouble.clone() {
                        return Err(trouble);
                    }
                }
            }
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a look at the window came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It was long enough.
    Enough,
    /// It was short, and now it is not.
    Extended,
    /// It is short, and too little time has passed to extend it.
    Short,
    /// It is short, and could not be extended.
    Failed,
}

/// Where the window is to end.
enum Due {
    Stays(Look),
    At(u64),
}

/// What requests and the extending task share.
#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    window_ms: u64,
    patience: Duration,
    hand: Mutex<Hand>,
    /// Told when the window is short.
    wanted: Notify,
    metrics: OracleMetrics,
}

/// What there is to give.
#[derive(Debug)]
struct Hand {
    /// Greater than all that were given.
    next: u64,
    /// Nothing of this millisecond or a later one may be given: it is not ours.
    end_ms: u64,
    /// When the window was last extended, on the monotonic clock.
    extended_at: Duration,
    /// Why the last try to extend the window failed.
    trouble: Option<Error>,
    /// Whether the row is another driver's.
    is_lost: bool,
}

impl Shared {
    /// Takes consecutive timestamps out of the window; none where it has too few.
    fn take(&self, count: u64) -> Result<Option<Range<u64>>> {
        let now = first_of(wall_ms(&*self.clock)?);
        let mut hand = self.hand.lock();
        if hand.is_lost {
            return Err(Error::new(ErrorKind::Closed, "another placement driver gives timestamps now"));
        }
        let first = hand.next.max(now);
        let next = first.saturating_add(count);
        if next > first_of(hand.end_ms) {
            return Ok(None);
        }
        hand.next = next;
        drop(hand);
        self.metrics.timestamps.inc_by(count);
        Ok(Some(first..next))
    }

    fn due(&self) -> Result<Due> {
        let now_ms = wall_ms(&*self.clock)?;
        let hand = self.hand.lock();
        let at_ms = now_ms.max(ms_of(hand.next));
        if hand.end_ms.saturating_sub(at_ms) > self.window_ms / 2 {
            return Ok(Due::Stays(Look::Enough));
        }
        let passed = self.clock.monotonic().saturating_sub(hand.extended_at).as_millis();
        let passed_ms = u64::try_from(passed).unwrap_or(u64::MAX);
        let by_clock = now_ms + self.window_ms;
        // Demand that is ahead of the clock, or a clock that was set back: no faster than time passes, or the
        // years to come could be used up in a day.
        let by_demand = (at_ms + self.window_ms).min(hand.end_ms.saturating_add(passed_ms));
        let end_ms = by_clock.max(by_demand).min(MAX_MS);
        // A write for less would not be worth it, but for the very last.
        let is_worth_it = end_ms == MAX_MS || end_ms >= hand.end_ms + self.window_ms / 4;
        let is_longer = end_ms > hand.end_ms && is_worth_it;
        Ok(if is_longer { Due::At(end_ms) } else { Due::Stays(Look::Short) })
    }

    fn extended(&self, end_ms: u64) -> Look {
        let mut hand = self.hand.lock();
        hand.end_ms = end_ms;
        hand.extended_at = self.clock.monotonic();
        let recovered = hand.trouble.take().is_some();
        drop(hand);
        self.metrics.extensions.inc();
        if recovered {
            tracing::info!("window of timestamps is being extended again");
        }
        Look::Extended
    }

    fn failed(&self, error: Error) -> Look {
        self.metrics.failures.inc();
        let kind = match error.kind() {
            kind @ (ErrorKind::Closed | ErrorKind::Corrupt | ErrorKind::Internal) => kind,
            _ => ErrorKind::Unavailable,
        };
        let error = Error::new(kind, "cannot extend the window of timestamps").because(error);
        let report = error.report();
        // Said once, not with every try.
        if self.hand.lock().trouble.replace(error).is_none() {
            tracing::warn!(error = report, "timestamps will run out");
        }
        Look::Failed
    }

    fn short_of_time(&self) -> Error {
        if self.hand.lock().end_ms == MAX_MS {
            return used_up();
        }
        Error::new(ErrorKind::Exhausted, "timestamps are asked for faster than time passes")
    }

    /// Brings the metric of how far timestamps are ahead up to date.
    fn observe(&self) {
        let next_ms = ms_of(self.hand.lock().next);
        let ahead_ms = wall_ms(&*self.clock).map_or(0, |now_ms| next_ms.saturating_sub(now_ms));
        self.metrics.ahead_seconds.set(Duration::from_millis(ahead_ms).as_secs_f64());
    }
}

/// Keeps the window ahead of the clock and of what is given, until its row is lost.
///
/// A task of its own, so that no request that is given up leaves a claim half made.
async fn extend(shared: Arc<Shared>, mut window: Window, tell: watch::Sender<Look>) {
    // Two tries before a window that is half used has run out.
    let mut ticks = interval(Duration::from_millis(shared.window_ms / 4));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.wanted.notified() => {}
        }
        let look = match shared.due() {
            Ok(Due::Stays(look)) => look,
            Ok(Due::At(end_ms)) => match window.claim(end_ms).await {
                Ok(Claimed::Ours { end_ms }) => shared.extended(end_ms),
                Ok(Claimed::NotYet) => {
                    shared.failed(Error::new(ErrorKind::Unavailable, "claim was not applied"))
                }
                Ok(Claimed::Lost) => {
                    tracing::error!("another placement driver gives timestamps now; this one gives no more");
                    shared.hand.lock().is_lost = true;
                    return;
                }
                Err(error) => shared.failed(error),
            },
            Err(error) => shared.failed(error),
        };
        shared.observe();
        // Whoever waits is told, also that there is nothing to wait for.
        tell.send_replace(look);
    }
}

/// The time of day in milliseconds since the Unix epoch; a clock before that counts as 0.
fn wall_ms(clock: &dyn Clock) -> Result<u64> {
    let since_epoch = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match u64::try_from(since_epoch.as_millis()) {
        Ok(ms) if ms < MAX_MS => Ok(ms),
        _ => Err(Error::new(ErrorKind::Unavailable, "clock is beyond the last timestamp, in the year 4199")),
    }
}

fn used_up() -> Error {
    Error::new(ErrorKind::Exhausted, "timestamps are used up: 46 bits of milliseconds have passed")
}
