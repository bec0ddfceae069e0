//! Conflicts that say too little, or do too much (C7).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdb_engine_api::{Batch, Condition, Conflict, Engine, Key, Op, Outcome, Record, Result, WriteOptions};

use crate::broken::Defect;

/// Renews the record that a condition failed on, as a lock that is asked for again.
#[derive(Debug)]
pub(crate) struct ConflictTouches;

#[async_trait]
impl Defect for ConflictTouches {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let outcome = sound.write(batch, options.clone()).await?;
        if let Outcome::Conflict(Conflict { key, current: Some(current), .. }) = &outcome {
            let again = Op::Put { value: current.value.clone(), ttl: None };
            let unless_changed = Condition::Version(current.version);
            let touch = Batch::new().when(key.clone(), unless_changed).op(key.clone(), again);
            drop(sound.write(touch, options).await?);
        }
        Ok(outcome)
    }
}

/// Answers a conflict with the record that was last read under the key.
#[derive(Debug, Default)]
pub(crate) struct StaleConflict {
    read: Mutex<HashMap<Key, Record>>,
}

#[async_trait]
impl Defect for StaleConflict {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        let record = sound.get(key).await?;
        if let Some(record) = &record {
            self.read.lock().insert(key.clone(), record.clone());
        }
        Ok(record)
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut outcome = sound.write(batch, options).await?;
        if let Outcome::Conflict(conflict) = &mut outcome
            && let Some(record) = self.read.lock().get(&conflict.key)
        {
            conflict.current = Some(record.clone());
        }
        Ok(outcome)
    }
}

/// Says that a condition failed, and nothing of what is there.
#[derive(Debug)]
pub(crate) struct BareConflict;

#[async_trait]
impl Defect for BareConflict {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        Ok(match sound.write(batch, options).await? {
            Outcome::Conflict(conflict) => Outcome::Conflict(Conflict { current: None, ..conflict }),
            succeeded => succeeded,
        })
    }
}

/// Answers a conflict with the version of the record instead of that of the view.
#[derive(Debug)]
pub(crate) struct ConflictAtTheRecordsVersion;

#[async_trait]
impl Defect for ConflictAtTheRecordsVersion {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut outcome = sound.write(batch, options).await?;
        if let Outcome::Conflict(Conflict { version, current: Some(current), .. }) = &mut outcome {
            *version = current.version;
        }
        Ok(outcome)
    }
}
