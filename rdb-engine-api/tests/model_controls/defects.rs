use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rdb_engine_api::{
    Batch, Condition, Conflict, Engine, EntryStream, Error, ErrorKind, Key, Op, Outcome, Record, Result,
    Scan, View, WriteOptions,
};

use super::broken::Defect;
use super::lineage::{Lineage, Opened};

/// Judges a condition on a key that the batch writes by what it writes there.
#[derive(Debug)]
pub(crate) struct JudgesItsOwnWrites;

#[async_trait]
impl Defect for JudgesItsOwnWrites {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut rest = Batch::new();
        for (index, (key, condition)) in batch.conditions().iter().enumerate() {
            let own = batch.ops().iter().rev().find(|(written, _)| written == key).map(|(_, op)| op);
            let holds = match (own, condition) {
                (Some(Op::Put { .. }), Condition::Present) => true,
                (Some(Op::Put { .. }), Condition::Absent) => false,
                (Some(Op::Put { value, .. }), Condition::Value(expected)) => value == expected,
                (Some(Op::Delete), condition) => *condition == Condition::Absent,
                _ => {
                    rest = rest.when(key.clone(), condition.clone());
                    continue;
                }
            };
            if !holds {
                let View { version, mut data } = sound.get_many(std::slice::from_ref(key)).await?;
                let current = data.remove(0);
                return Ok(Outcome::Conflict(Conflict::new(index, key.clone(), version, current)));
            }
        }
        let rest = batch.into_ops().into_iter().fold(rest, |rest, (key, op)| rest.op(key, op));
        sound.write(rest, options).await
    }
}

/// No defect: does not wait for the answer to a write that grants no time, and says so.
#[derive(Debug)]
pub(crate) struct UnknownWithoutTime;

#[async_trait]
impl Defect for UnknownWithoutTime {
    async fn write(
        &self,
        sound: &Arc<dyn Engine>,
        batch: Batch,
        mut options: WriteOptions,
    ) -> Result<Outcome> {
        let in_haste = options.timeout.take_if(|timeout| timeout.is_zero()).is_some();
        let outcome = sound.write(batch, options).await;
        if in_haste && outcome.is_ok() {
            return Err(Error::new(ErrorKind::Unknown, "nobody waited for the answer"));
        }
        outcome
    }
}

/// Finds records again that were deleted before it was opened.
#[derive(Debug)]
pub(crate) struct DeletedComesBack {
    lineage: Arc<Lineage>,
    back: HashMap<Key, Record>,
}

impl DeletedComesBack {
    pub(crate) fn new(lineage: &Arc<Lineage>) -> Self {
        Self { lineage: Arc::clone(lineage), back: lineage.deleted.lock().clone() }
    }
}

#[async_trait]
impl Defect for DeletedComesBack {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        Ok(sound.get(key).await?.or_else(|| self.back.get(key).cloned()))
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut deleted = Vec::new();
        for (key, _) in batch.ops().iter().filter(|(_, op)| *op == Op::Delete) {
            if let Ok(Some(record)) = sound.get(key).await {
                deleted.push((key.clone(), record));
            }
        }
        let outcome = sound.write(batch, options).await?;
        if let Outcome::Committed(_) = outcome {
            self.lineage.deleted.lock().extend(deleted);
        }
        Ok(outcome)
    }
}

/// Takes a delete for one of all keys that begin with it, but only of those that the same batch puts.
#[derive(Debug)]
pub(crate) struct PrefixGoesToo;

#[async_trait]
impl Defect for PrefixGoesToo {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let deleted: Vec<Key> =
            batch.ops().iter().filter(|(_, op)| *op == Op::Delete).map(|(key, _)| key.clone()).collect();
        let mut rest = batch
            .conditions()
            .iter()
            .fold(Batch::new(), |rest, (key, condition)| rest.when(key.clone(), condition.clone()));
        for (key, op) in batch.into_ops() {
            let below = |deleted: &Key| *deleted != key && key.as_bytes().starts_with(deleted.as_bytes());
            if op == Op::Delete || !deleted.iter().any(below) {
                rest = rest.op(key, op);
            }
        }
        sound.write(rest, options).await
    }
}

/// Takes a scan's view when the scan is first read.
#[derive(Debug)]
pub(crate) struct OpensScansLate;

#[async_trait]
impl Defect for OpensScansLate {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let version = sound.get_many(&[]).await?.version;
        let sound = Arc::clone(sound);
        let late = stream::once(async move { Ok(sound.scan(scan).await?.data) }).try_flatten();
        Ok(View { version, data: late.boxed() })
    }
}

/// Does not find the key of the latest put any more when its process has died.
#[derive(Debug)]
pub(crate) struct LosesTheLastAtACrash {
    lineage: Arc<Lineage>,
    lost: Option<Key>,
}

impl LosesTheLastAtACrash {
    pub(crate) fn new(lineage: &Arc<Lineage>, opened: Opened) -> Self {
        let lost = lineage.last.lock().clone().filter(|_| opened == Opened::AfterACrash);
        Self { lineage: Arc::clone(lineage), lost }
    }
}

#[async_trait]
impl Defect for LosesTheLastAtACrash {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let View { version, data } = sound.scan(scan).await?;
        let lost = self.lost.clone();
        let rest = data.map_ok(move |mut chunk| {
            chunk.retain(|entry| Some(&entry.key) != lost.as_ref());
            chunk
        });
        let rest = rest.try_filter(|chunk| std::future::ready(!chunk.is_empty()));
        Ok(View { version, data: rest.boxed() })
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let put = batch.ops().iter().rev().find(|(_, op)| *op != Op::Delete).map(|(key, _)| key.clone());
        let outcome = sound.write(batch, options).await?;
        if let (Outcome::Committed(_), Some(put)) = (&outcome, put) {
            *self.lineage.last.lock() = Some(put);
        }
        Ok(outcome)
    }
}
