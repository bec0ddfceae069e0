//! Limits that come too late or not at all (C14), and requests that are half done (C18).

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rdb_engine_api::{
    Batch, Engine, Entry, EntryStream, Key, Op, Outcome, Record, Result, Scan, Version, View, Watch,
    WatchStream, WriteOptions,
};

use crate::broken::Defect;
use crate::defects::of_ops;

/// The batch with each operation as the rule has it.
fn map_ops(batch: &Batch, rule: impl Fn(Op) -> Op) -> Batch {
    let conditions = batch.conditions().iter().cloned();
    let batch = batch.ops().iter().cloned().fold(Batch::new(), |batch, (key, op)| batch.op(key, rule(op)));
    conditions.fold(batch, |batch, (key, condition)| batch.when(key, condition))
}

/// Applies a batch in parts of as many operations as the limit allows, and checks each when its turn comes.
#[derive(Debug)]
pub(crate) struct LimitCheckedOnTheWay;

#[async_trait]
impl Defect for LimitCheckedOnTheWay {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let most = sound.info().limits.max_batch_len;
        if batch.len() > most {
            drop(sound.write(of_ops(batch.ops().iter().take(most)), options.clone()).await?);
        }
        sound.write(batch, options).await
    }
}

/// Cuts a value at the limit.
#[derive(Debug)]
pub(crate) struct LongValueIsCut;

#[async_trait]
impl Defect for LongValueIsCut {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let most = sound.info().limits.max_value_bytes;
        let cut = map_ops(&batch, |op| match op {
            Op::Put { value, ttl } => Op::Put { value: value.slice(..value.len().min(most)), ttl },
            op => op,
        });
        sound.write(cut, options).await
    }
}

/// Reads a get of too many keys in several parts, however many there are.
#[derive(Debug)]
pub(crate) struct KeysWithoutBound;

#[async_trait]
impl Defect for KeysWithoutBound {
    async fn get_many(&self, sound: &Arc<dyn Engine>, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        let mut view = sound.get_many(&[]).await?;
        for part in keys.chunks(sound.info().limits.max_get_many_keys) {
            view.data.extend(sound.get_many(part).await?.data);
        }
        Ok(view)
    }
}

/// Reads every scan whole when it is opened: no place is ever taken.
#[derive(Debug)]
pub(crate) struct ScansWithoutBound;

#[async_trait]
impl Defect for ScansWithoutBound {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let View { version, data } = sound.scan(scan).await?;
        let chunks: Vec<Vec<Entry>> = data.try_collect().await?;
        Ok(View { version, data: stream::iter(chunks.into_iter().map(Ok)).boxed() })
    }
}

/// Stores a record that asks for a time to live for ever.
#[derive(Debug)]
pub(crate) struct TtlIgnored;

#[async_trait]
impl Defect for TtlIgnored {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let lasting = map_ops(&batch, |op| match op {
            Op::Put { value, .. } => Op::Put { value, ttl: None },
            op => op,
        });
        sound.write(lasting, options).await
    }
}

/// Applies a write with a place in a session like any other, and would apply its duplicate.
#[derive(Debug)]
pub(crate) struct StampIgnored;

#[async_trait]
impl Defect for StampIgnored {
    async fn write(
        &self,
        sound: &Arc<dyn Engine>,
        batch: Batch,
        mut options: WriteOptions,
    ) -> Result<Outcome> {
        options.stamp = None;
        sound.write(batch, options).await
    }
}

/// Accepts a watch, and delivers nothing.
#[derive(Debug)]
pub(crate) struct SilentWatch;

#[async_trait]
impl Defect for SilentWatch {
    async fn watch(&self, _: &Arc<dyn Engine>, _: Watch) -> Result<View<WatchStream>> {
        Ok(View { version: Version::MIN, data: stream::pending().boxed() })
    }
}
