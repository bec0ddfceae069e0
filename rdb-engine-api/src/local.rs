//! The common core of local engines: everything that makes a [`Store`] an [`Engine`].

mod archive;
mod blocked;
mod cold;
mod committer;
mod expiry;
mod gate;
mod histogram;
mod history;
mod intake;
mod judge;
mod line;
mod log;
mod meter;
mod once;
mod pending;
mod queue;
mod registry;
mod restore;
mod row;
mod scanner;
mod seal;
mod sessions;
mod several;
mod striped;
mod time;
mod waits;
mod watcher;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::archive::Archive;
use self::blocked::Blocked;
use self::cold::Cold;
use self::committer::Committer;
use self::expiry::{Expiry, Outlook};
use self::gate::Gate;
use self::line::VersionLine;
use self::log::Log;
use self::meter::Meter;
use self::queue::{Queue, Request, Task, Write};
use self::sessions::{CALL_BYTES, Call, Sessions, Stamped};
use self::several::Records;
use self::time::EngineTime;
use crate::{
    Batch, Cached, Capabilities, Clock, Commit, Condition, Durability, Engine, EngineInfo, EntryStream,
    Error, ErrorKind, Key, KeyRange, Limits, MAX_KEY_BYTES, MAX_TTL, Metric, Op, Outcome, Record, Result,
    Scan, Session, SessionOptions, Space, Stamp, Store, Version, View, Watch, WatchStream, WriteOptions,
};

/// Reads that may wait for a disk, at once. More than a disk serves in parallel, fewer than Tokio's
/// blocking threads, of which scans need some too.
const BLOCKING_READS: usize = 64;
/// Scans have a blocking thread each. Tokio has 512 unless told otherwise: with this many scans, reads and
/// others still find some.
const MAX_SCANS: usize = 384;
/// The shortest life of a record that expires: the granularity of expiry (C15).
const MIN_TTL: Duration = Duration::from_millis(1);

/// How a [`Local`] engine behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalOptions {
    /// What callers are held to (C14).
    pub limits: Limits,
    /// The durability of writes that ask for none; the store's best where this is none (C9).
    pub default_durability: Option<Durability>,
    /// The most bytes of keys and values committed in one group. A larger batch is committed alone.
    pub max_group_bytes: usize,
    /// Where the history of commits is kept.
    pub history: History,
}

/// Where the history of commits is kept, from which a watch begins in the past (C16). Its
/// [limits](Limits::max_history_ops) are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum History {
    /// In memory: a watch from before an opening is [`Compacted`](ErrorKind::Compacted). Commits cost nothing
    /// more.
    #[default]
    Memory,
    /// In the store too, with the data: a watch goes on over restarts, as far as the commits themselves
    /// survive. What a commit writes is written twice. An opening without it ends it.
    Durable,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            default_durability: None,
            max_group_bytes: 4 << 20,
            history: History::default(),
        }
    }
}

impl LocalOptions {
    /// Whether the options agree with each other and with the best durability of a store. [`Local::open`]
    /// asks this too; an engine asks before it makes a directory.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for limits that contradict each other;
    /// [`Unsupported`](ErrorKind::Unsupported) for a default durability above the best.
    pub fn check(&self, best: Durability) -> Result<()> {
        let limits = &self.limits;
        let at_least = [
            ("max_scans", limits.max_scans, 1),
            ("max_queued_writes", limits.max_queued_writes, 1),
            ("max_batch_len", limits.max_batch_len, 1),
            ("session_window", limits.session_window, 1),
            // One longest key and value have to fit.
            ("max_batch_bytes", limits.max_batch_bytes, limits.max_value_bytes.saturating_add(MAX_KEY_BYTES)),
            ("max_queued_bytes", limits.max_queued_bytes, limits.max_batch_bytes),
        ];
        for (name, value, least) in at_least {
            if value < least {
                return Err(Error::new(ErrorKind::InvalidArgument, "limit is too small for the others")
                    .with("limit", name)
                    .with("is", value)
                    .with("least", least));
            }
        }
        if limits.max_scans > MAX_SCANS {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "limit is above what the runtime has threads for",
            )
            .with("limit", "max_scans")
            .with("is", limits.max_scans)
            .with("most", MAX_SCANS));
        }
        if let Some(default) = self.default_durability
            && default > best
        {
            return Err(Error::new(ErrorKind::Unsupported, "default durability is above the engine's best")
                .with("default", default)
                .with("best", best));
        }
        Ok(())
    }
}

