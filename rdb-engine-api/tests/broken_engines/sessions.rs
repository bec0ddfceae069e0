use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::{
    Batch, Condition, Error, ErrorKind, Limits, Op, Outcome, Result, Session, SessionOptions, Stamp,
};

/// The sessions that are open, and what became of their writes (C17).
#[derive(Debug)]
pub(crate) struct Sessions {
    life: NonZeroU64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    idle: Duration,
    used: Duration,
    acknowledged: u64,
    fates: BTreeMap<u64, Fate>,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It waits for its conditions to hold, under this number.
    Waiting(u64, Bytes),
    Done(Outcome, Bytes),
    /// Somebody was told that it is not executed.
    Never,
}

impl Sessions {
    pub(crate) fn new(life: NonZeroU64) -> Self {
        Self { life, open: BTreeMap::new() }
    }

    /// Checks that there is room for one more, and how long it may be idle.
    pub(crate) fn room(&self, options: &SessionOptions, limits: &Limits) -> Result<Duration> {
        let idle = options.idle.unwrap_or(limits.session_idle);
        if idle.is_zero() || idle > limits.session_idle {
            return Err(Error::new(ErrorKind::InvalidArgument, "idle time is beyond the limits"));
        }
        if self.open.len() >= limits.max_sessions {
            return Err(Error::new(ErrorKind::Exhausted, "too many sessions are open"));
        }
        Ok(idle)
    }

    pub(crate) fn insert(&mut self, id: u64, idle: Duration, now: Duration) {
        self.open.insert(id, Open { idle, used: now, acknowledged: 0, fates: BTreeMap::new() });
    }

    pub(crate) fn resume(&mut self, id: NonZeroU64, now: Duration, limits: &Limits) -> Option<Session> {
        let open = self.open.get_mut(&id.get())?;
        open.used = now;
        let window = NonZeroU64::new(limits.session_window as u64)?;
        Some(Session::new(id, self.life, window, open.idle))
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        self.open.remove(&id).is_some()
    }

    /// The sessions whose idle time is over.
    pub(crate) fn idle(&self, now: Duration) -> Vec<u64> {
        let over = self.open.iter().filter(|(_, open)| now.saturating_sub(open.used) >= open.idle);
        over.map(|(id, _)| *id).collect()
    }

    /// What is known of a write that arrives.
    pub(crate) fn arrive(&mut self, stamp: Stamp, now: Duration, window: usize) -> Result<Option<Fate>> {
        if stamp.life != self.life {
            return Err(Error::new(ErrorKind::Stale, "write was meant for another life"));
        }
        let unknown = || Error::new(ErrorKind::Unknown, "outcome is not known");
        let open = self.open.get_mut(&stamp.session.get()).ok_or_else(unknown)?;
        open.used = now;
        open.acknowledge(stamp.acknowledged);
        let above = stamp.sequence.get().checked_sub(open.acknowledged).ok_or_else(unknown)?;
        if above == 0 || above > window as u64 {
            return Err(unknown());
        }
        Ok(open.fates.get(&stamp.sequence.get()).cloned())
    }

    pub(crate) fn remember(&mut self, session: u64, sequence: u64, fate: Fate) {
        if let Some(open) = self.open.get_mut(&session)
            && sequence > open.acknowledged
        {
            open.fates.insert(sequence, fate);
        }
    }

    pub(crate) fn fate(&self, session: u64, sequence: u64) -> Option<&Fate> {
        self.open.get(&session)?.fates.get(&sequence)
    }

    /// Takes from the log how far the outcomes of a session are of no more interest.
    pub(crate) fn acknowledge(&mut self, session: u64, acknowledged: u64) {
        if let Some(open) = self.open.get_mut(&session) {
            open.acknowledge(acknowledged);
        }
    }
}

impl Open {
    fn acknowledge(&mut self, acknowledged: u64) {
        self.acknowledged = self.acknowledged.max(acknowledged);
        self.fates.retain(|sequence, _| *sequence > self.acknowledged);
    }
}

/// Everything that makes a batch the same one.
pub(crate) fn identity(batch: &Batch) -> Bytes {
    let mut bytes = Vec::new();
    let mut put = |kind: u8, part: &[u8]| {
        bytes.push(kind);
        bytes.extend((part.len() as u32).to_be_bytes());
        bytes.extend(part);
    };
    for (key, condition) in batch.conditions() {
        put(0, key.as_bytes());
        match condition {
            Condition::Absent => put(1, &[]),
            Condition::Present => put(2, &[]),
            Condition::Version(version) => put(3, &version.get().to_be_bytes()),
            Condition::Value(value) => put(4, value),
        }
    }
    for (key, op) in batch.ops() {
        put(5, key.as_bytes());
        if let Op::Put { value, ttl } = op {
            put(6, value);
            put(7, &ttl.unwrap_or_default().as_nanos().to_be_bytes());
        }
    }
    bytes.into()
}
