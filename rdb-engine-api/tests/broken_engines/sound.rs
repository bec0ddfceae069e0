use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, ChangeStream, Commit, Condition, Conflict, DataDirectory, Direction, Durability, Engine,
    EngineInfo, Entry, EntryStream, Error, ErrorKind, Key, Op, Outcome, Projection, Record, Result, Scan,
    Session, SessionOptions, Version, View, Watch, WriteOptions,
};

/// The smallest engine that keeps the contract: a sorted map under a lock, and a log to read it back from.
/// It is here to be broken; nothing in it is clever, and a scan makes the next write copy the map.
#[derive(Debug)]
pub(crate) struct Sound {
    info: EngineInfo,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) records: Arc<BTreeMap<Key, Record>>,
    pub(crate) version: Version,
    log: File,
    _directory: DataDirectory,
}

impl Sound {
    /// Opens the engine; `recover` may tamper with what was read back.
    pub(crate) fn open(directory: &Path, recover: impl Fn(&mut State)) -> Result<Self> {
        let directory = DataDirectory::open(directory, "sound", 1)?;
        let mut log = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(directory.path().join("log"))
            .expect("the log opens");
        let mut text = Vec::new();
        log.read_to_end(&mut text).expect("the log can be read");
        let mut state = State { records: Arc::default(), version: Version::MIN, log, _directory: directory };
        let mut rest = &text[..];
        while !rest.is_empty() {
            let version = Version::new(take_number(&mut rest)).expect("the log holds versions");
            for _ in 0..take_number(&mut rest) {
                let key = Key::new(take_bytes(&mut rest)).expect("the log holds keys");
                let value = (take_number(&mut rest) == 1).then(|| take_bytes(&mut rest));
                apply(Arc::make_mut(&mut state.records), key, value, version);
            }
            state.version = version;
        }
        recover(&mut state);
        Ok(Self { info: EngineInfo::new("sound", 1, Durability::Process), state: Mutex::new(Some(state)) })
    }

    fn with_state<T>(&self, read: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut state = self.state.lock();
        state.as_mut().map(read).ok_or_else(|| Error::new(ErrorKind::Closed, "engine is closed"))
    }
}

fn apply(records: &mut BTreeMap<Key, Record>, key: Key, value: Option<Bytes>, version: Version) {
    match value {
        Some(value) => drop(records.insert(key, Record::new(value, version))),
        None => drop(records.remove(&key)),
    }
}

fn take_number(log: &mut &[u8]) -> u64 {
    let (number, rest) = log.split_first_chunk().expect("the log is whole");
    *log = rest;
    u64::from_be_bytes(*number)
}

fn take_bytes(log: &mut &[u8]) -> Bytes {
    let length = take_number(log) as usize;
    let (bytes, rest) = log.split_at(length);
    *log = rest;
    Bytes::copy_from_slice(bytes)
}

fn put_bytes(frame: &mut Vec<u8>, bytes: &[u8]) {
    frame.extend((bytes.len() as u64).to_be_bytes());
    frame.extend(bytes);
}

impl State {
    fn judge(&self, batch: &Batch) -> Option<Conflict> {
        batch.conditions().iter().enumerate().find_map(|(index, (key, condition))| {
            let current = self.records.get(key);
            let holds = match condition {
                Condition::Absent => current.is_none(),
                Condition::Present => current.is_some(),
                Condition::Version(version) => current.is_some_and(|record| record.version == *version),
                Condition::Value(value) => current.is_some_and(|record| record.value == value),
            };
            (!holds).then(|| Conflict {
                index,
                key: key.clone(),
                version: self.version,
                current: current.cloned(),
            })
        })
    }

    fn write(&mut self, batch: &Batch) -> Outcome {
        if let Some(conflict) = self.judge(batch) {
            return Outcome::Conflict(conflict);
        }
        let mut last: BTreeMap<Key, Option<Bytes>> = BTreeMap::new();
        for (key, op) in batch.ops() {
            let value = if let Op::Put { value, .. } = op { Some(value.clone()) } else { None };
            match last.entry(key.clone()) {
                Slot::Vacant(slot) => drop(slot.insert(value)),
                Slot::Occupied(mut slot) => drop(slot.insert(value)),
            }
        }
        last.retain(|key, value| value.is_some() || self.records.contains_key(key));
        if last.is_empty() {
            return Outcome::Unchanged(Commit { version: self.version, durability: Durability::Process });
        }
        self.version = Version::new(self.version.get() + 1).expect("greater than one");
        let mut frame = Vec::new();
        frame.extend(self.version.get().to_be_bytes());
        frame.extend((last.len() as u64).to_be_bytes());
        for (key, value) in last {
            put_bytes(&mut frame, key.as_bytes());
            frame.extend(u64::from(value.is_some()).to_be_bytes());
            if let Some(value) = &value {
                put_bytes(&mut frame, value);
            }
            apply(Arc::make_mut(&mut self.records), key, value, self.version);
        }
        self.log.write_all(&frame).expect("the log can be written");
        Outcome::Committed(Commit { version: self.version, durability: Durability::Process })
    }
}

fn unsupported<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "engine does not do that").with("what", what))
}

#[async_trait]
impl Engine for Sound {
    fn info(&self) -> &EngineInfo {
        &self.info
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
        let in_range = records.iter().filter(|(key, _)| scan.range.contains(key.as_bytes()));
        let keys_only = scan.projection == Projection::Keys;
        let mut entries: Vec<Entry> = in_range
            .map(|(key, record)| Entry::new(key.clone(), (!keys_only).then(|| record.clone())))
            .collect();
        if scan.direction == Direction::Reverse {
            entries.reverse();
        }
        entries.truncate(scan.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
        let chunks: Vec<Result<Vec<Entry>>> = entries.chunks(256).map(|chunk| Ok(chunk.to_vec())).collect();
        Ok(View { version, data: stream::iter(chunks).boxed() })
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        if options.stamp.is_some()
            || options.durability.is_some_and(|level| level > self.info.best_durability)
        {
            return unsupported("write options");
        }
        if batch.ops().iter().any(|(_, op)| matches!(op, Op::Put { ttl: Some(_), .. })) {
            return unsupported("expiry");
        }
        let limits = &self.info.limits;
        let value_len = |op: &Op| if let Op::Put { value, .. } = op { value.len() } else { 0 };
        let too_long = batch.ops().iter().any(|(_, op)| value_len(op) > limits.max_value_bytes);
        if too_long || batch.len() > limits.max_batch_len || batch.size_bytes() > limits.max_batch_bytes {
            return Err(Error::new(ErrorKind::InvalidArgument, "batch is too large"));
        }
        self.with_state(|state| state.write(&batch))
    }

    async fn watch(&self, _: Watch) -> Result<ChangeStream> {
        unsupported("watch")
    }

    async fn open_session(&self, _: SessionOptions) -> Result<Session> {
        unsupported("sessions")
    }

    async fn close(&self) -> Result<()> {
        *self.state.lock() = None;
        Ok(())
    }
}