/// Turns a [`Store`] into an [`Engine`]: conditions, versions, group commit, limits, every one of the
/// [`Capabilities`], and an orderly end.
///
/// **Writes** enter a bounded queue. One thread, the committer, takes what waits, judges each batch
/// against the store and the batches before it in the group, gives versions, makes one
/// [`Store::commit`], and only then answers everyone (C1, C2, C3, C9). Compare-and-swap is atomic
/// because there is one writer; group commit comes for free.
///
/// **Reads** never wait for the committer. A read that the store can answer from memory stays on the
/// caller's thread; any other goes to a bounded number of blocking threads. **Scans** own a snapshot on
/// a blocking thread and feed a bounded channel.
///
/// **Expiry** (C15) and **writes that wait** (C20) are the committer's too: it removes what is due in front of
/// its groups, and judges a waiting write again right behind the commit that touches its condition's key.
/// **Sessions** (C17): what a write of one came to is remembered in the atomic write of its data.
///
/// **Watches** (C16) read a bounded log of commits, each at its own pace; the committer appends to it and waits
/// for none of them.
///
/// **Versions** go on above all that were ever given, and above the wall clock in microseconds, at each
/// opening (C5).
#[derive(Debug)]
pub struct Local<S: Store> {
    info: EngineInfo,
    clock: Arc<dyn Clock>,
    log: Arc<Log>,
    /// None once closed.
    home: ArcSwapOption<Home<S>>,
    queue: Arc<Queue>,
    meter: Arc<Meter>,
    time: Arc<EngineTime>,
    expiry: Arc<Outlook>,
    /// The most bytes of a restore's commit.
    max_group_bytes: usize,
    closing: CancellationToken,
    freed: watch::Receiver<()>,
    reads: Arc<Semaphore>,
    waiting_reads: Arc<AtomicUsize>,
    cold: Arc<Cold>,
    scans: Arc<Semaphore>,
}

/// The store, and the sign that it is gone: fields drop in order, so the receivers of `_freed` learn of
/// it when the store has let go of its directory.
#[derive(Debug)]
struct Home<S> {
    store: S,
    gate: Gate,
    log: Arc<Log>,
    _freed: watch::Sender<()>,
}

/// What readers see of the store, which is nothing during a restore (C19).
impl<S: Store> Home<S> {
    fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.gate.look(|| self.store.get(Space::Data, key.as_bytes()))
    }

    fn get_cached(&self, key: &Key) -> Result<Cached> {
        self.gate.look(|| self.store.get_cached(Space::Data, key.as_bytes()))
    }

    fn get_many_cached(&self, keys: &[Key], limit: usize) -> Result<Option<View<Records>>> {
        self.gate.look(|| several::cached(&self.store, keys, limit))
    }

    /// The version of the present view, if it can be told without waiting for a disk.
    fn version_cached(&self) -> Result<Option<Version>> {
        self.gate.look(|| line::version_cached(&self.store))
    }

    /// The present view and its version. It stays as it is, whatever a later restore does.
    fn snapshot(&self) -> Result<(Version, S::Snapshot<'_>)> {
        self.gate.look(|| {
            let snapshot = self.store.snapshot()?;
            Ok((line::version_of(&snapshot)?, snapshot))
        })
    }
}

