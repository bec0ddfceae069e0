use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Batch, Commit, Condition, EngineInfo, EntryStream, Error, ErrorKind, Key, Metric, Outcome, Record,
    Result, Scan, Session, SessionOptions, Stamp, View, Watch, WatchStream, WriteOptions,
};

/// A key-value store with compare-and-swap: the contract (`docs/contract.md`).
///
/// Everything that stores is an `Engine`: the local engines, the SDK's client, and what strangers write.
/// There are no default bodies: an implementation says for itself what it does and what it does not.
/// Futures must be polled on a Tokio runtime.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// What this engine is and does; constant while it is open.
    fn info(&self) -> &EngineInfo;

    /// What the engine has counted since it was opened, and how it stands, for an operator to see. Cheap, and
    /// never waits for a disk: it is asked at each scrape. Whoever has nothing to tell answers with nothing;
    /// so does a closed engine, where it cannot tell any more.
    fn metrics(&self) -> Vec<Metric>;

    /// Returns the record under the key, as visible at one instant of the call (C1).
    async fn get(&self, key: &Key) -> Result<Option<Record>>;

    /// Returns the records under several keys, all from one view, in the order of the keys (C8).
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond
    /// [`max_get_many_keys`](crate::Limits::max_get_many_keys), and where the records together are beyond
    /// [`max_batch_bytes`](crate::Limits::max_batch_bytes) (C14).
    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>>;

    /// Opens a scan of one view (C8). The view is fixed when this returns; entries are read as the
    /// stream is polled. Opening copies no data and holds up no writer.
    ///
    /// # Errors
    /// [`Exhausted`](ErrorKind::Exhausted) when [`max_scans`](crate::Limits::max_scans) are open. The
    /// stream itself ends in `Exhausted` when its reader rests for longer than
    /// [`scan_idle`](crate::Limits::scan_idle), and in [`Closed`](ErrorKind::Closed) when the engine
    /// is closed.
    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>>;

    /// Judges a batch and applies it, all or nothing (C2, C3).
    ///
    /// Dropping the future leaves the outcome unknown; it may still be applied (C10).
    ///
    /// # Errors
    /// [`Unknown`](ErrorKind::Unknown): the batch may have been applied. Every other kind: it was not
    /// and will not be (C10).
    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome>;

    /// Watches a range (C16): delivers every commit later than the answer's version that touches the range,
    /// exactly once, in version order, each whole. The version is the one asked for, or the present one.
    ///
    /// # Errors
    /// - [`Unsupported`](ErrorKind::Unsupported) without the capability `watch` (C18).
    /// - [`Compacted`](ErrorKind::Compacted) for a start before the kept history, with the oldest version
    ///   that can be had.
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) for a start beyond the present.
    /// - [`Exhausted`](ErrorKind::Exhausted) when [`max_watches`](crate::Limits::max_watches) are open.
    ///
    /// How the stream itself ends is told at [`WatchStream`].
    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>>;

    /// Opens a session for exactly-once writes (C17), at the engine's best durability.
    ///
    /// # Errors
    /// - [`Unsupported`](ErrorKind::Unsupported) without the capability `sessions` (C18).
    /// - [`Exhausted`](ErrorKind::Exhausted) when [`max_sessions`](crate::Limits::max_sessions) are open.
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) for an idle time of nothing, or above
    ///   [`session_idle`](crate::Limits::session_idle).
    async fn open_session(&self, options: SessionOptions) -> Result<Session>;

    /// The session as it is now, with the engine's present life: what to ask after
    /// [`Stale`](ErrorKind::Stale). None where it has ended. Begins its idle time anew.
    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>>;

    /// Ends a session: its writes are never executed from now on (C17). Ending one that has ended is no
    /// error.
    async fn end_session(&self, id: NonZeroU64) -> Result<()>;

    /// Asks what became of a write of a session: its first outcome. None where it has not been executed,
    /// and then it never will be: each later arrival of it in this life of the engine is refused as
    /// [`Unavailable`](ErrorKind::Unavailable), and those meant for an earlier life are refused anyway. The
    /// commit that an answer reports is at the engine's default durability at least.
    ///
    /// # Errors
    /// [`Unknown`](ErrorKind::Unknown) for a session that has ended, and for a number outside its window:
    /// the outcome is forgotten. [`Stale`](ErrorKind::Stale) as for a write.
    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>>;

    /// The time by which this engine judges expiry (C15), in whole milliseconds: what is left of a record's
    /// life is [`expires_at`](Record::expires_at) less this. It never runs backward, over restarts included.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) without the capability `expiry` (C18).
    async fn time(&self) -> Result<SystemTime>;

    /// Fills this engine, which has to be empty, with the records of a view, their versions kept: all of
    /// them become visible at once, or none ever does (C19). What a forward scan of everything returns is
    /// what this takes, so that an engine moves in one line:
    ///
    /// ```
    /// # use rdb_engine_api::{Engine, KeyRange, Result, Scan};
    /// # async fn change(source: &dyn Engine, target: &dyn Engine) -> Result<()> {
    /// target.restore(source.scan(Scan::new(KeyRange::all())).await?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Answers with the version of the view after it, which is above every version restored or shown
    /// before. While it goes on, reads and writes are refused as [`Unavailable`](ErrorKind::Unavailable).
    /// Dropping the future gives it up, unless it is at its very end (C10).
    ///
    /// # Errors
    /// - [`Unsupported`](ErrorKind::Unsupported) without the capability `restore` (C18).
    /// - [`InvalidArgument`](ErrorKind::InvalidArgument) for an engine that holds a record; for keys that
    ///   do not strictly ascend; for a record without value, newer than the view, or beyond the limits.
    /// - [`Unavailable`](ErrorKind::Unavailable) while another restore is under way, and, unless its
    ///   error's kind says more, where the stream fails.
    /// - [`Exhausted`](ErrorKind::Exhausted) where the stream rests for longer than
    ///   [`scan_idle`](crate::Limits::scan_idle).
    /// - [`Unknown`](ErrorKind::Unknown): it may have been restored. Every other kind: nothing was, and
    ///   nothing will be (C10).
    async fn restore(&self, view: View<EntryStream>) -> Result<Commit>;

    /// Finishes every accepted write, ends scans and watches with [`Closed`](ErrorKind::Closed), and
    /// frees what the engine holds: when this has returned, a local engine's directory can be opened
    /// again (C12). Closing twice is the same as closing once. Dropping an engine closes it in the
    /// background.
    async fn close(&self) -> Result<()>;
}

