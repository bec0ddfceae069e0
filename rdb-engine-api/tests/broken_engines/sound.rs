use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::StreamExt as _;
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Clock as _, Commit, Engine, EngineInfo, Entry, EntryStream, Error, ErrorKind, Key, Limits,
    MAX_TTL, Metric, Op, Outcome, Record, Result, Scan, Session, SessionOptions, Stamp, SystemClock, Version,
    View, Watch, WatchStream, WriteOptions,
};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::habits::Habits;
use super::history::History;
use super::log::{self, Changes, millis};
use super::scans::Scans;
use super::sessions::Sessions;
use super::state::{Arrived, Records, State};
use super::time::Time;
use super::waiters::Waiters;
use super::watches;

/// How often the engine looks what is due.
const TICK: Duration = Duration::from_millis(2);

/// The smallest engine that keeps the contract: a sorted map under a lock, and a log to read it back from.
/// It is here to be broken, in its calls by a [`Defect`](super::broken::Defect), in its files by a [`Disk`],
/// and in what it does by itself by its [`Habits`]; nothing in it is clever, and the first write behind a
/// scan copies the map.
#[derive(Debug)]
pub(crate) struct Sound<D: Disk> {
    inner: Arc<Inner<D>>,
}

#[derive(Debug)]
pub(crate) struct Inner<D> {
    pub(crate) info: EngineInfo,
    scans: Scans,
    closing: CancellationToken,
    /// Told after each commit, and at the end.
    pub(crate) changed: watch::Sender<()>,
    /// One more for each watch that is open.
    pub(crate) watches: Arc<()>,
    state: Mutex<Option<State<D>>>,
}

impl<D: Disk> Sound<D> {
    pub(crate) fn open(directory: &Path, limits: Limits, disk: D, habits: Arc<dyn Habits>) -> Result<Self> {
        let clock = SystemClock::new();
        let claim = disk.claim(directory)?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(directory.join("log"))
            .expect("the log opens");
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .expect("the directory can be synced");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("the log can be read");
        let (entries, whole) = log::read(&bytes, &disk)?;
        let floor = claim.as_ref().map(|claim| disk.floor(claim, whole as u64)).transpose()?.flatten();
        file.set_len(whole as u64).expect("the log can be cut");
        let (mut records, mut notes) = (Records::new(), Vec::new());
        let (mut logged, mut last_time) = (Version::MIN, 0);
        for Changes { version, time, ops, restored, notes: noted } in entries {
            for (key, record) in ops {
                disk.replay(&mut records, key, record);
            }
            records.extend(restored);
            notes.extend(noted);
            logged = logged.max(version);
            last_time = last_time.max(time);
        }
        let version = disk.counter(&records, logged, wall(clock));
        let mut info = EngineInfo::new("sound", 1, disk.best());
        info.limits = limits.clone();
        info.capabilities.expiry = true;
        info.capabilities.watch = true;
        info.capabilities.sessions = true;
        info.capabilities.restore = true;
        info.capabilities.blocking = true;
        let ends = records
            .iter()
            .filter_map(|(key, record)| Some(((millis(record.expires_at?), key.clone()), record.version)));
        let mut state = State {
            due: ends.collect(),
            records: Arc::new(records),
            version,
            line: version,
            restoring: false,
            log: file,
            disk,
            floor,
            claim,
            habits,
            limits,
            time: Time::new(clock, last_time),
            history: History::new(version),
            sessions: Sessions::new(NonZeroU64::MIN),
            waiters: Waiters::default(),
        };
        let life = state.take_number().get();
        state.sessions = Sessions::new(NonZeroU64::new(life).expect("not 0"));
        state.note(Vec::new(), Vec::new(), Vec::new(), Some(info.best_durability));
        notes.into_iter().for_each(|note| state.replay(note));
        state.remove_due();
        let inner = Arc::new(Inner {
            info,
            scans: Scans::new(clock),
            closing: CancellationToken::new(),
            changed: watch::Sender::new(()),
            watches: Arc::default(),
            state: Mutex::new(Some(state)),
        });
        tokio::spawn(look_what_is_due(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }
}

/// Removes what is due and ends waits, until the engine is no more.
async fn look_what_is_due<D: Disk>(engine: Weak<Inner<D>>) {
    while let Some(inner) = engine.upgrade() {
        // Nothing is due in an engine that is restored, and a closed one does nothing any more.
        drop(inner.with_state(|state| {
            state.remove_due();
            state.end_waits();
        }));
        drop(inner);
        sleep(TICK).await;
    }
}

impl<D: Disk> Inner<D> {
    pub(crate) fn with_state<T>(&self, work: impl FnOnce(&mut State<D>) -> T) -> Result<T> {
        let mut state = self.state.lock();
        let state = match state.as_mut() {
            Some(state) if state.restoring => {
                return Err(Error::new(ErrorKind::Unavailable, "engine is restored"));
            }
            Some(state) => state,
            None => return Err(closed()),
        };
        let before = state.version;
        let done = work(state);
        if state.version != before {
            self.changed.send_replace(());
        }
        Ok(done)
    }

    /// Reads a view that can be one, to its end.
    async fn collect(&self, view: Version, mut chunks: EntryStream) -> Result<Vec<(Key, Record)>> {
        let invalid = || Error::new(ErrorKind::InvalidArgument, "view cannot be restored");
        let mut records: Vec<(Key, Record)> = Vec::new();
        let mut until = Instant::now() + self.info.limits.scan_idle;
        loop {
            let chunk = select! {
                biased;
                () = self.closing.cancelled() => return Err(closed()),
                () = sleep_until(until) => {
                    return Err(Error::new(ErrorKind::Exhausted, "stream rests"));
                }
                chunk = chunks.next() => chunk,
            };
            let Some(chunk) = chunk.transpose()? else { return Ok(records) };
            if !chunk.is_empty() {
                until = Instant::now() + self.info.limits.scan_idle;
            }
            for Entry { key, record, .. } in chunk {
                let record = record.ok_or_else(invalid)?;
                let ascends = records.last().is_none_or(|(last, _)| *last < key);
                if !ascends || record.version > view || record.value.len() > self.info.limits.max_value_bytes
                {
                    return Err(invalid());
                }
                records.push((key, record));
            }
        }
    }

    fn check(&self, batch: &Batch, options: &WriteOptions) -> Result<()> {
        if options.durability.is_some_and(|level| level > self.info.best_durability) {
            return Err(Error::new(ErrorKind::Unsupported, "durability is above the best"));
        }
        let limits = &self.info.limits;
        let beyond = batch.ops().iter().any(|(_, op)| match op {
            Op::Put { value, ttl } => {
                value.len() > limits.max_value_bytes || ttl.is_some_and(|ttl| ttl.is_zero() || ttl > MAX_TTL)
            }
            _ => false,
        });
        if beyond || batch.len() > limits.max_batch_len || batch.size_bytes() > limits.max_batch_bytes {
            return Err(Error::new(ErrorKind::InvalidArgument, "batch is beyond the limits"));
        }
        Ok(())
    }
}

/// A restore under way; however it ends, the engine can be used again.
struct Restoring<'a, D: Disk>(&'a Inner<D>);

impl<D: Disk> Drop for Restoring<'_, D> {
    fn drop(&mut self) {
        if let Some(state) = self.0.state.lock().as_mut() {
            state.restoring = false;
        }
    }
}

