use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::Key;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::operations::{Operation, Operations};
use crate::pacer::Pacer;
use crate::recorder::{Done, Recorder};
use crate::values::Values;
use crate::{Keys, Result, Seen, Settings, Stop, Swap, Target, Workload};

/// What all lines of a run have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    pub(crate) stop: Stop,
    /// What values are made of.
    pub(crate) pool: Bytes,
    /// The number of the next record to insert.
    pub(crate) inserted: AtomicU64,
    /// No record from this number on is inserted.
    pub(crate) insert_end: u64,
    /// Measured operations that were begun.
    pub(crate) begun: AtomicU64,
}

/// When a run begins, is measured from, and ends.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) measured: Instant,
    pub(crate) end: Instant,
    pub(crate) pacer: Option<Arc<Pacer>>,
}

/// One line of requests, each begun when the one before it was answered: a caller has as many lines as it
/// has requests outstanding.
#[derive(Debug)]
pub(crate) struct Line {
    shared: Arc<Shared>,
    number: u64,
    operations: Operations,
    values: Values,
    /// Versions of the records that are this line's own, in a workload of swaps.
    versions: Vec<u64>,
}

impl Line {
    /// Reads the versions that the line is to remember.
    pub(crate) async fn prepare(shared: Arc<Shared>, number: u64) -> Result<Self> {
        let settings = &shared.settings;
        let mut line = Self {
            operations: Operations::new(settings, number),
            values: Values::new(&shared.pool, settings.seed.wrapping_add(number)),
            versions: Vec::new(),
            number,
            shared: Arc::clone(&shared),
        };
        if settings.workload == Workload::Cas {
            let lines = settings.in_flight() as u64;
            let own: Vec<u64> = (number..settings.records).step_by(lines as usize).collect();
            for some in own.chunks(settings.batch()) {
                let keys: Vec<Key> = some.iter().map(|number| shared.keys.key(*number)).collect();
                let seen = shared.target.get_many(&keys).await?;
                line.versions.extend(seen.into_iter().map(|seen| seen.map_or(0, |seen| seen.version)));
            }
        }
        Ok(line)
    }

    /// Sends requests until the time is over.
    pub(crate) async fn run(mut self, times: &Times, recorder: &Mutex<Recorder>) {
        let shared = Arc::clone(&self.shared);
        let full = || {
            let most = shared.settings.operations;
            most.is_some_and(|most| shared.begun.fetch_add(1, Ordering::Relaxed) >= most)
        };
        while !shared.stop.is_stopped() && shared.inserted.load(Ordering::Relaxed) < shared.insert_end {
            let (planned, began) = match &times.pacer {
                None => {
                    let now = Instant::now();
                    (now, now)
                }
                Some(pacer) => {
                    let Some(planned) = pacer.next().await else { break };
                    (planned, Instant::now())
                }
            };
            if began >= times.end {
                break;
            }
            let measured = planned >= times.measured;
            if measured && full() {
                break;
            }
            let operation = self.operations.next(self.records());
            let kind = operation.kind();
            let mut conflicts = 0;
            let result = self.execute(operation, &mut conflicts).await;
            let answered = Instant::now();
            {
                let mut recorder = lock(recorder);
                recorder.answered += 1;
                if measured {
                    let at = between(times.measured, answered);
                    // From when it was planned: an open loop counts what a stall does to those behind it.
                    recorder.conflicts += conflicts;
                    if let Some(result) = result.transpose() {
                        recorder.record(kind, between(planned, answered), at, result);
                    }
                    if times.pacer.is_some() {
                        recorder.began_late(between(planned, began));
                    }
                }
            }
            // A target that answers at once would keep the others from running.
            consume_budget().await;
        }
        lock(recorder).lines_ended += 1;
    }

    /// How many records there are to choose from.
    fn records(&self) -> u64 {
        match self.shared.settings.workload {
            Workload::Cas => self.versions.len() as u64,
            workload if workload.inserts() => {
                // What was begun last may not have been answered yet.
                let under_way = self.shared.settings.in_flight() as u64;
                let inserted = self.shared.inserted.load(Ordering::Relaxed);
                inserted.saturating_sub(under_way).max(self.shared.settings.records)
            }
            _ => self.shared.settings.records,
        }
    }

