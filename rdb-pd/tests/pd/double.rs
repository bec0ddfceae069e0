use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Commit, Durability, Engine, EngineInfo, EntryStream, Error, ErrorKind, Key, Metric, Outcome,
    Record, Result, Scan, Session, SessionOptions, Stamp, View, Watch, WatchStream, WriteOptions,
};
use tokio::sync::Notify;

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing, and it says so.
    Refused,
    /// It is applied, and nobody knows.
    UnknownApplied,
    /// It is not applied, and nobody knows.
    UnknownLost,
    /// Nobody knows; it is applied just before the next write or read that is not refused.
    UnknownLate,
    /// It waits until [`Double::release`] is told, and is then applied.
    Hangs,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] =
        [Self::Refused, Self::UnknownApplied, Self::UnknownLost, Self::UnknownLate];
}

/// An engine in memory whose writes can be told to go wrong.
#[derive(Debug)]
pub(crate) struct Double {
    inner: rdb_engine_mem::MemEngine,
    faults: Mutex<VecDeque<Fault>>,
    late: Mutex<Vec<Batch>>,
    pub(crate) reads_fail: Mutex<bool>,
    /// The durability that each write has asked for.
    pub(crate) asked: Mutex<Vec<Option<Durability>>>,
    /// Told when a write hangs.
    pub(crate) hanging: Notify,
    pub(crate) release: Notify,
}

impl Double {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: rdb_engine_mem::open(&Default::default()).unwrap(),
            faults: Mutex::default(),
            late: Mutex::default(),
            reads_fail: Mutex::default(),
            asked: Mutex::default(),
            hanging: Notify::new(),
            release: Notify::new(),
        })
    }

    /// What is to become of the next writes.
    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.faults.lock() = faults.into_iter().collect();
    }

    /// Applies what nobody knew of.
    async fn arrive(&self) {
        let late = std::mem::take(&mut *self.late.lock());
        for batch in late {
            let _ = self.inner.write(batch, WriteOptions::default()).await.unwrap();
        }
    }
}

#[async_trait]
impl Engine for Double {
    fn info(&self) -> &EngineInfo {
        self.inner.info()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.inner.metrics()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        if *self.reads_fail.lock() {
            return Err(Error::new(ErrorKind::Unavailable, "told to"));
        }
        let record = self.inner.get(key).await;
        self.arrive().await;
        record
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        self.inner.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        self.inner.scan(scan).await
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        self.asked.lock().push(options.durability);
        let unknown = || Err(Error::new(ErrorKind::Unknown, "told to"));
        let fault = self.faults.lock().pop_front();
        match fault {
            Some(Fault::Refused) => return Err(Error::new(ErrorKind::Unavailable, "told to")),
            Some(Fault::UnknownApplied) => {
                let _ = self.inner.write(batch, options).await?;
                return unknown();
            }
            Some(Fault::UnknownLost) => return unknown(),
            Some(Fault::UnknownLate) => {
                self.late.lock().push(batch);
                return unknown();
            }
            Some(Fault::Hangs) => {
                self.hanging.notify_one();
                self.release.notified().await;
            }
            None => {}
        }
        self.arrive().await;
        self.inner.write(batch, options).await
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        self.inner.watch(watch).await
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        self.inner.open_session(options).await
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        self.inner.resume_session(id).await
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        self.inner.end_session(id).await
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        self.inner.settle(stamp).await
    }

    async fn time(&self) -> Result<SystemTime> {
        self.inner.time().await
    }

    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        self.inner.restore(view).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
