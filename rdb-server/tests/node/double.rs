use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use rdb_engine_api::{
    Batch, Commit, Conflict, Durability, Engine, EngineInfo, Entry, EntryStream, Error, ErrorKind, Key,
    LocalOptions, Metric, Op, Outcome, Record, Result, Scan, Session, SessionOptions, Stamp, Version, View,
    Watch, WatchEvent, WatchStream, WriteOptions,
};
use rdb_engine_mem::{MemConfig, MemEngine};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The session that there is.
pub(crate) const SESSION: u64 = 7;
/// The version that watches begin after.
pub(crate) const BEGINNING: Version = Version::MIN;

/// The in-memory engine, except under a few keys, which are instructions.
#[derive(Debug)]
pub(crate) struct Double {
    mem: MemEngine,
    info: EngineInfo,
    /// What the next watches deliver.
    feeds: Mutex<VecDeque<Fed>>,
    /// The keys and values of the puts that came, as they came.
    pub(crate) puts: Mutex<Vec<(Key, Bytes)>>,
    /// How the last write was to be done.
    pub(crate) options: Mutex<WriteOptions>,
    /// How many reads of one key there were.
    pub(crate) gets: AtomicUsize,
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
        let mut info = mem.info().clone();
        info.capabilities.watch = true;
        info.capabilities.blocking = true;
        Self {
            mem,
            info,
            feeds: Mutex::default(),
            puts: Mutex::default(),
            options: Mutex::default(),
            gets: AtomicUsize::new(0),
            never_closes: AtomicBool::new(false),
            release: Notify::new(),
            waiting: Notify::new(),
        }
    }

    /// What one more watch delivers.
    pub(crate) fn feed(&self) -> Feed {
        let (events, fed) = mpsc::unbounded_channel();
        let taken = Arc::new(AtomicUsize::new(0));
        self.feeds.lock().unwrap().push_back((fed, Arc::clone(&taken)));
        Feed { events, taken }
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

fn session(idle: Duration) -> Session {
    let id = NonZeroU64::new(SESSION).unwrap();
    Session::new(id, NonZeroU64::MIN, NonZeroU64::MIN, idle)
}

/// The other end of a feed, and how much of it was taken.
type Fed = (mpsc::UnboundedReceiver<Result<WatchEvent>>, Arc<AtomicUsize>);

/// What a watch delivers.
pub(crate) struct Feed {
    events: mpsc::UnboundedSender<Result<WatchEvent>>,
    taken: Arc<AtomicUsize>,
}

impl Feed {
    pub(crate) fn send(&self, event: Result<WatchEvent>) {
        self.events.send(event).unwrap();
    }

    /// How many of them were taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until nobody takes any more.
    pub(crate) async fn closed(&self) {
        self.events.closed().await;
    }
}

#[async_trait]
impl Engine for Double {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        self.mem.metrics()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
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

    async fn write(&self, batch: Batch, mut options: WriteOptions) -> Result<Outcome> {
        self.options.lock().unwrap().clone_from(&options);
        if let Some((key, Op::Put { value, .. })) = batch.ops().first() {
            self.puts.lock().unwrap().push((key.clone(), value.clone()));
        }
        if let Some((key, wait)) = batch.conditions().first().map(|(key, _)| key).zip(options.wait.take())
            && key.as_bytes() == b"locked"
        {
            self.waiting.notify_one();
            tokio::time::sleep(wait).await;
            return Ok(Outcome::Conflict(Conflict::new(0, key.clone(), BEGINNING, None)));
        }
        if let Some((key, _)) = batch.ops().first() {
            self.obey(key.as_bytes()).await?;
        }
        self.mem.write(batch, options).await
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        if watch.range.contains(b"compacted") && !watch.range.contains(b"a") {
            return Err(Error::new(ErrorKind::Compacted, "told to").at(BEGINNING));
        }
        let feed = self.feeds.lock().unwrap().pop_front();
        let Some((fed, taken)) = feed else { return self.mem.watch(watch).await };
        let events = UnboundedReceiverStream::new(fed).inspect(move |_| {
            taken.fetch_add(1, Ordering::Relaxed);
        });
        Ok(View { version: BEGINNING, data: Box::pin(events) })
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        Ok(session(options.idle.unwrap_or(self.info.limits.session_idle)))
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        Ok((id.get() == SESSION).then(|| session(self.info.limits.session_idle)))
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        assert_eq!(id.get(), SESSION);
        Ok(())
    }

    /// Those that were acknowledged are forgotten, and the next one was executed.
    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        let commit = Commit { version: BEGINNING, durability: Durability::Volatile };
        match stamp.sequence.get() {
            number if number <= stamp.acknowledged => Err(Error::new(ErrorKind::Unknown, "told to")),
            number if number == stamp.acknowledged + 1 => Ok(Some(Outcome::Committed(commit))),
            _ => Ok(None),
        }
    }

    async fn time(&self) -> Result<SystemTime> {
        Ok(UNIX_EPOCH + Duration::from_millis(1_234))
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