/// The wall clock in microseconds.
fn wall(clock: SystemClock) -> Version {
    let micros = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(micros).ok().and_then(Version::new).unwrap_or(Version::MIN)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "engine is closed")
}

#[async_trait]
impl<D: Disk> Engine for Sound<D> {
    fn info(&self) -> &EngineInfo {
        &self.inner.info
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.inner.with_state(|state| state.records.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        if keys.len() > self.inner.info.limits.max_get_many_keys {
            return Err(Error::new(ErrorKind::InvalidArgument, "too many keys"));
        }
        self.inner.with_state(|state| {
            let data = keys.iter().map(|key| state.records.get(key).cloned()).collect();
            View { version: state.version, data }
        })
    }

    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        let (version, records) =
            self.inner.with_state(|state| (state.version, Arc::clone(&state.records)))?;
        Ok(View { version, data: self.inner.scans.open(&scan, records, &self.inner.info.limits)? })
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        self.inner.check(&batch, &options)?;
        match self.inner.with_state(|state| state.arrive(batch, &options))?? {
            Arrived::Answered(outcome) => Ok(outcome),
            // Whoever still waits at the end was not judged any more.
            Arrived::Waits(reply) => reply.await.unwrap_or_else(|_| Err(closed())),
        }
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        watches::open(&self.inner, watch)
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        self.inner.with_state(|state| state.open_session(&options))?
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        self.inner.with_state(|state| state.resume_session(id))
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        self.inner.with_state(|state| state.end_session(id.get()))
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        self.inner.with_state(|state| state.settle(stamp))?
    }

    async fn time(&self) -> Result<SystemTime> {
        self.inner.with_state(|state| UNIX_EPOCH + Duration::from_millis(state.time.millis()))
    }

    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        let is_empty = self.inner.with_state(|state| {
            state.restoring = state.records.is_empty();
            state.restoring
        });
        if !is_empty? {
            return Err(Error::new(ErrorKind::InvalidArgument, "engine is not empty"));
        }
        let _restoring = Restoring(&self.inner);
        let restored = self.inner.collect(view.version, view.data).await?;
        let mut state = self.inner.state.lock();
        let state = state.as_mut().ok_or_else(closed)?;
        let wall = wall(SystemClock::new());
        state.line = state.disk.line_after_restore(state.line, view.version, wall);
        state.version = state.line;
        let best = Some(self.inner.info.best_durability);
        let durability = state.note(Vec::new(), restored.clone(), Vec::new(), best);
        for (key, record) in &restored {
            if let Some(end) = record.expires_at {
                state.due.insert((millis(end), key.clone()), record.version);
            }
            state.waiters.touch(key);
        }
        Arc::make_mut(&mut state.records).extend(restored);
        state.history.cut(state.version);
        let commit = Commit { version: state.version, durability };
        state.wake();
        self.inner.changed.send_replace(());
        Ok(commit)
    }

    async fn close(&self) -> Result<()> {
        self.inner.closing.cancel();
        let state = self.inner.state.lock().take();
        self.inner.changed.send_replace(());
        if let Some(State { mut log, mut disk, floor, claim, .. }) = state {
            self.inner.scans.close();
            // What a power cut may still take away must not be noted.
            if let (Some(floor), Ok(())) = (floor, log.sync_data()) {
                floor.set(log.metadata().expect("the log is there").len());
            }
            disk.close(&mut log, claim);
        }
        Ok(())
    }
}