/// The short forms of [`Engine::write`]. All use the engine's default durability.
#[async_trait]
pub trait EngineExt: Engine {
    /// Stores a value, whatever was there before.
    async fn put(&self, key: &Key, value: impl Into<Bytes> + Send) -> Result<Commit> {
        let batch = Batch::new().put(key.clone(), value);
        match self.write(batch, WriteOptions::default()).await? {
            Outcome::Committed(commit) => Ok(commit),
            outcome => Err(unexpected(&outcome)),
        }
    }

    /// Stores a value that is removed when this much time has passed (C15), whatever was there before.
    async fn put_for(&self, key: &Key, value: impl Into<Bytes> + Send, ttl: Duration) -> Result<Commit> {
        let batch = Batch::new().put_for(key.clone(), value, ttl);
        match self.write(batch, WriteOptions::default()).await? {
            Outcome::Committed(commit) => Ok(commit),
            outcome => Err(unexpected(&outcome)),
        }
    }

    /// The record under a key, and how much of its life is left (C15): none for a record that does not
    /// expire, nothing for one that is about to be removed.
    async fn get_with_ttl(&self, key: &Key) -> Result<Option<(Record, Option<Duration>)>> {
        let Some(record) = self.get(key).await? else { return Ok(None) };
        let left = match record.expires_at {
            Some(end) => Some(end.duration_since(self.time().await?).unwrap_or_default()),
            None => None,
        };
        Ok(Some((record, left)))
    }

    /// Removes the record under a key: [`Outcome::Committed`] where there was one,
    /// [`Outcome::Unchanged`] where there was none.
    async fn delete(&self, key: &Key) -> Result<Outcome> {
        self.write(Batch::new().delete(key.clone()), WriteOptions::default()).await
    }

    /// Stores a value if the condition holds of the key.
    async fn compare_and_swap(
        &self,
        key: &Key,
        condition: Condition,
        value: impl Into<Bytes> + Send,
    ) -> Result<Outcome> {
        let batch = Batch::new().when(key.clone(), condition).put(key.clone(), value);
        self.write(batch, WriteOptions::default()).await
    }

    /// Stores a value as soon as the condition holds of the key, first come first served, waiting at most
    /// this long (C20).
    async fn wait_and_swap(
        &self,
        key: &Key,
        condition: Condition,
        value: impl Into<Bytes> + Send,
        wait: Duration,
    ) -> Result<Outcome> {
        let batch = Batch::new().when(key.clone(), condition).put(key.clone(), value);
        self.write(batch, WriteOptions::default().wait(wait)).await
    }

    /// Removes the record under a key if the condition holds of it.
    async fn compare_and_delete(&self, key: &Key, condition: Condition) -> Result<Outcome> {
        let batch = Batch::new().when(key.clone(), condition).delete(key.clone());
        self.write(batch, WriteOptions::default()).await
    }

    /// Stores a value if there is none under the key yet.
    async fn put_if_absent(&self, key: &Key, value: impl Into<Bytes> + Send) -> Result<Outcome> {
        self.compare_and_swap(key, Condition::Absent, value).await
    }
}

impl<E: Engine + ?Sized> EngineExt for E {}

fn unexpected(outcome: &Outcome) -> Error {
    // The engine broke C4; whether the put took effect cannot be told from such an answer.
    Error::new(ErrorKind::Unknown, "engine did not commit a put").with("outcome", format_args!("{outcome:?}"))
}
