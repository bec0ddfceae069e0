//! Commits that are less safe than they were answered (C9), and answers that are guesses (C10). The system's
//! own failures to write are no part of this: no engine behind a function call can be made to fail on demand.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Commit, DataDirectory, Durability, Engine, Error, ErrorKind, Key, Op, Outcome, Record, Result,
    Version, WriteOptions,
};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::broken::Defect;
use crate::disk::{Disk, hand_over};
use crate::log::{Changes, frame};
use crate::state::Records;

/// Writes each commit when the next one comes, or the end.
#[derive(Debug, Default)]
pub(crate) struct AcknowledgedFirst {
    kept: Vec<u8>,
}

impl Disk for AcknowledgedFirst {
    fn append(&mut self, log: &mut File, changes: &Changes, _: Option<Durability>) -> Durability {
        hand_over(log, &std::mem::replace(&mut self.kept, frame(changes)));
        Durability::Process
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        hand_over(log, &self.kept);
        drop(claim);
    }
}

/// The same, but at the end it throws away what is still to be written.
#[derive(Debug, Default)]
pub(crate) struct CloseForgets {
    kept: Vec<u8>,
}

impl Disk for CloseForgets {
    fn append(&mut self, log: &mut File, changes: &Changes, _: Option<Durability>) -> Durability {
        hand_over(log, &std::mem::replace(&mut self.kept, frame(changes)));
        Durability::Process
    }
}

/// Hands each commit to the system, and answers that it is on the disk.
#[derive(Debug)]
pub(crate) struct AcknowledgedBeforeSynced;

impl Disk for AcknowledgedBeforeSynced {
    fn best(&self) -> Durability {
        Durability::Synced
    }

    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        hand_over(log, &frame(changes));
        self.vouch(log, asked)
    }

    fn vouch(&mut self, _: &mut File, _: Option<Durability>) -> Durability {
        Durability::Synced
    }
}

/// Buffers commits in the process until there are 4 KiB of them, and calls that safe.
#[derive(Debug, Default)]
pub(crate) struct Buffered {
    buffer: Vec<u8>,
}

impl Disk for Buffered {
    fn append(&mut self, log: &mut File, changes: &Changes, _: Option<Durability>) -> Durability {
        self.buffer.extend(frame(changes));
        if self.buffer.len() >= 4_096 {
            hand_over(log, &std::mem::take(&mut self.buffer));
        }
        Durability::Process
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        hand_over(log, &self.buffer);
        drop(claim);
    }
}

/// What was asked for as volatile may wait in the process for the next write that asks for more, as long as
/// the answers say so: the sound part of the defects below.
#[derive(Debug, Default)]
struct Waiting(Vec<u8>);

impl Waiting {
    fn settle(&mut self, log: &mut File, asked: Option<Durability>) -> Durability {
        if asked == Some(Durability::Volatile) {
            return Durability::Volatile;
        }
        hand_over(log, &std::mem::take(&mut self.0));
        Durability::Process
    }

    fn end(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        hand_over(log, &std::mem::take(&mut self.0));
        drop(claim);
    }
}

/// Takes a write that asks for no level for one that wants none.
#[derive(Debug, Default)]
pub(crate) struct DefaultIsVolatile {
    waiting: Waiting,
}

impl Disk for DefaultIsVolatile {
    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        self.waiting.0.extend(frame(changes));
        self.waiting.settle(log, Some(asked.unwrap_or(Durability::Volatile)));
        Durability::Process
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        self.waiting.end(log, claim);
    }
}

/// Answers a batch that changed nothing at the level asked, without a look at what it was judged in.
#[derive(Debug, Default)]
pub(crate) struct NoChangeVouchesForNothing {
    waiting: Waiting,
}

impl Disk for NoChangeVouchesForNothing {
    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        self.waiting.0.extend(frame(changes));
        self.waiting.settle(log, asked)
    }

    fn vouch(&mut self, _: &mut File, asked: Option<Durability>) -> Durability {
        asked.unwrap_or(Durability::Process)
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        self.waiting.end(log, claim);
    }
}

/// Writes commits in groups of seven, each as safe as its first one asked, and answers every one as it asked.
#[derive(Debug, Default)]
pub(crate) struct AsSafeAsTheFirst {
    waiting: Waiting,
    commits: usize,
    level: Option<Durability>,
}

impl Disk for AsSafeAsTheFirst {
    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        if self.commits.is_multiple_of(7) {
            self.level = asked;
        }
        self.commits += 1;
        self.waiting.0.extend(frame(changes));
        self.waiting.settle(log, self.level);
        asked.unwrap_or(Durability::Process)
    }

    fn vouch(&mut self, log: &mut File, asked: Option<Durability>) -> Durability {
        self.waiting.settle(log, asked)
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        self.waiting.end(log, claim);
    }
}

/// Has two logs in one, and lets the commits of one of them wait: later ones of the other overtake them.
#[derive(Debug, Default)]
pub(crate) struct TwoLogs {
    waiting: Waiting,
}

