use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::line::{Line, Shared, Times, between, lock};
use crate::pacer::Pacer;
use crate::recorder::{self, Recorder};
use crate::values::Values;
use crate::{
    Figures, Kind, Measurement, Phase, Progress, Result, Settings, Stop, Target, TargetInfo, Workload,
};

/// How long answers are awaited when the time is over, or when the run is stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_WHEN_STOPPED: Duration = Duration::from_secs(1);
/// How often it is told how far it is.
const TELL: Duration = Duration::from_millis(200);
/// How many batches of a load, or reads that prepare a run, are under way at once at most.
const LOADERS: usize = 8;

/// A workload to be run against a target.
///
/// In a closed loop each answer is followed by the next request, so a target that stalls is asked nothing
/// meanwhile, and the stall is seen by as few requests as were under way. In an open loop requests are planned
/// at a fixed rate, and their latency counts from the planned instant, so the stall is seen by all that it
/// delayed: the correction for coordinated omission of Gil Tene's wrk2 and HdrHistogram.
pub struct Run {
    target: Arc<dyn Target>,
    settings: Settings,
    stop: Stop,
    watcher: Box<dyn Fn(Progress) + Send + Sync>,
    paced_by_runtime: bool,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("target", &self.target)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// Prepares a run; nothing is asked yet.
    pub fn new(target: Arc<dyn Target>, settings: Settings) -> Self {
        let watcher = Box::new(|_| ());
        Self { target, settings, stop: Stop::new(), watcher, paced_by_runtime: false }
    }

    /// Can be ended by this.
    #[must_use]
    pub fn stop_by(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Tells several times a second how far it is.
    #[must_use]
    pub fn on_progress(mut self, watcher: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.watcher = Box::new(watcher);
        self
    }

    /// Takes the time of an open loop from the runtime's timer, which is exact to a millisecond only, but can
    /// be paused by a test.
    #[must_use]
    pub fn paced_by_runtime(mut self) -> Self {
        self.paced_by_runtime = true;
        self
    }

    /// Stores the records that the workload wants to be there, in batches, and measures that.
    ///
    /// # Errors
    /// Where the settings make no sense, or a batch fails.
    pub async fn load(&self) -> Result<Measurement> {
        let settings = Settings {
            workload: Workload::Load,
            callers: LOADERS,
            outstanding: 1,
            rate: None,
            warm_up: Duration::ZERO,
            // As long as it takes.
            time: Duration::from_secs(7 * 86_400),
            operations: None,
            ..self.settings.clone()
        };
        let loaded = self.run(settings, Some(self.settings.records)).await?;
        match loaded.error_texts.first() {
            Some(text) => Err(format!("cannot load the records: {text}")),
            None => Ok(loaded),
        }
    }

    /// Warms up, runs the workload, and measures it.
    ///
    /// # Errors
    /// Where the settings make no sense, or what the callers have to know first cannot be read. Operations
    /// that fail are counted.
    pub async fn measure(&self) -> Result<Measurement> {
        self.run(self.settings.clone(), None).await
    }

    /// Runs; of a load, until there are so many records.
    async fn run(&self, settings: Settings, load: Option<u64>) -> Result<Measurement> {
        settings.check()?;
        let keys = settings.keys()?;
        let lines = settings.in_flight() as u64;
        let first = if settings.workload == Workload::Load { 0 } else { settings.records };
        let shared = Arc::new(Shared {
            target: Arc::clone(&self.target),
            keys,
            pool: Values::pool(settings.value_bytes, settings.seed),
            stop: self.stop.clone(),
            inserted: AtomicU64::new(first),
            insert_end: load.unwrap_or(u64::MAX),
            begun: AtomicU64::new(0),
            settings,
        });
        let prepared = stream::iter((0..lines).map(|number| Line::prepare(Arc::clone(&shared), number)));
        let mut prepared: Vec<Line> = prepared.buffered(LOADERS).try_collect().await?;

        let settings = &shared.settings;
        let begin = Instant::now();
        let measured = begin + settings.warm_up;
        let end = measured + settings.time;
        let pacer = settings.rate.map(|rate| Pacer::new(begin, end, rate, self.stop.clone()));
        let times = Times { measured, end, pacer };
        let mut recorders = Vec::new();
        let mut callers = JoinSet::new();
        for _ in 0..settings.callers {
            let own: Vec<Line> = prepared.drain(..settings.outstanding).collect();
            let recorder = Arc::new(Mutex::new(Recorder::default()));
            recorders.push(Arc::clone(&recorder));
            let times = times.clone();
            callers.spawn(async move {
                join_all(own.into_iter().map(|line| line.run(&times, &recorder))).await;
            });
        }
        match &times.pacer {
            Some(pacer) if self.paced_by_runtime => pacer.start_by_runtime(),
            Some(pacer) => pacer.start()?,
            None => {}
        }
        self.watch(&mut callers, &recorders, &times, begin, load, settings).await;
        callers.shutdown().await;

        let stopped = self.stop.is_stopped() && Instant::now() < end;
        let mut all = Recorder::default();
        recorders.iter().for_each(|recorder| all.add(&lock(recorder)));
        // What was begun within the time is counted, however late it was answered: what was under way at its
        // beginning and not counted makes up for it, and no slow answer is left out.
        let whole = settings.operations.is_none() && load.is_none() && !stopped;
        let elapsed = if whole { settings.time } else { all.last };
        let mut measured = measurement(self.target.info(), settings.clone(), all, elapsed, stopped);
        measured.not_begun = times.pacer.map_or(0, |pacer| pacer.behind());
        Ok(measured)
    }

    /// Waits until all callers are done, or nobody has patience any more, and tells how far it is.
    async fn watch(
        &self,
        callers: &mut JoinSet<()>,
        recorders: &[Arc<Mutex<Recorder>>],
        times: &Times,
        begin: Instant,
        load: Option<u64>,
        settings: &Settings,
    ) {
        let mut tick = interval(TELL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = (begin, 0);
        let stopped = async {
            self.stop.stopped().await;
            tokio::time::sleep(PATIENCE_WHEN_STOPPED).await;
        };
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                joined = callers.join_next() => if joined.is_none() { return },
                () = &mut stopped => return,
                () = sleep_until(times.end + PATIENCE) => return,
                _ = tick.tick() => {
                    let answered: u64 = recorders.iter().map(|recorder| lock(recorder).answered).sum();
                    let (now, each) = (Instant::now(), load.map_or(1, |_| settings.batch() as u64));
                    let (phase, from, of) = match load {
                        Some(_) => (Phase::Load, begin, Duration::ZERO),
                        None if now < times.measured => (Phase::WarmUp, begin, settings.warm_up),
                        None => (Phase::Measure, times.measured, settings.time),
                    };
                    let elapsed = between(from, now);
                    let operations = (answered * each).min(load.unwrap_or(u64::MAX));
                    let done = match load {
                        Some(records) => operations as f64 / records.max(1) as f64,
                        None => elapsed.as_secs_f64() / of.as_secs_f64().max(f64::EPSILON),
                    };
                    let since = between(before.0, now).as_secs_f64();
                    let per_second = if since > 0.0 { (operations - before.1) as f64 / since } else { 0.0 };
                    before = (now, operations);
                    (self.watcher)(Progress { phase, done: done.min(1.0), elapsed, operations, per_second });
                }
            }
        }
    }
}

