//! Reads and writes that take effect at no one instant (C1), and batches that fall apart (C2).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdb_engine_api::{Batch, Conflict, Engine, Key, Op, Outcome, Record, Result, View, WriteOptions};

use crate::broken::Defect;
use crate::defects::of_ops;
use crate::state::holds;

/// Judges the conditions by reading, and then writes without them.
#[derive(Debug)]
pub(crate) struct GetThenPut;

#[async_trait]
impl Defect for GetThenPut {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        for (index, (key, condition)) in batch.conditions().iter().enumerate() {
            let View { version, mut data } = sound.get_many(std::slice::from_ref(key)).await?;
            let current = data.remove(0);
            if !holds(condition, current.as_ref()) {
                return Ok(Outcome::Conflict(Conflict::new(index, key.clone(), version, current)));
            }
        }
        // A database takes its time here, and others come between.
        tokio::task::yield_now().await;
        sound.write(of_ops(batch.ops()), options).await
    }
}

/// Keeps what it has read, and forgets it when that key is put, but not when it is deleted.
#[derive(Debug, Default)]
pub(crate) struct CacheKeepsDeleted {
    cache: Mutex<HashMap<Key, Record>>,
}

#[async_trait]
impl Defect for CacheKeepsDeleted {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        if let Some(record) = self.cache.lock().get(key) {
            return Ok(Some(record.clone()));
        }
        let record = sound.get(key).await?;
        if let Some(record) = &record {
            self.cache.lock().insert(key.clone(), record.clone());
        }
        Ok(record)
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        for (key, op) in batch.ops() {
            if matches!(op, Op::Put { .. }) {
                self.cache.lock().remove(key);
            }
        }
        sound.write(batch, options).await
    }
}

/// Answers a read from a second copy, which follows the first one write behind.
#[derive(Debug, Default)]
pub(crate) struct ReadsFromAFollower {
    behind: Mutex<HashMap<Key, Option<Record>>>,
}

#[async_trait]
impl Defect for ReadsFromAFollower {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        let behind = self.behind.lock().get(key).cloned();
        match behind {
            Some(record) => Ok(record),
            None => sound.get(key).await,
        }
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut behind = HashMap::new();
        for (key, _) in batch.ops() {
            behind.insert(key.clone(), sound.get(key).await?);
        }
        let outcome = sound.write(batch, options).await?;
        *self.behind.lock() = behind;
        Ok(outcome)
    }
}

/// Applies a batch operation by operation; the conditions are judged with the first.
#[derive(Debug)]
pub(crate) struct OneByOne;

#[async_trait]
impl Defect for OneByOne {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let conditions = batch.conditions().iter().cloned();
        let mut first = conditions.fold(Batch::new(), |first, (key, condition)| first.when(key, condition));
        let mut rest = batch.ops().iter();
        if let Some((key, op)) = rest.next() {
            first = first.op(key.clone(), op.clone());
        }
        let mut outcome = sound.write(first, options.clone()).await?;
        if outcome.succeeded() {
            for op in rest {
                tokio::task::yield_now().await;
                outcome = sound.write(of_ops([op]), options.clone()).await?;
            }
        }
        Ok(outcome)
    }
}

/// Takes a condition to guard the operations on its own key alone.
#[derive(Debug)]
pub(crate) struct ConditionsGuardTheirKeyAlone;

#[async_trait]
impl Defect for ConditionsGuardTheirKeyAlone {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let outcome = sound.write(batch.clone(), options.clone()).await?;
        if let Outcome::Conflict(conflict) = &outcome {
            let unguarded = batch.ops().iter().filter(|(key, _)| *key != conflict.key);
            drop(sound.write(of_ops(unguarded), options).await?);
        }
        Ok(outcome)
    }
}

/// Leaves out an operation on a key that an earlier one of the batch names.
#[derive(Debug)]
pub(crate) struct FirstOperationWins;

#[async_trait]
impl Defect for FirstOperationWins {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut firsts: Vec<(Key, Op)> = Vec::new();
        for (key, op) in batch.ops() {
            if firsts.iter().all(|(named, _)| named != key) {
                firsts.push((key.clone(), op.clone()));
            }
        }
        let conditions = batch.conditions().iter().cloned();
        let firsts = firsts.into_iter().fold(Batch::new(), |batch, (key, op)| batch.op(key, op));
        let batch = conditions.fold(firsts, |batch, (key, condition)| batch.when(key, condition));
        sound.write(batch, options).await
    }
}