impl<S: Store> Local<S> {
    /// Opens an engine on a store. Reads and writes the store, so it may block; needs no runtime.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) and [`Unsupported`](ErrorKind::Unsupported) for
    /// options that contradict each other or the store; what the store reports.
    pub fn open(store: S, options: LocalOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let store_info = store.info().clone();
        options.check(store_info.best_durability)?;
        restore::recover(&store)?;
        let line = VersionLine::open(&store, &*clock)?;
        let sessions = Sessions::open(&store, &options.limits, line.life, clock.monotonic())?;
        let info = EngineInfo {
            name: store_info.name.to_owned(),
            format: store_info.format,
            capabilities: Capabilities {
                expiry: true,
                sessions: true,
                restore: true,
                blocking: true,
                watch: true,
                ..Capabilities::default()
            },
            best_durability: store_info.best_durability,
            default_durability: options.default_durability.unwrap_or(store_info.best_durability),
            limits: options.limits,
        };
        let archive = Archive::open(&store, options.history, &info.limits, line.last)?;
        let is_durable = options.history == History::Durable;
        let log = Arc::new(Log::new(&info.limits, Arc::clone(&clock), &line, archive, is_durable));
        let (freed_sender, freed) = watch::channel(());
        let home =
            Arc::new(Home { store, gate: Gate::default(), log: Arc::clone(&log), _freed: freed_sender });
        let queue = Arc::new(Queue::new(&info.limits));
        let meter = Arc::new(Meter::default());
        meter.writes.advanced(line.last);
        let time = Arc::clone(&line.time);
        let mut committer = Committer {
            home: Arc::clone(&home),
            queue: Arc::clone(&queue),
            clock: Arc::clone(&clock),
            meter: Arc::clone(&meter),
            line,
            expiry: Expiry::unknown(),
            sessions,
            blocked: Blocked::new(&info.limits),
            default_durability: info.default_durability,
            max_group_bytes: options.max_group_bytes,
        };
        // Before the first answer (C15).
        committer.catch_up()?;
        if let Some(failure) = committer.expiry.take_failure() {
            return Err(failure);
        }
        let expiry = committer.expiry.outlook();
        std::thread::Builder::new()
            .name("flaredb-commit".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot start the committer thread").because(error)
            })?;
        let closing = CancellationToken::new();
        let reads = Arc::new(Semaphore::new(BLOCKING_READS));
        let waiting_reads = Arc::new(AtomicUsize::new(0));
        let (clock_too, places, others) =
            (Arc::clone(&clock), Arc::clone(&reads), Arc::clone(&waiting_reads));
        let cold = Arc::new(Cold::new(clock_too, places, others, closing.clone()));
        Ok(Self {
            clock,
            log,
            home: ArcSwapOption::from(Some(home)),
            queue,
            meter,
            time,
            expiry,
            max_group_bytes: options.max_group_bytes,
            closing,
            freed,
            reads,
            waiting_reads,
            cold,
            scans: Arc::new(Semaphore::new(info.limits.max_scans)),
            info,
        })
    }

    fn home(&self) -> Result<Arc<Home<S>>> {
        self.home.load_full().ok_or_else(closed)
    }

    fn get_cached(&self, key: &Key) -> Result<Cached> {
        // A guard, not a counted reference: this is the hot path.
        let cached = match &*self.home.load() {
            Some(home) => home.get_cached(key)?,
            None => return Err(closed()),
        };
        match cached {
            Cached::Hit(_) => self.meter.reads.cache_hits.increment(),
            Cached::Miss => self.meter.reads.cache_misses.increment(),
        }
        Ok(cached)
    }

    /// None where it takes a blocking thread to tell, or where the caller's would be taken for too long.
    fn get_many_cached(&self, keys: &[Key]) -> Result<Option<View<Records>>> {
        if keys.len() > several::MOST_IN_PLACE {
            return Ok(None);
        }
        let limit = self.info.limits.max_batch_bytes;
        let cached = match &*self.home.load() {
            Some(home) => home.get_many_cached(keys, limit)?,
            None => return Err(closed()),
        };
        let count = keys.len() as u64;
        match cached {
            Some(_) => self.meter.reads.cache_hits.add(count),
            None => self.meter.reads.cache_misses.add(count),
        }
        Ok(cached)
    }

    /// Reads a record that may not be in memory.
    async fn get_cold(&self, key: Key) -> Result<Option<Bytes>> {
        let home = Arc::downgrade(&self.home()?);
        self.meter.reads.blocking.increment();
        let read = self.cold.get(&home, key, self.info.limits.max_waiting_reads).await;
        read.inspect_err(|error| {
            if error.kind() == ErrorKind::Exhausted {
                self.meter.reads.refused.increment();
            }
        })
    }

    /// Runs a read that may wait for a disk, in a bounded number of places (C14).
    async fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Home<S>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = {
            let waiting = Waiting::enter(&self.waiting_reads, self.info.limits.max_waiting_reads);
            let _waiting = waiting.inspect_err(|_| self.meter.reads.refused.increment())?;
            let place = Arc::clone(&self.reads).acquire_owned();
            self.closing.run_until_cancelled(place).await.ok_or_else(closed)?.map_err(|_| closed())?
        };
        // Not before: who waits must not hold up the closing.
        let home = self.home()?;
        self.meter.reads.blocking.increment();
        let task = spawn_blocking(move || {
            let result = read(&home);
            drop((home, place));
            result
        });
        task.await.map_err(|error| lost(&error))?
    }

    /// The keys that the committer will need and that may be cold.
    fn cold_keys(&self, batch: &Batch) -> Result<Vec<Key>> {
        let conditions = batch.conditions().iter().map(|(key, _)| key);
        // A put has to know what it replaces where that may have an entry in the expiry index, and where
        // somebody watches it.
        let looks_back = self.expiry.is_expiring() || self.log.wants_previous();
        let ops = batch.ops().iter().filter(|(_, op)| looks_back || matches!(op, Op::Delete));
        let mut cold = Vec::new();
        for key in conditions.chain(ops.map(|(key, _)| key)) {
            if self.get_cached(key)? == Cached::Miss {
                cold.push(key.clone());
            }
        }
        Ok(cold)
    }

    /// Reads keys, so that the committer finds them warm and nobody else's write waits for this one's disk.
    async fn warm_up(&self, mut cold: Vec<Key>) -> Result<()> {
        if cold.len() == 1
            && let Some(key) = cold.pop()
        {
            return self.get_cold(key).await.map(drop);
        }
        self.read_blocking(move |home| {
            for key in &cold {
                home.get(key)?;
            }
            Ok(())
        })
        .await
    }

    fn check_write(&self, batch: &Batch, options: &WriteOptions) -> Result<()> {
        let limits = &self.info.limits;
        check_limit("batch has too many conditions and operations", batch.len(), limits.max_batch_len)?;
        let in_conditions = batch.conditions().iter().filter_map(|(_, condition)| match condition {
            Condition::Value(value) => Some(value),
            _ => None,
        });
        let in_ops = batch.ops().iter().filter_map(|(_, op)| match op {
            Op::Put { value, .. } => Some(value),
            Op::Delete => None,
        });
        for value in in_conditions.chain(in_ops) {
            check_limit("value is too long", value.len(), limits.max_value_bytes)?;
        }
        check_limit("batch is too large", batch.size_bytes(), limits.max_batch_bytes)?;
        for (_, op) in batch.ops() {
            if let Op::Put { ttl: Some(ttl), .. } = op
                && !(MIN_TTL..=MAX_TTL).contains(ttl)
            {
                return Err(Error::new(ErrorKind::InvalidArgument, "time to live is out of bounds")
                    .with("ttl_ms", ttl.as_secs_f64() * 1e3)
                    .with("least_ms", MIN_TTL.as_millis())
                    .with("most_ms", MAX_TTL.as_millis()));
            }
        }
        if options.durability.is_some_and(|asked| asked > self.info.best_durability) {
            return Err(self
                .unsupported("engine cannot reach the durability asked for")
                .with("best", self.info.best_durability));
        }
        Ok(())
    }

    fn push(&self, task: Task, bytes: usize) -> Result<()> {
        let pushed = self.queue.push(Request { task, bytes, queued: self.clock.monotonic() });
        pushed.inspect_err(|error| {
            if error.kind() == ErrorKind::Exhausted {
                self.meter.reads.writes_refused.increment();
            }
        })
    }

    /// Asks the committer something, in order with the writes.
    async fn call<T>(&self, call: impl FnOnce(oneshot::Sender<Result<T>>) -> Call) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.push(Task::Session(call(answer)), CALL_BYTES)?;
        answered.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unknown, "the committer died")))
    }

    fn unsupported(&self, message: &str) -> Error {
        Error::new(ErrorKind::Unsupported, message).with("engine", &self.info.name)
    }
}