fn measurement(
    target: TargetInfo,
    settings: Settings,
    all: Recorder,
    elapsed: Duration,
    stopped: bool,
) -> Measurement {
    let (mut kinds, mut times) = (BTreeMap::new(), recorder::Times::new());
    let (mut records, mut misses, mut errors, mut operations) = (0, 0, 0, 0);
    for kind in Kind::ALL {
        let Some(of) = &all.kinds[kind as usize] else { continue };
        times.add(&of.times);
        let latency = of.times.latency();
        let count: u64 = latency.buckets.iter().map(|bucket| bucket.count).sum();
        operations += count;
        errors += of.errors;
        records += of.done.records;
        misses += of.done.misses;
        kinds.insert(
            kind,
            Figures { operations: count, errors: of.errors, records: of.done.records, latency },
        );
    }
    let mut error_texts = all.error_texts;
    let unanswered = settings.in_flight().saturating_sub(all.lines_ended) as u64;
    if unanswered > 0 {
        error_texts.push(format!("{unanswered} were not answered, however long they were awaited"));
    }
    let seconds = elapsed.as_secs_f64();
    let each = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let mut each_second = all.each_second;
    // Those that were begun in time and answered late belong to the last second.
    let most = usize::try_from(elapsed.as_nanos().div_ceil(1_000_000_000)).unwrap_or(usize::MAX).max(1);
    if each_second.len() > most {
        let late: u64 = each_second.drain(most..).sum();
        each_second[most - 1] += late;
    } else {
        each_second.resize(most, 0);
    }
    Measurement {
        target,
        settings,
        elapsed_s: seconds,
        stopped,
        operations,
        per_second: each(operations),
        records_per_second: each(records),
        errors: errors + unanswered,
        error_texts,
        misses,
        conflicts: all.conflicts,
        latency: times.latency(),
        begun_late: all.late.map(|late| late.latency()),
        not_begun: 0,
        kinds,
        each_second,
    }
}

#[cfg(test)]
mod tests;