    /// Does it, and says what was done: nothing of use where a compare-and-swap met another version.
    async fn execute(&mut self, operation: Operation, conflicts: &mut u64) -> Result<Option<Done>> {
        let shared = &*self.shared;
        let (target, keys) = (&*shared.target, &shared.keys);
        let done = match operation {
            Operation::Get(number) => read(target.get(&keys.key(number)).await?.as_ref()),
            Operation::GetMany(numbers) => {
                let keys: Vec<Key> = numbers.into_iter().map(|number| keys.key(number)).collect();
                let seen = target.get_many(&keys).await?;
                let records = seen.iter().flatten().count() as u64;
                Done { records, misses: seen.len() as u64 - records }
            }
            Operation::Put(number) => {
                target.put(&keys.key(number), self.values.next()).await?;
                Done { records: 1, misses: 0 }
            }
            Operation::Insert => {
                let number = shared.inserted.fetch_add(1, Ordering::Relaxed);
                target.put(&keys.key(number), self.values.next()).await?;
                Done { records: 1, misses: 0 }
            }
            Operation::ReadModifyWrite(number) => {
                let key = keys.key(number);
                let seen = target.get(&key).await?;
                target.put(&key, self.values.next()).await?;
                read(seen.as_ref())
            }
            Operation::Scan { from, records } => {
                Done { records: target.scan(&keys.key(from), records).await?, misses: 0 }
            }
            Operation::Swap(own) => return self.swap(own, conflicts).await,
            Operation::Increment => {
                return increment(target, &keys.counter(), &shared.stop, conflicts).await;
            }
            Operation::Load => {
                let batch = shared.settings.batch() as u64;
                let begin = shared.inserted.fetch_add(batch, Ordering::Relaxed);
                let end = (begin + batch).min(shared.insert_end);
                let records: Vec<(Key, Bytes)> =
                    (begin..end).map(|number| (keys.key(number), self.values.next())).collect();
                if records.is_empty() {
                    return Ok(None);
                }
                target.load(records).await?;
                Done { records: end - begin, misses: 0 }
            }
        };
        Ok(Some(done))
    }

    async fn swap(&mut self, own: u64, conflicts: &mut u64) -> Result<Option<Done>> {
        let lines = self.shared.settings.in_flight() as u64;
        let key = self.shared.keys.key(self.number + own * lines);
        let version = self.versions[own as usize];
        let swap = self.shared.target.swap(&key, version, self.values.next()).await?;
        self.versions[own as usize] = match swap {
            Swap::Done(version) => version,
            // Another program wrote it, or a write whose answer was lost.
            Swap::Conflict(current) => {
                *conflicts += 1;
                let current = match current {
                    Some(seen) => Some(seen),
                    None => self.shared.target.get(&key).await?,
                };
                self.versions[own as usize] = current.map_or(0, |seen| seen.version);
                return Ok(None);
            }
        };
        Ok(Some(Done { records: 1, misses: 0 }))
    }
}

/// Adds one to a counter: reads it, and swaps until no other caller came first.
async fn increment(target: &dyn Target, key: &Key, stop: &Stop, conflicts: &mut u64) -> Result<Option<Done>> {
    let mut seen = target.get(key).await?;
    loop {
        let version = seen.as_ref().map_or(0, |seen| seen.version);
        let count = seen.as_ref().map_or(0, count);
        match target.swap(key, version, Bytes::from((count + 1).to_string())).await? {
            Swap::Done(_) => return Ok(Some(Done { records: 1, misses: 0 })),
            Swap::Conflict(current) => {
                *conflicts += 1;
                if stop.is_stopped() {
                    return Ok(None);
                }
                seen = match current {
                    Some(seen) => Some(seen),
                    None => target.get(key).await?,
                };
            }
        }
        consume_budget().await;
    }
}

fn count(seen: &Seen) -> u64 {
    std::str::from_utf8(&seen.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn read(seen: Option<&Seen>) -> Done {
    match seen {
        Some(_) => Done { records: 1, misses: 0 },
        None => Done { records: 0, misses: 1 },
    }
}

/// Nothing is left half done where a caller panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So long from one instant to another, or nothing where they are the other way around.
pub(crate) fn between(from: Instant, to: Instant) -> Duration {
    to.saturating_duration_since(from)
}
