use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::time::Instant;

use super::db::{Numbers, key, together};
use crate::{Batch, Condition, Engine, Key, KeyRange, Outcome, Record, Result, Scan, WriteOptions};

/// How many keys there are in a group.
const GROUP: usize = 4;

/// Callers that do a bit of everything at once, on few keys: reads of one and of several keys, scans both
/// ways, puts, deletes, conditions of every kind, batches. Every value is written once, so that a history
/// of it ([`Recorded`](super::Recorded)) leaves no doubt about who wrote what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Workload {
    /// How many callers there are.
    pub callers: usize,
    /// How many operations they do together.
    pub operations: usize,
    /// How many groups of four keys there are. Batches stay within a group; half of all operations go to a
    /// tenth of the groups.
    pub groups: usize,
    /// Whether scans cross groups. A checker that works by sets of connected keys then has one set.
    pub wide_scans: bool,
    /// One in how many writes is given up by its caller, which leaves its outcome unknown; none for 0.
    pub given_up: usize,
    /// How long they go on at most, whatever is done by then; without end for none.
    pub most_time: Option<Duration>,
    /// Where the random choices begin.
    pub seed: u64,
}

impl Workload {
    /// So many callers and operations, with a group for every 400 operations, and no writes given up.
    pub const fn new(callers: usize, operations: usize) -> Self {
        let groups = operations / 400 + 1;
        Self { callers, operations, groups, wide_scans: false, given_up: 0, most_time: None, seed: 1 }
    }

    /// Lets all callers work on the engine until everything is done; counts operations in `done`.
    ///
    /// # Errors
    /// The first error of an operation that is not an unknown outcome, when all callers have ended.
    pub async fn run(&self, engine: Arc<dyn Engine>, done: Arc<AtomicU64>) -> Result<()> {
        let end = self.most_time.map(|time| Instant::now() + time);
        let callers = (0..self.callers).map(|number| {
            let share = (self.operations + self.callers - 1 - number) / self.callers;
            let (engine, done) = (Arc::clone(&engine), Arc::clone(&done));
            let numbers = Numbers(self.seed.wrapping_mul(0x1_0000).wrapping_add(number as u64));
            let mut caller =
                Caller { workload: self.clone(), engine, number, written: 0, seen: HashMap::new(), numbers };
            async move {
                for _ in 0..share {
                    if end.is_some_and(|end| Instant::now() >= end) {
                        break;
                    }
                    match caller.step().await {
                        Err(error) if !error.may_have_been_applied() => return Err(error),
                        _ => done.fetch_add(1, Relaxed),
                    };
                }
                Ok(())
            }
        });
        together(callers).await.into_iter().collect()
    }
}

struct Caller {
    workload: Workload,
    engine: Arc<dyn Engine>,
    number: usize,
    /// How many values this caller has made.
    written: u64,
    /// What it last saw under a key.
    seen: HashMap<Key, Option<Record>>,
    numbers: Numbers,
}

impl Caller {
    async fn step(&mut self) -> Result<()> {
        let group = self.group();
        match self.numbers.below(20) {
            0..=5 => {
                let key = self.key_of(group);
                let record = self.engine.get(&key).await?;
                self.seen.insert(key, record);
            }
            6..=7 => {
                let keys: Vec<Key> = (0..2 + self.numbers.below(3)).map(|_| self.key_of(group)).collect();
                let records = self.engine.get_many(&keys).await?.data;
                self.seen.extend(keys.into_iter().zip(records));
            }
            8 => self.scan(group).await?,
            9..=10 => self.write(Batch::new(), 1, group).await?,
            11..=16 => {
                let (key, condition) = self.condition(group);
                self.write(Batch::new().when(key, condition), 1, group).await?;
            }
            _ => {
                let mut batch = Batch::new();
                for _ in 0..self.numbers.below(3) {
                    let (key, condition) = self.condition(group);
                    batch = batch.when(key, condition);
                }
                let count = self.numbers.below(4);
                self.write(batch, count, group).await?;
            }
        }
        Ok(())
    }

    async fn scan(&mut self, group: usize) -> Result<()> {
        let range = if self.workload.wide_scans {
            let start = self.key_of(group).to_bytes();
            KeyRange::new(std::ops::Bound::Included(start), std::ops::Bound::Unbounded)
        } else {
            KeyRange::prefix(format!("{group:05}/"))
        };
        let mut scan = Scan::new(range);
        if self.workload.wide_scans || self.numbers.below(2) == 0 {
            scan = scan.limit(1 + self.numbers.below(2 * GROUP) as u64);
        }
        if self.numbers.below(2) == 0 {
            scan = scan.reverse();
        }
        let entries = self.engine.scan(scan).await?.data.try_concat().await?;
        self.seen.extend(entries.into_iter().map(|entry| (entry.key, entry.record)));
        Ok(())
    }

    /// Adds so many operations to a batch, and writes it.
    async fn write(&mut self, mut batch: Batch, count: usize, group: usize) -> Result<()> {
        for _ in 0..count {
            // A condition alone seldom is what an application wants; its key often is what it writes.
            let judged = batch.conditions().first().map(|(key, _)| key.clone());
            let key = judged.filter(|_| batch.ops().is_empty()).unwrap_or_else(|| self.key_of(group));
            batch = if self.numbers.below(5) == 0 {
                batch.delete(key)
            } else {
                self.written += 1;
                batch.put(key, format!("{}-{}", self.number, self.written))
            };
        }
        let given_up = self.workload.given_up > 0 && self.numbers.below(self.workload.given_up) == 0;
        let patience = self.numbers.below(6);
        let write = self.engine.write(batch, WriteOptions::default());
        let outcome = if given_up {
            tokio::select! {
                biased;
                outcome = write => outcome?,
                () = async { for _ in 0..patience { tokio::task::yield_now().await; } } => return Ok(()),
            }
        } else {
            write.await?
        };
        if let Outcome::Conflict(conflict) = outcome {
            self.seen.insert(conflict.key, conflict.current);
        }
        Ok(())
    }

    /// A condition that often holds.
    fn condition(&mut self, group: usize) -> (Key, Condition) {
        let key = self.key_of(group);
        let condition = match self.seen.get(&key) {
            None | Some(None) if self.numbers.below(8) > 0 => Condition::Absent,
            Some(Some(record)) => match self.numbers.below(8) {
                0 => Condition::Present,
                1 => Condition::Value(record.value.clone()),
                _ => Condition::Version(record.version),
            },
            _ => Condition::Present,
        };
        (key, condition)
    }

    fn group(&mut self) -> usize {
        let groups = self.workload.groups.max(1);
        let hot = groups / 10;
        if hot > 0 && self.numbers.below(2) == 0 {
            self.numbers.below(hot)
        } else {
            self.numbers.below(groups)
        }
    }

    fn key_of(&mut self, group: usize) -> Key {
        key(format!("{group:05}/{}", self.numbers.below(GROUP)))
    }
}
