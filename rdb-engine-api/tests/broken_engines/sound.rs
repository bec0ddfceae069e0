use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Clock as _, Commit, Condition, Conflict, DataDirectory, Durability, Engine, EngineInfo, Entry,
    EntryStream, Error, ErrorKind, Floor, Key, Limits, Metric, Op, Outcome, Record, Result, Scan, Session,
    SessionOptions, Stamp, SystemClock, Version, View, Watch, WatchStream, WriteOptions,
};
use tokio::select;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::log::{self, Changes};
use super::scans::Scans;

pub(crate) type Records = BTreeMap<Key, Record>;

/// The smallest engine that keeps the contract: a sorted map under a lock, and a log to read it back from.
/// It is here to be broken, in its calls by a [`Defect`](super::broken::Defect) and in its files by a
/// [`Disk`]; nothing in it is clever, and the first write behind a scan copies the map.
#[derive(Debug)]
pub(crate) struct Sound<D> {
    info: EngineInfo,
    scans: Scans,
    closing: CancellationToken,
    state: Mutex<Option<State<D>>>,
}

#[derive(Debug)]
struct State<D> {
    records: Arc<Records>,
    version: Version,
    restoring: bool,
    log: File,
    disk: D,
    /// How long the log was at an orderly close: what a crash may cut off, and damage may not, lies behind
    /// that (C13).
    floor: Option<Floor>,
    claim: Option<DataDirectory>,
}

impl<D: Disk> Sound<D> {
    pub(crate) fn open(directory: &Path, limits: Limits, disk: D) -> Result<Self> {
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
        let (commits, whole) = log::read(&bytes, &disk)?;
        let floor = claim.as_ref().map(|claim| disk.floor(claim, whole as u64)).transpose()?.flatten();
        file.set_len(whole as u64).expect("the log can be cut");
        let mut records = Records::new();
        let mut logged = Version::MIN;
        for Changes { version, ops, restored } in commits {
            for (key, value) in ops {
                disk.replay(&mut records, key, value, version);
            }
            records.extend(restored);
            logged = logged.max(version);
        }
        let version = disk.counter(&records, logged, wall(clock));
        let mut info = EngineInfo::new("sound", 1, disk.best());
        let (records, restoring) = (Arc::new(records), false);
        let state = State { records, version, restoring, log: file, disk, floor, claim };
        info.limits = limits;
        info.capabilities.restore = true;
        let (scans, closing) = (Scans::new(clock), CancellationToken::new());
        Ok(Self { info, scans, closing, state: Mutex::new(Some(state)) })
    }

    fn with_state<T>(&self, read: impl FnOnce(&mut State<D>) -> T) -> Result<T> {
        match self.state.lock().as_mut() {
            Some(state) if state.restoring => Err(Error::new(ErrorKind::Unavailable, "engine is restored")),
            Some(state) => Ok(read(state)),
            None => Err(closed()),
        }
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
        if options.stamp.is_some() {
            return unsupported("stamp");
        }
        if options.durability.is_some_and(|level| level > self.info.best_durability) {
            return unsupported("durability");
        }
        let limits = &self.info.limits;
        let mut too_long = false;
        for (_, op) in batch.ops() {
            if let Op::Put { value, ttl } = op {
                if ttl.is_some() {
                    return unsupported("ttl");
                }
                too_long |= value.len() > limits.max_value_bytes;
            }
        }
        if too_long || batch.len() > limits.max_batch_len || batch.size_bytes() > limits.max_batch_bytes {
            return Err(Error::new(ErrorKind::InvalidArgument, "batch is beyond the limits"));
        }
        Ok(())
    }
}

/// Whether a condition holds of what is there (C6).
pub(crate) fn holds(condition: &Condition, current: Option<&Record>) -> bool {
    match condition {
        Condition::Absent => current.is_none(),
        Condition::Present => current.is_some(),
        Condition::Version(version) => current.is_some_and(|record| record.version == *version),
        Condition::Value(value) => current.is_some_and(|record| record.value == value),
    }
}

impl<D: Disk> State<D> {
    fn judge(&self, batch: &Batch) -> Option<Conflict> {
        batch.conditions().iter().enumerate().find_map(|(index, (key, condition))| {
            let current = self.records.get(key);
            (!holds(condition, current))
                .then(|| Conflict::new(index, key.clone(), self.version, current.cloned()))
        })
    }

