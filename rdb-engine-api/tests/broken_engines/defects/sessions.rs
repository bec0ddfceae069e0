//! Writes of sessions that are executed more than once, or answered with something else than what became of them
//! (C17).

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, DataDirectory, Durability, Engine, ErrorKind, Outcome, Result, Session, SessionOptions, Stamp,
    WriteOptions,
};

use crate::broken::Defect;
use crate::disk::{Disk, hand_over};
use crate::log::{Changes, Note, frame};

/// A write's place: its session and its number.
type Place = (NonZeroU64, NonZeroU64);

fn place(stamp: &Stamp) -> Place {
    (stamp.session, stamp.sequence)
}

/// The same write outside of any session.
fn unstamped(options: &WriteOptions) -> WriteOptions {
    let mut options = options.clone();
    options.stamp = None;
    options
}

/// Remembers what was committed, and judges anything else again when it arrives again: conflicts, or batches
/// that changed nothing.
#[derive(Debug)]
pub(crate) struct JudgesAgain {
    conflicts: bool,
    again: Mutex<HashSet<Place>>,
}

impl JudgesAgain {
    pub(crate) fn conflicts() -> Self {
        Self { conflicts: true, again: Mutex::default() }
    }

    pub(crate) fn unchanged() -> Self {
        Self { conflicts: false, again: Mutex::default() }
    }
}

#[async_trait]
impl Defect for JudgesAgain {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let Some(stamp) = options.stamp else { return sound.write(batch, options).await };
        if self.again.lock().contains(&place(&stamp)) {
            return sound.write(batch, unstamped(&options)).await;
        }
        let outcome = sound.write(batch, options).await?;
        let forgets = match outcome {
            Outcome::Committed(_) => false,
            Outcome::Unchanged(_) => !self.conflicts,
            Outcome::Conflict(_) => self.conflicts,
        };
        if forgets {
            self.again.lock().insert(place(&stamp));
        }
        Ok(outcome)
    }
}

/// Tells a conflict again with the record that is there now.
#[derive(Debug)]
pub(crate) struct ConflictToldWithALaterRecord;

#[async_trait]
impl Defect for ConflictToldWithALaterRecord {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut outcome = sound.write(batch, options).await?;
        if let Outcome::Conflict(conflict) = &mut outcome
            && conflict.replaced.take().is_some()
        {
            conflict.current = sound.get(&conflict.key).await?;
        }
        Ok(outcome)
    }
}

/// Looks whether a write was executed, and then executes it: meanwhile it arrives again.
#[derive(Debug, Default)]
pub(crate) struct LooksThenExecutes {
    outcomes: Mutex<HashMap<Place, Outcome>>,
}

#[async_trait]
impl Defect for LooksThenExecutes {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let Some(stamp) = options.stamp else { return sound.write(batch, options).await };
        let known = self.outcomes.lock().get(&place(&stamp)).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let outcome = sound.write(batch, unstamped(&options)).await?;
        self.outcomes.lock().insert(place(&stamp), outcome.clone());
        Ok(outcome)
    }
}

/// Remembers the last few outcomes of all.
#[derive(Debug, Default)]
pub(crate) struct RemembersAFew {
    last: Mutex<VecDeque<Place>>,
    forgotten: Mutex<HashSet<Place>>,
}

#[async_trait]
impl Defect for RemembersAFew {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let Some(stamp) = options.stamp else { return sound.write(batch, options).await };
        if self.forgotten.lock().contains(&place(&stamp)) {
            return sound.write(batch, unstamped(&options)).await;
        }
        let outcome = sound.write(batch, options).await?;
        let mut last = self.last.lock();
        last.push_back(place(&stamp));
        if last.len() > 8 {
            self.forgotten.lock().extend(last.pop_front());
        }
        Ok(outcome)
    }
}

/// Executes a write of which it knows nothing, or nothing that fits, like any other, where an error of this kind
/// is due.
#[derive(Debug)]
pub(crate) struct ExecutesInsteadOf(pub(crate) ErrorKind);

#[async_trait]
impl Defect for ExecutesInsteadOf {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        match sound.write(batch.clone(), options.clone()).await {
            Err(error) if error.kind() == self.0 && options.stamp.is_some() => {
                sound.write(batch, unstamped(&options)).await
            }
            answer => answer,
        }
    }
}

/// Answers another batch under a known number with the outcome of the first one.
#[derive(Debug)]
pub(crate) struct NeverComparesBatches;

#[async_trait]
impl Defect for NeverComparesBatches {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let stamp = options.stamp;
        match sound.write(batch, options).await {
            Err(error) if error.kind() == ErrorKind::InvalidArgument => match stamp {
                Some(stamp) => sound.settle(stamp).await?.ok_or(error),
                None => Err(error),
            },
            answer => answer,
        }
    }
}

