use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use rdb_engine_api::{
    Batch, Commit, Engine, EngineInfo, EntryStream, Key, Metric, Outcome, Record, Result, Scan, Session,
    SessionOptions, Stamp, View, Watch, WatchStream, WriteOptions,
};

/// One way of breaking one clause in the calls of an engine: what is not overridden does as the sound engine
/// does.
#[async_trait]
pub(crate) trait Defect: std::fmt::Debug + Send + Sync + 'static {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        sound.get(key).await
    }

    async fn get_many(&self, sound: &Arc<dyn Engine>, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        sound.get_many(keys).await
    }

    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        sound.scan(scan).await
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        sound.write(batch, options).await
    }

    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        sound.watch(watch).await
    }

    async fn open_session(&self, sound: &Arc<dyn Engine>, options: SessionOptions) -> Result<Session> {
        sound.open_session(options).await
    }

    async fn resume_session(&self, sound: &Arc<dyn Engine>, id: NonZeroU64) -> Result<Option<Session>> {
        sound.resume_session(id).await
    }

    async fn end_session(&self, sound: &Arc<dyn Engine>, id: NonZeroU64) -> Result<()> {
        sound.end_session(id).await
    }

    async fn settle(&self, sound: &Arc<dyn Engine>, stamp: Stamp) -> Result<Option<Outcome>> {
        sound.settle(stamp).await
    }

    async fn time(&self, sound: &Arc<dyn Engine>) -> Result<SystemTime> {
        sound.time().await
    }

    async fn restore(&self, sound: &Arc<dyn Engine>, view: View<EntryStream>) -> Result<Commit> {
        sound.restore(view).await
    }

    async fn close(&self, sound: &Arc<dyn Engine>) -> Result<()> {
        sound.close().await
    }
}

/// An engine with a defect.
#[derive(Debug)]
pub(crate) struct Broken<D> {
    pub(crate) sound: Arc<dyn Engine>,
    /// What it declares, whatever the sound engine does.
    pub(crate) info: EngineInfo,
    pub(crate) defect: D,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: Defect> Engine for Broken<D> {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        self.sound.metrics()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.defect.get(&self.sound, key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        self.defect.get_many(&self.sound, keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        self.defect.scan(&self.sound, scan).await
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        self.defect.write(&self.sound, batch, options).await
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        self.defect.watch(&self.sound, watch).await
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        self.defect.open_session(&self.sound, options).await
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        self.defect.resume_session(&self.sound, id).await
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        self.defect.end_session(&self.sound, id).await
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        self.defect.settle(&self.sound, stamp).await
    }

    async fn time(&self) -> Result<SystemTime> {
        self.defect.time(&self.sound).await
    }

    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        self.defect.restore(&self.sound, view).await
    }

    async fn close(&self) -> Result<()> {
        self.defect.close(&self.sound).await
    }
}
