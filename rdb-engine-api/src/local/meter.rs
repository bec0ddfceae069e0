//! What a local engine counts, and how it stands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;
use super::striped::Striped;
use super::{BLOCKING_READS, Local};
use crate::{Durability, ErrorKind, Metric, MetricUnit, MetricValue, Outcome, Result, Store, Version};

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What readers count and what the committer counts, apart from each other: one must not slow the other down
/// by writing to the same cache line.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) reads: ReadMeter,
    pub(super) writes: WriteMeter,
    pub(super) sessions: SessionMeter,
}

#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct ReadMeter {
    pub(super) cache_hits: Striped,
    pub(super) cache_misses: Counter,
    pub(super) blocking: Counter,
    pub(super) refused: Counter,
    pub(super) scans: Counter,
    pub(super) scans_refused: Counter,
    pub(super) writes_refused: Counter,
}

/// Counted by the committer alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct SessionMeter {
    open: AtomicU64,
    idle: AtomicU64,
    blocked: AtomicU64,
    pub(super) again: Counter,
    pub(super) stale: Counter,
}

impl SessionMeter {
    /// So many sessions are open.
    pub(super) fn opened(&self, count: usize) {
        self.open.store(count as u64, Ordering::Relaxed);
    }

    /// So many were ended for their idleness.
    pub(super) fn ended_idle(&self, count: usize) {
        self.idle.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// So many writes wait for their conditions to hold.
    pub(super) fn blocked(&self, count: usize) {
        self.blocked.store(count as u64, Ordering::Relaxed);
    }

    fn metrics(&self, metrics: &mut Vec<Metric>) {
        metrics.extend([
            Metric::gauge(
                "blocked_writes",
                "Writes waiting for their conditions to hold",
                self.blocked.load(Ordering::Relaxed) as f64,
            ),
            Metric::gauge("sessions", "Sessions open now", self.open.load(Ordering::Relaxed) as f64),
            Metric::counter(
                "sessions_idle",
                "Sessions ended because they were idle for too long",
                self.idle.load(Ordering::Relaxed),
            ),
            Metric::counter(
                "session_writes_again",
                "Writes of sessions that had arrived before, and get the first arrival's outcome",
                self.again.get(),
            ),
            Metric::counter(
                "session_writes_stale",
                "Writes of sessions refused because they were sent to an earlier life of the engine",
                self.stale.get(),
            ),
        ]);
    }
}

#[derive(Debug)]
#[repr(align(128))]
pub(super) struct WriteMeter {
    queue_wait: Histogram,
    group_writes: Histogram,
    group_bytes: Histogram,
    commits: [Histogram; Durability::ALL.len()],
    asked: [Counter; Durability::ALL.len()],
    reached: [Counter; Durability::ALL.len()],
    outcomes: [Counter; OUTCOMES.len()],
    expired: Counter,
    expiry_lateness: Histogram,
    expiry_failures: Counter,
    last_version: AtomicU64,
}

/// By the places of [`place_of`].
const OUTCOMES: [&str; 5] = ["committed", "unchanged", "conflict", "unknown", "failed"];

fn place_of(result: &Result<Outcome>) -> usize {
    match result {
        Ok(Outcome::Committed(_)) => 0,
        Ok(Outcome::Unchanged(_)) => 1,
        Ok(Outcome::Conflict(_)) => 2,
        Err(error) if error.kind() == ErrorKind::Unknown => 3,
        Err(_) => 4,
    }
}

impl Default for WriteMeter {
    fn default() -> Self {
        Self {
            queue_wait: Histogram::of_times(),
            group_writes: Histogram::exponential(1, 2, 17),
            group_bytes: Histogram::exponential(64, 4, 10),
            commits: Durability::ALL.map(|_| Histogram::of_times()),
            asked: Default::default(),
            reached: Default::default(),
            outcomes: Default::default(),
            expired: Counter::default(),
            expiry_lateness: Histogram::exponential(1, 2, 24),
            expiry_failures: Counter::default(),
            last_version: AtomicU64::new(0),
        }
    }
}

impl WriteMeter {
    /// A write has left the queue.
    pub(super) fn taken(&self, asked: Durability, waited: Duration) {
        self.asked[asked as usize].increment();
        self.queue_wait.observe_time(waited);
    }

    /// A group was judged.
    pub(super) fn grouped(&self, writes: usize, bytes: usize) {
        self.group_writes.observe(writes as u64);
        self.group_bytes.observe(bytes as u64);
    }

