//! Versions that do not form one line (C4), or are given twice (C5).

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Commit, Condition, Conflict, Durability, Engine, Key, Op, Outcome, Record, Result, Version,
    WriteOptions,
};

use crate::broken::Defect;
use crate::disk::{Disk, hand_over};
use crate::log::{Changes, frame};
use crate::state::Records;

/// Counts each key's own changes instead of the engine's commits.
#[derive(Debug, Default)]
pub(crate) struct VersionsPerKey {
    /// By key, the engine's version that each of its own stands for, from 1.
    lines: Mutex<HashMap<Key, Vec<Version>>>,
}

impl VersionsPerKey {
    fn own(&self, key: &Key, version: Version) -> Version {
        let lines = self.lines.lock();
        let place = lines.get(key).and_then(|line| line.iter().position(|known| *known == version));
        place.and_then(|place| Version::new(place as u64 + 1)).unwrap_or(version)
    }

    fn translate(&self, key: &Key, record: Option<Record>) -> Option<Record> {
        record.map(|record| Record::new(record.value, self.own(key, record.version)))
    }
}

#[async_trait]
impl Defect for VersionsPerKey {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        Ok(self.translate(key, sound.get(key).await?))
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut theirs = Batch::new();
        for (key, condition) in batch.conditions() {
            let condition = match condition {
                Condition::Version(own) => {
                    let lines = self.lines.lock();
                    let known = lines.get(key).and_then(|line| line.get(own.get() as usize - 1));
                    Condition::Version(known.copied().unwrap_or(*own))
                }
                other => other.clone(),
            };
            theirs = theirs.when(key.clone(), condition);
        }
        let keys: Vec<Key> = batch.ops().iter().map(|(key, _)| key.clone()).collect();
        theirs = batch
            .ops()
            .iter()
            .fold(theirs, |theirs, (key, op): &(Key, Op)| theirs.op(key.clone(), op.clone()));
        Ok(match sound.write(theirs, options).await? {
            Outcome::Committed(commit) => {
                for key in &keys {
                    self.lines.lock().entry(key.clone()).or_default().push(commit.version);
                }
                let version = keys.first().map_or(commit.version, |key| self.own(key, commit.version));
                Outcome::Committed(Commit { version, ..commit })
            }
            Outcome::Conflict(conflict) => {
                let current = self.translate(&conflict.key, conflict.current);
                Outcome::Conflict(Conflict { current, ..conflict })
            }
            unchanged => unchanged,
        })
    }
}

/// Takes a version for every batch that is judged, whether or not it changes something.
#[derive(Debug)]
pub(crate) struct NoChangeTakesAVersion;

#[async_trait]
impl Defect for NoChangeTakesAVersion {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let outcome = sound.write(batch, options.clone()).await?;
        if let Outcome::Unchanged(_) = &outcome {
            // A commit that leaves nothing behind but its version.
            let key = Key::new("a key of the engine's own")?;
            drop(sound.write(Batch::new().put(key.clone(), ""), options.clone()).await?);
            drop(sound.write(Batch::new().delete(key), options).await?);
        }
        Ok(outcome)
    }
}

/// Leaves out a put of the value that is there, and answers that nothing changed.
#[derive(Debug)]
pub(crate) struct EqualPutIsNoChange;

#[async_trait]
impl Defect for EqualPutIsNoChange {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let conditions = batch.conditions().iter().cloned();
        let mut changes = conditions.fold(Batch::new(), |batch, (key, condition)| batch.when(key, condition));
        for (key, op) in batch.ops() {
            let there = sound.get(key).await?;
            let is_equal =
                matches!((op, &there), (Op::Put { value, .. }, Some(record)) if record.value == value);
            if !is_equal {
                changes = changes.op(key.clone(), op.clone());
            }
        }
        sound.write(changes, options).await
    }
}

/// Answers a delete with the version before it: what it removed carries none that could be seen.
#[derive(Debug)]
pub(crate) struct DeleteTakesNoVersion;

#[async_trait]
impl Defect for DeleteTakesNoVersion {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let before = sound.get_many(&[]).await?.version;
        let only_deletes = batch.ops().iter().all(|(_, op)| matches!(op, Op::Delete));
        Ok(match sound.write(batch, options).await? {
            Outcome::Committed(commit) if only_deletes => {
                Outcome::Committed(Commit { version: before, ..commit })
            }
            outcome => outcome,
        })
    }
}

/// Takes the newest record's version for the last one given.
#[derive(Debug)]
pub(crate) struct CounterFromLiveRecords;

impl Disk for CounterFromLiveRecords {
    fn counter(&self, records: &Records, _: Version, _: Version) -> Version {
        records.values().map(|record| record.version).max().unwrap_or(Version::MIN)
    }
}

/// Counts from the beginning at each opening.
#[derive(Debug)]
pub(crate) struct CounterBeginsAnew;

impl Disk for CounterBeginsAnew {
    fn counter(&self, _: &Records, _: Version, _: Version) -> Version {
        Version::MIN
    }
}

/// Goes on from the last version in the log, and so from none where there is no log.
#[derive(Debug)]
pub(crate) struct CounterInTheLogAlone;

impl Disk for CounterInTheLogAlone {
    fn counter(&self, _: &Records, logged: Version, _: Version) -> Version {
        logged
    }
}

/// Keeps the counter no safer than the data: a crash takes it back with the commits that it takes away.
#[derive(Debug, Default)]
pub(crate) struct CounterAsSafeAsTheData {
    volatile: Vec<u8>,
}

impl Disk for CounterAsSafeAsTheData {
    fn counter(&self, _: &Records, logged: Version, _: Version) -> Version {
        logged
    }

    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        self.volatile.extend(frame(changes));
        self.vouch(log, asked)
    }

    fn vouch(&mut self, log: &mut File, asked: Option<Durability>) -> Durability {
        if asked == Some(Durability::Volatile) {
            return Durability::Volatile;
        }
        hand_over(log, &std::mem::take(&mut self.volatile));
        Durability::Process
    }
}