/// Takes whatever life an arrival was meant for as the present one.
#[derive(Debug)]
pub(crate) struct AnyLifeWillDo;

#[async_trait]
impl Defect for AnyLifeWillDo {
    async fn write(
        &self,
        sound: &Arc<dyn Engine>,
        batch: Batch,
        mut options: WriteOptions,
    ) -> Result<Outcome> {
        if let Some(stamp) = &mut options.stamp
            && let Some(session) = sound.resume_session(stamp.session).await?
        {
            stamp.life = session.life;
        }
        sound.write(batch, options).await
    }
}

/// Counts its lives in the process: each is the first one.
#[derive(Debug)]
pub(crate) struct OneLife;

impl OneLife {
    fn first(session: Session) -> Session {
        Session::new(session.id, NonZeroU64::MIN, session.window, session.idle)
    }
}

#[async_trait]
impl Defect for OneLife {
    async fn open_session(&self, sound: &Arc<dyn Engine>, options: SessionOptions) -> Result<Session> {
        sound.open_session(options).await.map(Self::first)
    }

    async fn resume_session(&self, sound: &Arc<dyn Engine>, id: NonZeroU64) -> Result<Option<Session>> {
        Ok(sound.resume_session(id).await?.map(Self::first))
    }
}

/// Says of a write that it was not executed, and executes it when it arrives.
#[derive(Debug, Default)]
pub(crate) struct SettlesWithoutAFence {
    executed: Mutex<HashSet<Place>>,
}

#[async_trait]
impl Defect for SettlesWithoutAFence {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        if let Some(stamp) = &options.stamp {
            self.executed.lock().insert(place(stamp));
        }
        sound.write(batch, options).await
    }

    async fn settle(&self, sound: &Arc<dyn Engine>, stamp: Stamp) -> Result<Option<Outcome>> {
        let executed = self.executed.lock().contains(&place(&stamp));
        if executed { sound.settle(stamp).await } else { Ok(None) }
    }
}

/// Says of a write of which nothing is known any more that it was not executed.
#[derive(Debug)]
pub(crate) struct UnknownIsNotExecuted;

#[async_trait]
impl Defect for UnknownIsNotExecuted {
    async fn settle(&self, sound: &Arc<dyn Engine>, stamp: Stamp) -> Result<Option<Outcome>> {
        match sound.settle(stamp).await {
            Err(error) if error.kind() == ErrorKind::Unknown => Ok(None),
            answer => answer,
        }
    }
}

/// Ends the oldest session where there is no room for a new one.
#[derive(Debug, Default)]
pub(crate) struct EndsTheOldestSession {
    open: Mutex<VecDeque<NonZeroU64>>,
}

#[async_trait]
impl Defect for EndsTheOldestSession {
    async fn open_session(&self, sound: &Arc<dyn Engine>, options: SessionOptions) -> Result<Session> {
        let session = match sound.open_session(options.clone()).await {
            Err(error) if error.kind() == ErrorKind::Exhausted => {
                let oldest = self.open.lock().pop_front();
                sound.end_session(oldest.ok_or(error)?).await?;
                sound.open_session(options).await?
            }
            opened => opened?,
        };
        self.open.lock().push_back(session.id);
        Ok(session)
    }
}

/// What the log keeps of sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keeps {
    /// Nothing of what became of their writes.
    NoOutcomes,
    /// Nothing of their ends.
    NoEnds,
}

impl Disk for Keeps {
    fn append(&mut self, log: &mut File, changes: &Changes, _: Option<Durability>) -> Durability {
        let mut kept = changes.clone();
        kept.notes.retain(|note| match self {
            Self::NoOutcomes => !matches!(note, Note::Committed { .. }),
            Self::NoEnds => !matches!(note, Note::Ended { .. }),
        });
        hand_over(log, &frame(&kept));
        Durability::Process
    }
}

/// Writes what became of a session's writes with the next commit, or at the end: not with the commit itself.
#[derive(Debug, Default)]
pub(crate) struct OutcomesComeLater {
    waiting: Option<Changes>,
}

impl Disk for OutcomesComeLater {
    fn append(&mut self, log: &mut File, changes: &Changes, _: Option<Durability>) -> Durability {
        if let Some(waiting) = self.waiting.take() {
            hand_over(log, &frame(&waiting));
        }
        let (mut now, mut later) = (changes.clone(), changes.clone());
        now.notes.retain(|note| !matches!(note, Note::Committed { .. }));
        later.notes.retain(|note| matches!(note, Note::Committed { .. }));
        later.ops.clear();
        later.restored.clear();
        hand_over(log, &frame(&now));
        self.waiting = (!later.notes.is_empty()).then_some(later);
        Durability::Process
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        if let Some(waiting) = self.waiting.take() {
            hand_over(log, &frame(&waiting));
        }
        drop(claim);
    }
}