    /// The store has returned from a commit, with whatever it said.
    pub(super) fn committed(&self, asked: Durability, took: Duration) {
        self.commits[asked as usize].observe_time(took);
    }

    /// The latest commit has this version.
    pub(super) fn advanced(&self, version: Version) {
        self.last_version.store(version.get(), Ordering::Relaxed);
    }

    /// A record is removed, so many milliseconds after its time was over.
    pub(super) fn expired(&self, late: u64) {
        self.expired.increment();
        self.expiry_lateness.observe(late);
    }

    /// A record, or all that are due, could not be removed.
    pub(super) fn expiry_failed(&self) {
        self.expiry_failures.increment();
    }

    /// A write is about to be answered.
    pub(super) fn answered(&self, result: &Result<Outcome>) {
        self.outcomes[place_of(result)].increment();
        if let Ok(Outcome::Committed(commit) | Outcome::Unchanged(commit)) = result {
            self.reached[commit.durability as usize].increment();
        }
    }

    fn metrics(&self, metrics: &mut Vec<Metric>) {
        for (name, counter) in OUTCOMES.iter().zip(&self.outcomes) {
            let help = "Writes that the committer answered, by outcome";
            metrics.push(Metric::counter("writes", help, counter.get()).with_label("outcome", *name));
        }
        for (level, counter) in Durability::ALL.iter().zip(&self.asked) {
            let help = "Writes taken from the queue, by the durability they asked for";
            let metric = Metric::counter("writes_asked", help, counter.get());
            metrics.push(metric.with_label("durability", level.name()));
        }
        for (level, counter) in Durability::ALL.iter().zip(&self.reached) {
            let help = "Writes answered with the durability they reached";
            let metric = Metric::counter("writes_reached", help, counter.get());
            metrics.push(metric.with_label("durability", level.name()));
        }
        for (level, histogram) in Durability::ALL.iter().zip(&self.commits) {
            let help =
                "Time of a commit in the store, by the durability asked of it: of synced ones, the sync's";
            let metric = Metric::new("commit_duration", help, histogram.value(SECOND));
            metrics.push(metric.in_unit(MetricUnit::Seconds).with_label("durability", level.name()));
        }
        let help = "Time that writes waited in the queue before the committer took them";
        let waits = Metric::new("queue_wait", help, self.queue_wait.value(SECOND));
        let bytes = Metric::new(
            "group_size",
            "Bytes of keys and values of the writes judged as one group",
            self.group_bytes.value(1.0),
        );
        let help = "Time between the end of a record's life and its removal";
        let lateness = Metric::new("expiry_lateness", help, self.expiry_lateness.value(1e3));
        metrics.extend([
            Metric::counter("expired", "Records removed because their time was over", self.expired.get()),
            lateness.in_unit(MetricUnit::Seconds),
            Metric::counter(
                "expiry_failures",
                "Times that something due could not be removed, because it could not be read",
                self.expiry_failures.get(),
            ),
            waits.in_unit(MetricUnit::Seconds),
            Metric::new("group_writes", "Writes judged as one group", self.group_writes.value(1.0)),
            bytes.in_unit(MetricUnit::Bytes),
            Metric::gauge(
                "last_version",
                "The version of the latest commit",
                self.last_version.load(Ordering::Relaxed) as f64,
            ),
        ]);
    }
}

impl ReadMeter {
    fn metrics(&self, metrics: &mut Vec<Metric>) {
        metrics.extend([
            Metric::counter("cache_hits", "Keys looked up without waiting", self.cache_hits.get()),
            Metric::counter(
                "cache_misses",
                "Keys whose look-up had to go to a blocking thread",
                self.cache_misses.get(),
            ),
            Metric::counter("blocking_reads", "Reads sent to a blocking thread", self.blocking.get()),
            Metric::counter(
                "blocking_reads_refused",
                "Reads refused because too many were waiting for a blocking thread",
                self.refused.get(),
            ),
            Metric::counter("scans", "Scans opened", self.scans.get()),
            Metric::counter(
                "scans_refused",
                "Scans refused because too many were open",
                self.scans_refused.get(),
            ),
            Metric::counter(
                "writes_refused",
                "Writes refused because too many were waiting in the queue",
                self.writes_refused.get(),
            ),
        ]);
    }
}

#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct WatchMeter {
    pub(super) opened: Counter,
    pub(super) refused: Counter,
    pub(super) overtaken: Counter,
    pub(super) events: Counter,
}

