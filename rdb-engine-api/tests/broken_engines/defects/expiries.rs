//! Records that live too short or too long, or die in secret (C15).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::StreamExt as _;
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Engine, Entry, EntryStream, Key, Op, Outcome, Record, Result, Scan, Version, View, WriteOptions,
};

use crate::broken::Defect;
use crate::disk::Disk;
use crate::habits::Habits;
use crate::state::Records;

/// Removes what is due within the next moments, so as to be done with it.
#[derive(Debug)]
pub(crate) struct RemovesEarly;

impl Habits for RemovesEarly {
    fn is_due(&self, expires: u64, now: u64) -> bool {
        expires <= now + 20
    }
}

/// Never gets round to removing.
#[derive(Debug)]
pub(crate) struct NeverRemoves;

impl Habits for NeverRemoves {
    fn is_due(&self, _: u64, _: u64) -> bool {
        false
    }
}

/// Removes some time after what is due.
#[derive(Debug)]
pub(crate) struct RemovesLate;

impl Habits for RemovesLate {
    fn is_due(&self, expires: u64, now: u64) -> bool {
        expires + 200 <= now
    }
}

/// Has other things to do at first when it is opened.
#[derive(Debug, Default)]
pub(crate) struct RemovesAfterTheFirstAnswer {
    opened: Mutex<Option<u64>>,
}

impl Habits for RemovesAfterTheFirstAnswer {
    fn is_due(&self, expires: u64, now: u64) -> bool {
        let opened = *self.opened.lock().get_or_insert(now);
        expires <= now && now > opened + 500
    }
}

/// Finds what is due by its key alone: what was there when it was put may be another record by now.
#[derive(Debug)]
pub(crate) struct OldEntriesAreBelieved;

impl Habits for OldEntriesAreBelieved {
    fn is_its_own(&self, _: Version, _: &Record) -> bool {
        true
    }
}

/// Tells watches nothing of removals.
#[derive(Debug)]
pub(crate) struct RemovesInSecret;

impl Habits for RemovesInSecret {
    fn tells_removals(&self) -> bool {
        false
    }
}

/// Forgets with the process when records expire.
#[derive(Debug)]
pub(crate) struct LivesAreForgotten;

impl Disk for LivesAreForgotten {
    fn replay(&self, records: &mut Records, key: Key, record: Option<Record>) {
        match record {
            Some(record) => drop(records.insert(key, Record::new(record.value, record.version))),
            None => drop(records.remove(&key)),
        }
    }
}

/// The batch with another time to live for each put.
fn relived(batch: &Batch, mut life: impl FnMut(Option<Duration>) -> Option<Duration>) -> Batch {
    let conditions = batch.conditions().iter().cloned();
    let mut relived = conditions.fold(Batch::new(), |batch, (key, condition)| batch.when(key, condition));
    for (key, op) in batch.ops() {
        let op = match op {
            Op::Put { value, ttl } => Op::Put { value: value.clone(), ttl: life(*ttl) },
            op => op.clone(),
        };
        relived = relived.op(key.clone(), op);
    }
    relived
}

/// Keeps what is left of the old record's life where a put replaces it: of every put, or of those without a life
/// of their own.
#[derive(Debug)]
pub(crate) struct KeepsTheOldLife {
    pub(crate) always: bool,
}

#[async_trait]
impl Defect for KeepsTheOldLife {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let now = sound.time().await?;
        let mut lives = Vec::new();
        for (key, _) in batch.ops() {
            let end = sound.get(key).await?.and_then(|record| record.expires_at);
            lives.push(end.and_then(|end| end.duration_since(now).ok()).filter(|left| !left.is_zero()));
        }
        // A life for each operation; those of puts alone count.
        let puts = lives.into_iter().zip(batch.ops()).filter(|(_, (_, op))| matches!(op, Op::Put { .. }));
        let mut lives = puts.map(|(left, _)| left).collect::<Vec<_>>().into_iter();
        let batch = relived(&batch, |ttl| {
            let left = lives.next().flatten();
            if self.always || ttl.is_none() { left.or(ttl) } else { ttl }
        });
        sound.write(batch, options).await
    }
}

/// Gives every put of a batch the life of the first one.
#[derive(Debug)]
pub(crate) struct OneLifeForAll;

#[async_trait]
impl Defect for OneLifeForAll {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let first =
            batch.ops().iter().find_map(|(_, op)| if let Op::Put { ttl, .. } = op { *ttl } else { None });
        let batch = relived(&batch, |_| first);
        sound.write(batch, options).await
    }
}

/// Takes a life of nothing for one without an end.
#[derive(Debug)]
pub(crate) struct NothingIsForEver;

#[async_trait]
impl Defect for NothingIsForEver {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let batch = relived(&batch, |ttl| ttl.filter(|ttl| !ttl.is_zero()));
        sound.write(batch, options).await
    }
}

/// Looks at the clock when it reads: what is over is hidden, whether or not it was removed.
#[derive(Debug)]
pub(crate) struct HidesWhatIsOver;

#[async_trait]
impl Defect for HidesWhatIsOver {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        let now = sound.time().await?;
        Ok(sound.get(key).await?.filter(|record| record.expires_at.is_none_or(|end| end > now)))
    }

    async fn get_many(&self, sound: &Arc<dyn Engine>, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        let now = sound.time().await?;
        let mut view = sound.get_many(keys).await?;
        for record in &mut view.data {
            record.take_if(|record| record.expires_at.is_some_and(|end| end <= now));
        }
        Ok(view)
    }
}

/// Leaves out of a scan when its records expire.
#[derive(Debug)]
pub(crate) struct ScansShowNoLives;

#[async_trait]
impl Defect for ScansShowNoLives {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let View { version, data } = sound.scan(scan).await?;
        let bare = |mut entry: Entry| {
            if let Some(record) = &mut entry.record {
                record.expires_at = None;
            }
            entry
        };
        let data = data.map(move |chunk| chunk.map(|entries| entries.into_iter().map(bare).collect()));
        Ok(View { version, data: data.boxed() })
    }
}

/// Asks a clock that is put right now and then.
#[derive(Debug, Default)]
pub(crate) struct ClockIsPutBack {
    asked: Mutex<u64>,
}

#[async_trait]
impl Defect for ClockIsPutBack {
    async fn time(&self, sound: &Arc<dyn Engine>) -> Result<SystemTime> {
        let now = sound.time().await?;
        let mut asked = self.asked.lock();
        *asked += 1;
        Ok(now - Duration::from_millis(if asked.is_multiple_of(10) { 5_000 } else { 0 }))
    }
}
