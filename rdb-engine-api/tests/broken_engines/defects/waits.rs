//! Writes that wait too long, too short, in the wrong order or in vain (C20).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdb_engine_api::{Batch, Cause, CommittedOp, Engine, ErrorKind, Outcome, Result, WriteOptions};
use tokio::time::{Instant, sleep, sleep_until};

use crate::broken::Defect;
use crate::defects::of_ops;
use crate::habits::Habits;

/// Lets the one in first who came last.
#[derive(Debug)]
pub(crate) struct LastComeFirstServed;

impl Habits for LastComeFirstServed {
    fn first_of(&self, waiting: &[u64]) -> Option<u64> {
        waiting.iter().max().copied()
    }
}

/// What wakes those who wait.
#[derive(Debug)]
pub(crate) enum Wakes {
    Puts,
    CallersWrites,
}

impl Habits for Wakes {
    fn wakes(&self, cause: Cause, op: &CommittedOp) -> bool {
        match self {
            Self::Puts => op.record.is_some(),
            Self::CallersWrites => cause == Cause::Write,
        }
    }
}

/// The same write, which may wait this long.
fn waiting(options: &WriteOptions, wait: Duration) -> WriteOptions {
    options.clone().wait(wait)
}

fn without_wait(options: &WriteOptions) -> WriteOptions {
    let mut options = options.clone();
    options.wait = None;
    options
}

/// Tries again and again, as long as it may.
#[derive(Debug)]
pub(crate) struct TriesAgainAndAgain;

#[async_trait]
impl Defect for TriesAgainAndAgain {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let end = Instant::now() + options.wait.unwrap_or_default();
        loop {
            let outcome = sound.write(batch.clone(), without_wait(&options)).await?;
            if outcome.succeeded() || Instant::now() >= end {
                return Ok(outcome);
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Waits for some other time than it may.
#[derive(Debug)]
pub(crate) struct WaitsFor(pub(crate) fn(Duration) -> Duration);

#[async_trait]
impl Defect for WaitsFor {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        match options.wait {
            Some(wait) => sound.write(batch, waiting(&options, (self.0)(wait))).await,
            None => sound.write(batch, options).await,
        }
    }
}

/// Answers when the time is over, and forgets to give the write up.
#[derive(Debug)]
pub(crate) struct AppliesAfterItsTime;

#[async_trait]
impl Defect for AppliesAfterItsTime {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let outcome = sound.write(batch.clone(), options.clone()).await?;
        if options.wait.is_some() && !outcome.succeeded() {
            let (sound, options) = (Arc::clone(sound), waiting(&options, Duration::from_secs(60)));
            tokio::spawn(async move { sound.write(batch, options).await });
        }
        Ok(outcome)
    }
}

/// Waits to the end for what can never be again.
#[derive(Debug)]
pub(crate) struct WaitsInVain;

#[async_trait]
impl Defect for WaitsInVain {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let end = Instant::now() + options.wait.unwrap_or_default();
        let outcome = sound.write(batch, options).await?;
        if !outcome.succeeded() {
            sleep_until(end).await;
        }
        Ok(outcome)
    }
}

/// Waits for each condition on its own, one after the other, and then writes.
#[derive(Debug)]
pub(crate) struct WaitsForOneAfterTheOther;

#[async_trait]
impl Defect for WaitsForOneAfterTheOther {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        if options.wait.is_none() {
            return sound.write(batch, options).await;
        }
        for (key, condition) in batch.conditions() {
            let alone = Batch::new().when(key.clone(), condition.clone());
            let outcome = sound.write(alone, options.clone()).await?;
            if !outcome.succeeded() {
                return Ok(outcome);
            }
        }
        sound.write(of_ops(batch.ops()), without_wait(&options)).await
    }
}

/// Has one place to write, in which whoever waits waits.
#[derive(Debug, Default)]
pub(crate) struct HoldsUpTheOthers {
    place: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Defect for HoldsUpTheOthers {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let _place = self.place.lock().await;
        sound.write(batch, options).await
    }
}

/// Leaves those who wait without an answer when it is closed.
#[derive(Debug)]
pub(crate) struct CloseForgetsWhoWaits;

#[async_trait]
impl Defect for CloseForgetsWhoWaits {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let waits = options.wait.is_some();
        match sound.write(batch, options).await {
            Err(error) if waits && error.kind() == ErrorKind::Closed => std::future::pending().await,
            answer => answer,
        }
    }
}