    fn write(&mut self, batch: &Batch, asked: Option<Durability>) -> Outcome {
        if let Some(conflict) = self.judge(batch) {
            return Outcome::Conflict(conflict);
        }
        let mut last: BTreeMap<Key, Option<Bytes>> = BTreeMap::new();
        for (key, op) in batch.ops() {
            let value = if let Op::Put { value, .. } = op { Some(value.clone()) } else { None };
            last.insert(key.clone(), value);
        }
        last.retain(|key, value| value.is_some() || self.records.contains_key(key));
        if last.is_empty() {
            let durability = self.disk.vouch(&mut self.log, asked);
            return Outcome::Unchanged(Commit { version: self.version, durability });
        }
        self.version = Version::new(self.version.get() + 1).expect("greater than one");
        let ops = last.into_iter().collect();
        let changes = Changes { version: self.version, ops, restored: Vec::new() };
        let durability = self.disk.append(&mut self.log, &changes, asked);
        let records = Arc::make_mut(&mut self.records);
        for (key, value) in changes.ops {
            match value {
                Some(value) => drop(records.insert(key, Record::new(value, changes.version))),
                None => drop(records.remove(&key)),
            }
        }
        Outcome::Committed(Commit { version: changes.version, durability })
    }
}

/// A restore under way; however it ends, the engine can be used again.
struct Restoring<'a, D: Disk>(&'a Sound<D>);

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

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "engine is closed")
}

fn unsupported<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "engine does not do that").with("what", what))
}

#[async_trait]
impl<D: Disk> Engine for Sound<D> {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.with_state(|state| state.records.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        if keys.len() > self.info.limits.max_get_many_keys {
            return Err(Error::new(ErrorKind::InvalidArgument, "too many keys"));
        }
        self.with_state(|state| {
            let data = keys.iter().map(|key| state.records.get(key).cloned()).collect();
            View { version: state.version, data }
        })
    }

    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        let (version, records) = self.with_state(|state| (state.version, Arc::clone(&state.records)))?;
        Ok(View { version, data: self.scans.open(&scan, records, &self.info.limits)? })
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        self.check(&batch, &options)?;
        self.with_state(|state| state.write(&batch, options.durability))
    }

    async fn watch(&self, _: Watch) -> Result<View<WatchStream>> {
        unsupported("watch")
    }

    async fn open_session(&self, _: SessionOptions) -> Result<Session> {
        unsupported("sessions")
    }

    async fn resume_session(&self, _: NonZeroU64) -> Result<Option<Session>> {
        unsupported("sessions")
    }

    async fn end_session(&self, _: NonZeroU64) -> Result<()> {
        unsupported("sessions")
    }

    async fn settle(&self, _: Stamp) -> Result<Option<Outcome>> {
        unsupported("sessions")
    }

    async fn time(&self) -> Result<SystemTime> {
        unsupported("expiry")
    }

    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        let is_empty = self.with_state(|state| {
            state.restoring = state.records.is_empty();
            state.restoring
        });
        if !is_empty? {
            return Err(Error::new(ErrorKind::InvalidArgument, "engine is not empty"));
        }
        let _restoring = Restoring(self);
        let restored = self.collect(view.version, view.data).await?;
        let mut state = self.state.lock();
        let state = state.as_mut().ok_or_else(closed)?;
        let wall = wall(SystemClock::new());
        state.version = state.disk.line_after_restore(state.version, view.version, wall);
        let changes = Changes { version: state.version, ops: Vec::new(), restored };
        let best = Some(self.info.best_durability);
        let durability = state.disk.append(&mut state.log, &changes, best);
        Arc::make_mut(&mut state.records).extend(changes.restored);
        Ok(Commit { version: state.version, durability })
    }

    async fn close(&self) -> Result<()> {
        self.closing.cancel();
        if let Some(State { mut log, mut disk, floor, claim, .. }) = self.state.lock().take() {
            self.scans.close();
            // What a power cut may still take away must not be noted.
            if let (Some(floor), Ok(())) = (floor, log.sync_data()) {
                floor.set(log.metadata().expect("the log is there").len());
            }
            disk.close(&mut log, claim);
        }
        Ok(())
    }
}
