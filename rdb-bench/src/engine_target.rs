use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use rdb_engine_api::{
    Batch, Condition, Durability, Engine, Error, Key, KeyRange, Outcome, Record, Scan, Version, WriteOptions,
};

use crate::{Result, Seen, Swap, Target, TargetInfo};

/// Any engine as a target.
#[derive(Debug)]
pub struct EngineTarget {
    engine: Arc<dyn Engine>,
    info: TargetInfo,
    write: WriteOptions,
}

impl EngineTarget {
    /// Measures an engine, at its default durability unless one is given.
    pub fn new(engine: Arc<dyn Engine>, name: impl Into<String>, durability: Option<Durability>) -> Self {
        let of = engine.info();
        let info = TargetInfo::new(
            name,
            env!("CARGO_PKG_VERSION"),
            durability.unwrap_or(of.default_durability).name(),
        )
        .detail("engine", &of.name);
        let mut write = WriteOptions::default();
        write.durability = durability;
        Self { engine, info, write }
    }

    /// Says more about it in the report.
    #[must_use]
    pub fn with_info(mut self, change: impl FnOnce(TargetInfo) -> TargetInfo) -> Self {
        self.info = change(self.info);
        self
    }

    async fn write(&self, batch: Batch) -> Result<Outcome> {
        self.engine.write(batch, self.write.clone()).await.map_err(text)
    }
}

#[async_trait]
impl Target for EngineTarget {
    fn info(&self) -> TargetInfo {
        self.info.clone()
    }

    async fn get(&self, key: &Key) -> Result<Option<Seen>> {
        Ok(self.engine.get(key).await.map_err(text)?.map(seen))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Seen>>> {
        let view = self.engine.get_many(keys).await.map_err(text)?;
        Ok(view.data.into_iter().map(|record| record.map(seen)).collect())
    }

    async fn put(&self, key: &Key, value: Bytes) -> Result<()> {
        committed(&self.write(Batch::new().put(key.clone(), value)).await?)
    }

    async fn swap(&self, key: &Key, version: u64, value: Bytes) -> Result<Swap> {
        let condition = Version::new(version).map_or(Condition::Absent, Condition::Version);
        let batch = Batch::new().when(key.clone(), condition).put(key.clone(), value);
        match self.write(batch).await? {
            Outcome::Committed(commit) | Outcome::Unchanged(commit) => Ok(Swap::Done(commit.version.get())),
            Outcome::Conflict(conflict) => Ok(Swap::Conflict(conflict.current.map(seen))),
        }
    }

    async fn scan(&self, from: &Key, limit: u64) -> Result<u64> {
        let range = KeyRange::new(Bound::Included(from.to_bytes()), Bound::Unbounded);
        let mut entries = self.engine.scan(Scan::new(range).limit(limit)).await.map_err(text)?.data;
        let mut count = 0;
        while let Some(some) = entries.try_next().await.map_err(text)? {
            count += some.len() as u64;
        }
        Ok(count)
    }

    async fn load(&self, records: Vec<(Key, Bytes)>) -> Result<()> {
        let batch = records.into_iter().fold(Batch::new(), |batch, (key, value)| batch.put(key, value));
        committed(&self.write(batch).await?)
    }
}

fn seen(record: Record) -> Seen {
    Seen { version: record.version.get(), value: record.value }
}

fn committed(outcome: &Outcome) -> Result<()> {
    match outcome {
        Outcome::Committed(_) => Ok(()),
        other => Err(format!("engine did not commit a put: {other:?}")),
    }
}

fn text(error: Error) -> String {
    format!("{}: {}", error.kind(), error.report())
}
