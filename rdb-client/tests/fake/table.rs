//! What a node with sessions keeps (C17), in its shortest form: a store, its life, and who wrote what.

use std::collections::{BTreeMap, HashMap, HashSet};

use rdb_client::{
    Batch, Commit, Condition, Conflict, Durability, Error, ErrorKind, Key, Op, Outcome, Record, Session,
    Stamp, Version, WriteOptions,
};

#[derive(Debug)]
pub(crate) struct Table {
    window: u64,
    idle_ms: u64,
    life: u64,
    ids: u64,
    version: u64,
    sessions: HashMap<u64, Ledger>,
    records: HashMap<Key, Record>,
    /// Every write that was applied, of a session or not.
    applied: Vec<Option<(u64, u64)>>,
}

#[derive(Debug, Default)]
struct Ledger {
    acknowledged: u64,
    /// None: never executed, and never to be.
    fates: BTreeMap<u64, Option<Outcome>>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            window: 100,
            idle_ms: 600_000,
            life: 1,
            ids: 0,
            version: 1,
            sessions: HashMap::new(),
            records: HashMap::new(),
            applied: Vec::new(),
        }
    }
}

fn error(kind: ErrorKind, message: &str) -> Error {
    Error::new(kind, message)
}

impl Table {
    pub(crate) fn with_window(window: u64) -> Self {
        Self { window, ..Self::default() }
    }

    pub(crate) fn with_idle_ms(idle_ms: u64) -> Self {
        Self { idle_ms, ..Self::default() }
    }

    pub(crate) fn open(&mut self) -> Session {
        self.ids += 1;
        self.sessions.insert(self.ids, Ledger::default());
        self.resume(self.ids).unwrap()
    }

    pub(crate) fn resume(&self, id: u64) -> Option<Session> {
        self.sessions.get(&id)?;
        let session =
            rdb_proto::kv::v1::Session { id, life: self.life, window: self.window, idle_ms: self.idle_ms };
        Some(session.try_into().unwrap())
    }

    pub(crate) fn end(&mut self, id: u64) {
        self.sessions.remove(&id);
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn acknowledged(&self, id: u64) -> u64 {
        self.sessions[&id].acknowledged
    }

    /// How many writes were applied; panics where one was applied twice.
    pub(crate) fn applied(&self) -> usize {
        let mut seen = HashSet::new();
        assert!(self.applied.iter().flatten().all(|stamp| seen.insert(*stamp)), "twice: {:?}", self.applied);
        self.applied.len()
    }

    pub(crate) fn record(&self, key: &Key) -> Option<Record> {
        self.records.get(key).cloned()
    }

    /// Begins another life; a durable node keeps its sessions and the commits of each, and forgets conflicts.
    pub(crate) fn restart(&mut self, is_durable: bool) {
        self.life += 1;
        if !is_durable {
            self.sessions.clear();
        }
        for ledger in self.sessions.values_mut() {
            ledger.fates.retain(|_, fate| matches!(fate, Some(Outcome::Committed(_))));
        }
    }

    fn admit(&mut self, stamp: Stamp) -> Result<&mut Ledger, Error> {
        if stamp.life.get() != self.life {
            return Err(error(ErrorKind::Stale, "another life"));
        }
        let ledger = self.sessions.get_mut(&stamp.session.get());
        let ledger = ledger.ok_or_else(|| error(ErrorKind::Unknown, "no such session"))?;
        ledger.acknowledged = ledger.acknowledged.max(stamp.acknowledged);
        let from = ledger.acknowledged;
        ledger.fates.retain(|number, _| *number > from);
        match (from + 1..=from + self.window).contains(&stamp.sequence.get()) {
            true => Ok(ledger),
            false => Err(error(ErrorKind::Unknown, "outside the window")),
        }
    }

    pub(crate) fn settle(&mut self, stamp: Stamp) -> Result<Option<Outcome>, Error> {
        Ok(self.admit(stamp)?.fates.entry(stamp.sequence.get()).or_insert(None).clone())
    }

    pub(crate) fn write(&mut self, batch: Batch, options: &WriteOptions) -> Result<Outcome, Error> {
        let Some(stamp) = options.stamp else { return Ok(self.judge(batch, None)) };
        let (session, number) = (stamp.session.get(), stamp.sequence.get());
        if let Some(fate) = self.admit(stamp)?.fates.get(&number) {
            return fate.clone().ok_or_else(|| error(ErrorKind::Unavailable, "never to be executed"));
        }
        let outcome = self.judge(batch, Some((session, number)));
        let ledger = self.sessions.get_mut(&session).unwrap();
        ledger.fates.insert(number, Some(outcome.clone()));
        Ok(outcome)
    }

    fn judge(&mut self, batch: Batch, stamp: Option<(u64, u64)>) -> Outcome {
        let view = Version::new(self.version).unwrap();
        for (index, (key, condition)) in batch.conditions().iter().enumerate() {
            let current = self.records.get(key);
            let holds = match condition {
                Condition::Absent => current.is_none(),
                Condition::Present => current.is_some(),
                Condition::Version(version) => current.is_some_and(|record| record.version == *version),
                Condition::Value(value) => current.is_some_and(|record| record.value == value),
            };
            if !holds {
                return Outcome::Conflict(Conflict::new(index, key.clone(), view, current.cloned()));
            }
        }
        self.applied.push(stamp);
        self.version += 1;
        let version = Version::new(self.version).unwrap();
        for (key, op) in batch.into_ops() {
            match op {
                Op::Put { value, .. } => self.records.insert(key, Record::new(value, version)),
                _ => self.records.remove(&key),
            };
        }
        Outcome::Committed(Commit { version, durability: Durability::Synced })
    }
}
