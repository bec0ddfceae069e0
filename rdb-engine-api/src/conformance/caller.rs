use std::num::NonZeroU64;

use super::db::{Db, must};
use crate::{Batch, Error, Outcome, Result, Session, SessionOptions, Stamp, WriteOptions};

/// A caller with a session, as the cases use it.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) db: Db,
    pub(super) session: Session,
}

/// A number in a session.
pub(super) fn nth(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("numbers of a session begin at 1")
}

impl Caller {
    /// Opens a session that has no reason to be refused.
    pub(super) async fn open(db: &Db) -> Self {
        let session = must(db.engine().open_session(SessionOptions::default()).await, "opening a session");
        Self { db: db.clone(), session }
    }

    /// Goes on with the session in the engine's present life, where it is still open.
    pub(super) async fn resume(db: &Db, session: &Session) -> Option<Self> {
        let resumed = must(db.engine().resume_session(session.id).await, "resuming a session")?;
        assert_eq!(resumed.id, session.id, "a session keeps its id (C17)");
        Some(Self { db: db.clone(), session: resumed })
    }

    /// A stamp of a caller to whom every outcome is still of interest.
    pub(super) fn stamp(&self, number: u64) -> Stamp {
        self.session.stamp(nth(number), 0)
    }

    /// Sends a write with this number.
    pub(super) async fn send(&self, number: u64, batch: Batch) -> Result<Outcome> {
        self.send_as(self.stamp(number), batch).await
    }

    pub(super) async fn send_as(&self, stamp: Stamp, batch: Batch) -> Result<Outcome> {
        self.db.engine().write(batch, WriteOptions::default().stamp(stamp)).await
    }

    /// Sends a write that has no reason to fail.
    pub(super) async fn write(&self, number: u64, batch: Batch) -> Outcome {
        must(self.send(number, batch).await, "a write of a session")
    }

    pub(super) async fn settle(&self, number: u64) -> Result<Option<Outcome>> {
        self.db.engine().settle(self.stamp(number)).await
    }

    /// Sends a write that is promised to be refused.
    pub(super) async fn refused(&self, stamp: Stamp, batch: Batch, what: &str) -> Error {
        super::db::refused(self.send_as(stamp, batch).await, what)
    }
}
