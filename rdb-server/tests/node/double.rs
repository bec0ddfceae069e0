use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use futures::StreamExt as _;
use rdb_engine_api::{
    Batch, Commit, Engine, EngineInfo, Entry, EntryStream, Error, ErrorKind, Key, LocalOptions, Metric,
    Outcome, Record, Result, Scan, Session, SessionOptions, Stamp, View, Watch, WatchStream, WriteOptions,
};
use rdb_engine_mem::{MemConfig, MemEngine};
use tokio::sync::Notify;

/// The in-memory engine, except under a few keys, which are instructions.
#[derive(Debug)]
pub(crate) struct Double {
    mem: MemEngine,
    /// Makes closing take forever.
    pub(crate) never_closes: AtomicBool,
    /// Lets go of what waits under the key `held`.
    pub(crate) release: Notify,
    /// Told when something begins to wait under `held` or `stuck`.
    pub(crate) waiting: Notify,
}

impl Double {
    pub(crate) fn new(local: LocalOptions) -> Self {
        let mut config = MemConfig::default();
        config.local = local;
        let mem = rdb_engine_mem::open(&config).unwrap();
        Self { mem, never_closes: AtomicBool::new(false), release: Notify::new(), waiting: Notify::new() }
    }

    async fn obey(&self, key: &[u8]) -> Result<()> {
        match key {
            b"stuck" => {
                self.waiting.notify_one();
                std::future::pending().await
            }
            b"held" => {
                self.waiting.notify_one();
                self.release.notified().await;
                Ok(())
            }
            b"panic" => panic!("told to"),
            b"closed" => Err(Error::new(ErrorKind::Closed, "told to")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Engine for Double {
    fn info(&self) -> &EngineInfo {
        self.mem.info()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.mem.metrics()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.obey(key.as_bytes()).await?;
        self.mem.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        self.mem.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        let instruction = match scan.range.start() {
            std::ops::Bound::Included(start) => start.clone(),
            _ => return self.mem.scan(scan).await,
        };
        let one = || Ok(vec![Entry::new(Key::new(instruction.clone()).unwrap(), None)]);
        let version = self.mem.scan(scan.clone()).await?.version;
        let first = futures::stream::iter([one()]);
        let data: EntryStream = match &instruction[..] {
            b"stuck" => Box::pin(first.chain(futures::stream::pending())),
            b"broken" => {
                let error = Err(Error::new(ErrorKind::Corrupt, "told to"));
                Box::pin(first.chain(futures::stream::iter([error])))
            }
            b"panic" => Box::pin(first.map(|_| panic!("told to"))),
            _ => return self.mem.scan(scan).await,
        };
        Ok(View { version, data })
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        if let Some((key, _)) = batch.ops().first() {
            self.obey(key.as_bytes()).await?;
        }
        self.mem.write(batch, options).await
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        self.mem.watch(watch).await
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        self.mem.open_session(options).await
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        self.mem.resume_session(id).await
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        self.mem.end_session(id).await
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        self.mem.settle(stamp).await
    }

    async fn time(&self) -> Result<SystemTime> {
        self.mem.time().await
    }

    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        self.mem.restore(view).await
    }

    async fn close(&self) -> Result<()> {
        if self.never_closes.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.mem.close().await
    }
}