#[async_trait]
impl<S: Store> Engine for Local<S> {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        self.measured()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        let row = match self.get_cached(key)? {
            Cached::Hit(row) => row,
            // Boxed: the future of every read would be as large as that of one that has to wait.
            Cached::Miss => Box::pin(self.get_cold(key.clone())).await?,
        };
        row.map(|row| row::decode(key.as_bytes(), row)).transpose()
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        check_limit("too many keys at once", keys.len(), self.info.limits.max_get_many_keys)?;
        if let Some(view) = self.get_many_cached(keys)? {
            return Ok(view);
        }
        let keys = keys.to_vec();
        let limit = self.info.limits.max_batch_bytes;
        // Boxed: see `get`.
        Box::pin(self.read_blocking(move |home| {
            let (version, snapshot) = home.snapshot()?;
            Ok(View { version, data: several::read(&snapshot, &keys, limit)? })
        }))
        .await
    }

    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        check_range(&scan.range)?;
        let home = self.home()?;
        let place = Arc::clone(&self.scans).try_acquire_owned().map_err(|_| {
            self.meter.reads.scans_refused.increment();
            Error::new(ErrorKind::Exhausted, "too many scans are open")
                .with("limit", self.info.limits.max_scans)
        })?;
        self.meter.reads.scans.increment();
        scanner::open(home, scan, self.info.limits.scan_idle, self.closing.clone(), place).await
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        self.check_write(&batch, &options)?;
        // A time beyond the clock's end never comes.
        let not_after = options.timeout.and_then(|timeout| self.clock.monotonic().checked_add(timeout));
        let until = options.wait.map(|wait| self.clock.monotonic().saturating_add(wait));
        let cold = self.cold_keys(&batch)?;
        if !cold.is_empty() {
            // Boxed: the future of every write would be as large as that of one that has to wait.
            Box::pin(self.warm_up(cold)).await?;
        }
        let (answer, answered) = oneshot::channel();
        let bytes = batch.size_bytes();
        let stamped = options.stamp.map(|stamp| Stamped::new(stamp, &batch));
        let durability = options.durability.unwrap_or(self.info.default_durability);
        let write = Write { batch, durability, not_after, until, stamped, answer };
        self.push(Task::Write(write), bytes)?;
        // The committer answers every request it took, so silence means that its thread died.
        answered.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unknown, "the committer died")))
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        check_range(&watch.range)?;
        watcher::check_progress(watch.progress)?;
        let present = match self.home()?.version_cached()? {
            Some(present) => present,
            None => self.read_blocking(|home| Ok(home.snapshot()?.0)).await?,
        };
        let opened = watcher::open(Arc::clone(&self.log), watch, present).await;
        let meter = &self.log.meter;
        match &opened {
            Ok(_) => meter.opened.increment(),
            Err(error) if error.kind() == ErrorKind::Exhausted => meter.refused.increment(),
            Err(_) => {}
        }
        opened
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        let limit = self.info.limits.session_idle;
        let idle = options.idle.unwrap_or(limit);
        if idle.is_zero() || idle > limit {
            return Err(Error::new(ErrorKind::InvalidArgument, "a session cannot be idle for so long")
                .with("idle_ms", idle.as_millis())
                .with("limit_ms", limit.as_millis()));
        }
        let idle = Duration::from_millis(time::whole_millis(idle));
        self.call(|answer| Call::Open { idle, answer }).await
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        self.call(|answer| Call::Resume { id, answer }).await
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        self.call(|answer| Call::End { id, answer }).await
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        self.call(|answer| Call::Settle { stamp, answer }).await
    }

    async fn time(&self) -> Result<SystemTime> {
        self.home()?;
        let now = time::from_millis(self.time.now(&*self.clock).reached);
        now.ok_or_else(|| Error::new(ErrorKind::Internal, "the engine's time is beyond the system's"))
    }

    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        let bounds = intake::Bounds::new(&self.info.limits, self.max_group_bytes);
        intake::restore(view, bounds, &self.queue, &self.closing).await
    }

    async fn close(&self) -> Result<()> {
        self.closing.cancel();
        self.queue.close();
        if let Some(home) = self.home.swap(None) {
            // The last one to let go closes the store, which may block.
            spawn_blocking(move || drop(home)).await.map_err(|error| lost(&error))?;
        }
        let mut freed = self.freed.clone();
        while freed.changed().await.is_ok() {}
        Ok(())
    }
}

