use std::sync::Arc;

use rdb_engine_api::{
    Batch, Condition, Engine, Error, ErrorKind, Key, Outcome, Record, Result, Version, WriteOptions,
};

use crate::rows::{Name, WindowRow};
use crate::timestamp::MAX_MS;

/// The persisted end of a window of timestamps: nothing at or beyond it may be given.
///
/// It is one row, claimed by compare-and-swap on its version, so of two drivers on one engine only one can
/// extend what both have read: the other one has lost the row, and with it the right to give anything more.
/// Versions are never given twice (C5), so a row that was changed and changed back is noticed too.
#[derive(Debug)]
pub(crate) struct Window {
    engine: Arc<dyn Engine>,
    key: Key,
    /// In every claim, so that one of our own is known when it is met.
    owner: u64,
    /// The row as we last saw it; none where there was none.
    version: Option<Version>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The window ends here; its owner is this driver.
    Ours { end_ms: u64 },
    /// The row is as it was. A claim that ended `Unknown` may yet be applied; the next one has the same
    /// condition, so no more than one of them is.
    NotYet,
    /// The row is another driver's.
    Lost,
}

impl Window {
    pub(crate) fn new(engine: Arc<dyn Engine>, owner: u64) -> Result<Self> {
        Ok(Self { engine, key: Name::Timestamps.key()?, owner, version: None })
    }

    /// Reads the end that is persisted, whoever claimed it; 0 where nobody has. The next claim takes it over.
    pub(crate) async fn read(&mut self) -> Result<u64> {
        let record = self.engine.get(&self.key).await?;
        self.version = record.as_ref().map(|record| record.version);
        record.map_or(Ok(0), |record| Ok(decode(&record)?.end_ms))
    }

    /// Makes the window end at `end_ms`, at the engine's best durability.
    ///
    /// # Errors
    /// The claim was not applied, or reading what became of it failed. It can be made again.
    pub(crate) async fn claim(&mut self, end_ms: u64) -> Result<Claimed> {
        let condition = self.version.map_or(Condition::Absent, Condition::Version);
        let row = WindowRow { end_ms, owner: self.owner };
        let batch = Batch::new().when(self.key.clone(), condition).put(self.key.clone(), row.encode());
        let options = WriteOptions::default().durability(self.engine.info().best_durability);
        match self.engine.write(batch, options).await {
            Ok(Outcome::Committed(commit)) => {
                self.version = Some(commit.version);
                Ok(Claimed::Ours { end_ms })
            }
            Ok(Outcome::Conflict(conflict)) => self.judge(conflict.current),
            Ok(Outcome::Unchanged(_)) => {
                Err(Error::new(ErrorKind::Internal, "engine says that a put changed nothing"))
            }
            // Never a guess (C10): the row tells.
            Err(error) if error.may_have_been_applied() => {
                let record = self.engine.get(&self.key).await?;
                self.judge(record)
            }
            Err(error) => Err(error),
        }
    }

    fn judge(&mut self, current: Option<Record>) -> Result<Claimed> {
        if current.as_ref().map(|record| record.version) == self.version {
            return Ok(Claimed::NotYet);
        }
        let Some(record) = current else { return Ok(Claimed::Lost) };
        let row = decode(&record)?;
        if row.owner != self.owner {
            return Ok(Claimed::Lost);
        }
        // An earlier claim whose outcome nobody knew. It was ours, and it is persisted.
        self.version = Some(record.version);
        Ok(Claimed::Ours { end_ms: row.end_ms })
    }
}

fn decode(record: &Record) -> Result<WindowRow> {
    let row = WindowRow::decode(&record.value)?;
    if row.end_ms > MAX_MS {
        return Err(crate::rows::senseless("timestamps"));
    }
    Ok(row)
}