impl WatchMeter {
    fn metrics(&self, metrics: &mut Vec<Metric>) {
        metrics.extend([
            Metric::counter("watches", "Watches opened", self.opened.get()),
            Metric::counter(
                "watches_refused",
                "Watches refused because too many were open",
                self.refused.get(),
            ),
            Metric::counter(
                "watches_overtaken",
                "Watches ended because they fell behind the history",
                self.overtaken.get(),
            ),
            Metric::counter("watch_commits", "Commits delivered, to each watch apart", self.events.get()),
        ]);
    }
}

impl<S: Store> Local<S> {
    /// All that is counted, what stands now beside its limit, and what the store has to say.
    pub(super) fn measured(&self) -> Vec<Metric> {
        let mut metrics = Vec::with_capacity(64);
        self.meter.reads.metrics(&mut metrics);
        self.meter.writes.metrics(&mut metrics);
        self.meter.sessions.metrics(&mut metrics);
        let limits = &self.info.limits;
        let taken = |limit: usize, free: usize| limit.saturating_sub(free) as f64;
        let queue = self.queue.level();
        let bytes =
            |name, help, value| Metric::new(name, help, MetricValue::Gauge(value)).in_unit(MetricUnit::Bytes);
        metrics.extend([
            Metric::gauge(
                "accepts_writes",
                "Whether writes are taken: 1, or 0 once the engine is closed or a commit has failed",
                f64::from(u8::from(queue.accepts)),
            ),
            Metric::gauge("queue_writes", "Writes waiting to be taken", queue.writes as f64),
            Metric::gauge(
                "queue_writes_limit",
                "The most writes that may wait",
                limits.max_queued_writes as f64,
            ),
            bytes(
                "queue_size",
                "Bytes of the writes waiting to be taken, or for their conditions to hold",
                queue.bytes as f64,
            ),
            bytes(
                "queue_size_limit",
                "The most bytes of writes that may wait",
                limits.max_queued_bytes as f64,
            ),
            Metric::gauge(
                "blocking_reads_running",
                "Reads on blocking threads now",
                taken(BLOCKING_READS, self.reads.available_permits()),
            ),
            Metric::gauge(
                "blocking_reads_running_limit",
                "The most reads on blocking threads at once",
                BLOCKING_READS as f64,
            ),
            Metric::gauge(
                "blocking_reads_waiting",
                "Reads waiting for a blocking thread now",
                (self.waiting_reads.load(Ordering::Relaxed) + self.cold.waiting()) as f64,
            ),
            Metric::gauge(
                "scans_open",
                "Scans open now",
                taken(limits.max_scans, self.scans.available_permits()),
            ),
            Metric::gauge(
                "expiring_records",
                "Whether there may be records that expire: 1, or 0 where there is none",
                f64::from(u8::from(self.expiry.is_expiring())),
            ),
            Metric::new(
                "expiry_lag",
                "How long the oldest record whose time is over has been waiting to be removed",
                MetricValue::Gauge(self.expiry.lag(self.time.now(&*self.clock)) as f64 / 1e3),
            )
            .in_unit(MetricUnit::Seconds),
            Metric::gauge(
                "blocked_writes_limit",
                "The most writes that may wait for their conditions to hold",
                limits.max_blocked_writes as f64,
            ),
            Metric::gauge("sessions_limit", "The most sessions open at once", limits.max_sessions as f64),
            Metric::gauge("scans_open_limit", "The most scans open at once", limits.max_scans as f64),
        ]);
        let log = self.log.level();
        self.log.meter.metrics(&mut metrics);
        metrics.extend([
            Metric::gauge("watches_open", "Watches open now", log.watches as f64),
            Metric::gauge("watches_open_limit", "The most watches open at once", limits.max_watches as f64),
            Metric::gauge("history_ops", "Changes of keys that the history keeps", log.ops as f64),
            Metric::gauge(
                "history_ops_limit",
                "The most changes of keys that the history keeps",
                limits.max_history_ops as f64,
            ),
            bytes(
                "history_size",
                "Bytes that the history keeps, with what holds the keys and values",
                log.bytes as f64,
            ),
            bytes(
                "history_size_limit",
                "The most bytes that the history keeps",
                limits.max_history_bytes as f64,
            ),
            Metric::gauge("history_age", "Age of the oldest commit in the history", log.oldest.as_secs_f64())
                .in_unit(MetricUnit::Seconds),
            Metric::gauge(
                "history_age_limit",
                "How long the history keeps a commit",
                limits.history_age.as_secs_f64(),
            )
            .in_unit(MetricUnit::Seconds),
        ]);
        if let Some(home) = &*self.home.load() {
            metrics.extend(home.store.metrics());
        }
        metrics
    }
}