impl Disk for TwoLogs {
    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        if changes.version.get().is_multiple_of(2) {
            hand_over(log, &frame(changes));
        } else {
            self.waiting.0.extend(frame(changes));
        }
        self.waiting.settle(log, asked)
    }

    fn vouch(&mut self, log: &mut File, asked: Option<Durability>) -> Durability {
        self.waiting.settle(log, asked)
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        self.waiting.end(log, claim);
    }
}

/// Logs each operation of a batch on its own, and writes the log by pages.
#[derive(Debug, Default)]
pub(crate) struct TornBatch {
    page: Vec<u8>,
}

impl Disk for TornBatch {
    fn append(&mut self, log: &mut File, changes: &Changes, asked: Option<Durability>) -> Durability {
        for op in &changes.ops {
            let one = Changes { ops: vec![op.clone()], notes: Vec::new(), ..changes.clone() };
            self.page.extend(frame(&one));
            if self.page.len() >= 4_096 {
                hand_over(log, &std::mem::take(&mut self.page));
            }
        }
        self.vouch(log, asked)
    }

    fn vouch(&mut self, log: &mut File, asked: Option<Durability>) -> Durability {
        if asked == Some(Durability::Volatile) {
            return Durability::Volatile;
        }
        hand_over(log, &std::mem::take(&mut self.page));
        Durability::Process
    }

    fn close(&mut self, log: &mut File, claim: Option<DataDirectory>) {
        hand_over(log, &self.page);
        drop(claim);
    }
}

/// Forgets what was deleted: the marks of deletes are thrown away too early.
#[derive(Debug)]
pub(crate) struct DeletedComesBack;

impl Disk for DeletedComesBack {
    fn replay(&self, records: &mut Records, key: Key, record: Option<Record>) {
        if let Some(record) = record {
            records.insert(key, record);
        }
    }
}

/// Shows a put to readers while the disk is still busy with it.
#[derive(Debug, Default)]
pub(crate) struct VisibleBeforeCommitted {
    pending: Mutex<BTreeMap<Key, Bytes>>,
}

#[async_trait]
impl Defect for VisibleBeforeCommitted {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        let pending = self.pending.lock().get(key).cloned();
        let Some(value) = pending else { return sound.get(key).await };
        let next = sound.get_many(&[]).await?.version.get() + 1;
        Ok(Version::new(next).map(|version| Record::new(value, version)))
    }

    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        for (key, op) in batch.ops() {
            if let Op::Put { value, .. } = op {
                self.pending.lock().insert(key.clone(), value.clone());
            }
        }
        // A slow disk.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.pending.lock().clear();
        sound.write(batch, options).await
    }
}

/// Answers a level below the one asked for.
#[derive(Debug)]
pub(crate) struct AnswersALowerLevel;

#[async_trait]
impl Defect for AnswersALowerLevel {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        Ok(match sound.write(batch, options).await? {
            Outcome::Committed(commit) => {
                Outcome::Committed(Commit { durability: Durability::Volatile, ..commit })
            }
            outcome => outcome,
        })
    }
}

/// Takes a level that it cannot reach for the best that it can.
#[derive(Debug)]
pub(crate) struct AsSafeAsCanBe;

#[async_trait]
impl Defect for AsSafeAsCanBe {
    async fn write(
        &self,
        sound: &Arc<dyn Engine>,
        batch: Batch,
        mut options: WriteOptions,
    ) -> Result<Outcome> {
        options.durability = options.durability.map(|asked| asked.min(sound.info().best_durability));
        sound.write(batch, options).await
    }
}

/// Gives up waiting for a write that has begun, and answers that it was not applied.
#[derive(Debug, Default)]
pub(crate) struct TimeoutMeansNotApplied {
    begun: Mutex<Vec<JoinHandle<()>>>,
}

#[async_trait]
impl Defect for TimeoutMeansNotApplied {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let Some(timeout) = options.timeout else { return sound.write(batch, options).await };
        let sound = Arc::clone(sound);
        let (answer, answered) = oneshot::channel();
        self.begun.lock().push(tokio::spawn(async move {
            // A slow disk.
            tokio::time::sleep(Duration::from_millis(5)).await;
            // Nobody may wait for it any more.
            drop(answer.send(sound.write(batch, options).await));
        }));
        match tokio::time::timeout(timeout, answered).await {
            Ok(answer) => answer.expect("the sound engine answers"),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "write timed out")),
        }
    }

    async fn close(&self, sound: &Arc<dyn Engine>) -> Result<()> {
        let begun = std::mem::take(&mut *self.begun.lock());
        for write in begun {
            write.await.expect("the sound engine does not panic");
        }
        sound.close().await
    }
}

/// Accepts writes after close, and loses them.
#[derive(Debug)]
pub(crate) struct ClosedTakesWrites;

#[async_trait]
impl Defect for ClosedTakesWrites {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        match sound.write(batch, options).await {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(Outcome::Committed(Commit {
                version: Version::MIN,
                durability: sound.info().best_durability,
            })),
            answer => answer,
        }
    }
}