impl<S: Store> Drop for Local<S> {
    fn drop(&mut self) {
        self.closing.cancel();
        self.queue.close();
        if let Some(home) = self.home.swap(None) {
            // Closing the store may block, and this may be an async thread. Where there is no thread to be
            // had, it blocks.
            let _ = std::thread::Builder::new().name("flaredb-close".to_owned()).spawn(move || drop(home));
        }
    }
}

/// Counts a caller among those that wait for a place.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, limit: usize) -> Result<Self> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) < limit {
            Ok(waiting)
        } else {
            Err(Error::new(ErrorKind::Exhausted, "too many reads are waiting").with("limit", limit))
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn check_limit(message: &str, is: usize, limit: usize) -> Result<()> {
    if is <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, message).with("is", is).with("limit", limit))
}

fn check_range(range: &KeyRange) -> Result<()> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    for bound in [range.start(), range.end()] {
        match bound {
            Included(bytes) | Excluded(bytes) => {
                check_limit("range bound is too long", bytes.len(), MAX_KEY_BYTES)?
            }
            Unbounded => {}
        }
    }
    Ok(())
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "engine is closed")
}

/// A blocking task panicked, or its runtime is shutting down.
fn lost(error: &JoinError) -> Error {
    if error.is_panic() { panicked() } else { shutting_down() }
}

fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "a blocking task panicked")
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::Unavailable, "the runtime is shutting down")
}
