use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Commit, Condition, Conflict, Direction, Engine, Entry, EntryStream, Key, KeyRange, Op, Outcome,
    Record, Result, Scan, Version, View, WriteOptions,
};

use super::broken::Defect;
use super::sound::State;

/// Judges the conditions by reading, and then writes without them.
#[derive(Debug)]
pub(crate) struct GetThenPut;

#[async_trait]
impl Defect for GetThenPut {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        for (index, (key, condition)) in batch.conditions().iter().enumerate() {
            let View { version, mut data } = sound.get_many(std::slice::from_ref(key)).await?;
            let current = data.remove(0);
            let holds = match condition {
                Condition::Absent => current.is_none(),
                Condition::Present => current.is_some(),
                Condition::Version(version) => {
                    current.as_ref().is_some_and(|record| record.version == *version)
                }
                Condition::Value(value) => current.as_ref().is_some_and(|record| record.value == value),
            };
            if !holds {
                return Ok(Outcome::Conflict(Conflict { index, key: key.clone(), version, current }));
            }
        }
        // A database takes its time here, and others come between.
        tokio::task::yield_now().await;
        let blind =
            batch.ops().iter().fold(Batch::new(), |blind, (key, op)| blind.op(key.clone(), op.clone()));
        sound.write(blind, options).await
    }
}

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

/// A recovery that takes the newest record's version for the last one given.
pub(crate) fn counter_from_live_records(state: &mut State) {
    let newest = state.records.values().map(|record| record.version).max();
    state.version = newest.unwrap_or(Version::MIN);
}

/// Reads a scan's entries when they are asked for, from whatever is there by then.
#[derive(Debug)]
pub(crate) struct ScanSeesLaterWrites;

#[async_trait]
impl Defect for ScanSeesLaterWrites {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let version = sound.get_many(&[]).await?.version;
        let entries = stream::try_unfold((Arc::clone(sound), scan), |(sound, scan)| async move {
            if scan.limit == Some(0) {
                return Ok(None);
            }
            let next: Vec<Entry> = sound.scan(scan.clone().limit(1)).await?.data.try_concat().await?;
            let Some(entry) = next.first() else { return Ok(None) };
            let passed = Bound::Excluded(entry.key.to_bytes());
            let (start, end) = (scan.range.start().clone(), scan.range.end().clone());
            let mut rest = scan;
            rest.range = match rest.direction {
                Direction::Forward => KeyRange::new(passed, end),
                Direction::Reverse => KeyRange::new(start, passed),
            };
            rest.limit = rest.limit.map(|limit| limit - 1);
            Ok(Some((next, (sound, rest))))
        });
        Ok(View { version, data: entries.boxed() })
    }
}

/// Ends the range of a prefix of `0xff` bytes before its successor, which it takes to be one `0xff` longer.
#[derive(Debug)]
pub(crate) struct ScanLosesTheLastKeyOfFf;

#[async_trait]
impl Defect for ScanLosesTheLastKeyOfFf {
    async fn scan(&self, sound: &Arc<dyn Engine>, mut scan: Scan) -> Result<View<EntryStream>> {
        if let (Bound::Included(start), Bound::Unbounded) = (scan.range.start(), scan.range.end())
            && start.iter().all(|byte| *byte == 0xff)
        {
            let end = [&start[..], &[0xff]].concat();
            scan.range = KeyRange::new(Bound::Included(start.clone()), Bound::Excluded(end.into()));
        }
        sound.scan(scan).await
    }
}
