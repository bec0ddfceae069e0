//! Expiry (C15): the index of the records that expire, and their removal.
//!
//! A row of FlareDB's own stands for each record that expires: `x | milliseconds since 1970 (8) | key` with
//! `crc32 (4) | version (8)`. It is written, moved and removed in the atomic write that does so with the
//! record, so that the two always agree, and what is due is found without looking at what is not.
//!
//! The committer removes what is due at the front of its groups, each record by a commit of its own, some at
//! a time: a writer never waits for more than that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tracing::warn;

use super::committer::Committer;
use super::judge::GroupView;
use super::seal;
use super::time::{Reading, to_millis};
use crate::{Error, ErrorKind, Key, Record, Result, Row, Snapshot as _, Space, Span, Store, Version};

const PREFIX: u8 = b'x';
const HEADER: usize = 1 + 8;
/// Records removed in one group.
const REMOVED_AT_ONCE: usize = 256;
/// How long, in milliseconds, the removal rests when the store could not be read.
const REST: u64 = 1_000;

/// How the index stands, as everybody may know it.
#[derive(Debug)]
pub(super) struct Outlook {
    /// No record expires before this; [`NEVER`] where none expires at all.
    earliest: AtomicU64,
}

/// Behind the last instant.
const NEVER: u64 = u64::MAX;

impl Outlook {
    /// Whether a record may be about to expire, some time.
    pub(super) fn is_expiring(&self) -> bool {
        self.earliest.load(Ordering::Relaxed) != NEVER
    }

    /// For how many milliseconds something has been due.
    pub(super) fn lag(&self, now: Reading) -> u64 {
        now.passed.saturating_sub(self.earliest.load(Ordering::Relaxed))
    }
}

/// A record that an entry of the index stands for.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) expires: u64,
    pub(super) key: Key,
    pub(super) version: Version,
}

/// The committer's place in the index.
#[derive(Debug)]
pub(super) struct Expiry {
    /// No row of the index is before this; none where there is no row at all. To begin a scan here and not
    /// at the index's beginning spares a store the walk over all that was removed.
    cursor: Option<Bytes>,
    outlook: Arc<Outlook>,
    /// Why the removal could not read the store, and until when it rests.
    failure: Option<(Error, u64)>,
}

impl Expiry {
    /// Of a store whose index nobody has looked at.
    pub(super) fn unknown() -> Self {
        let outlook = Arc::new(Outlook { earliest: AtomicU64::new(NEVER) });
        Self { cursor: Some(span().start), outlook, failure: None }
    }

    pub(super) fn outlook(&self) -> Arc<Outlook> {
        Arc::clone(&self.outlook)
    }

    /// Whether a record may expire, some time.
    pub(super) fn is_expiring(&self) -> bool {
        self.cursor.is_some()
    }

    /// Takes note of the first of the rows that a group adds.
    pub(super) fn added(&mut self, first: Option<Bytes>) {
        if let Some(first) = first
            && self.cursor.as_ref().is_none_or(|cursor| first < *cursor)
        {
            self.turn_to(Some(first));
        }
    }

    /// Forgets what was known of the index. Before anything else is judged, the committer has to
    /// [look](Committer::catch_up).
    pub(super) fn begin_anew(&mut self) {
        self.cursor = Some(span().start);
    }

    fn turn_to(&mut self, cursor: Option<Bytes>) {
        let earliest = cursor.as_ref().map_or(NEVER, |cursor| instant_of(cursor));
        self.outlook.earliest.store(earliest, Ordering::Relaxed);
        self.cursor = cursor;
    }

    /// When there may be something to remove.
    fn next(&self) -> Option<u64> {
        let rests_until = self.failure.as_ref().map_or(0, |(_, until)| *until);
        self.cursor.as_ref().map(|cursor| instant_of(cursor).max(rests_until))
    }

    fn is_due(&self, now: Reading) -> bool {
        self.next().is_some_and(|next| next <= now.passed)
    }

    /// Why the store could not be read when something was to be removed, the last time.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take().map(|(error, _)| error)
    }
}

impl<S: Store> Committer<S> {
    /// How long there is nothing to remove; none where nothing expires.
    pub(super) fn pause(&self) -> Option<Duration> {
        let next = self.expiry.next()?;
        let now = self.line.time.now(&*self.clock);
        Some(Duration::from_millis(next.saturating_sub(now.passed)))
    }

    /// Removes all that is due, before anybody is let in. An error is that of a commit; one of reading ends
    /// it too, and is [kept](Expiry::take_failure).
    pub(super) fn catch_up(&mut self) -> Result<()> {
        while self.expiry.is_due(self.line.time.now(&*self.clock)) {
            self.commit_group(&mut Vec::new().into_iter())?;
        }
        Ok(())
    }

    /// Removes some of what is due, in the view of a group.
    pub(super) fn expire(&mut self, view: &mut GroupView<'_, S>, now: Reading) {
        if !self.expiry.is_due(now) {
            return;
        }
        self.expiry.failure = None;
        let removed = catch_unwind(AssertUnwindSafe(|| self.remove_due(view, now)));
        let panicked = || Error::new(ErrorKind::Internal, "looking for what is due panicked");
        if let Err(error) = removed.unwrap_or_else(|_| Err(panicked())) {
            warn!(error = error.report(), "cannot remove records whose time is over");
            self.meter.writes.expiry_failed();
            self.expiry.failure = Some((error, now.passed.saturating_add(REST)));
        }
    }

    fn remove_due(&mut self, view: &mut GroupView<'_, S>, now: Reading) -> Result<()> {
        let home = Arc::clone(&self.home);
        let snapshot = home.store.snapshot()?;
        let mut span = span();
        span.start = self.expiry.cursor.clone().unwrap_or(span.start);
        let (mut count, mut bytes) = (0, 0);
        for row in snapshot.scan(Space::System, &span, false)? {
            let row = row?;
            // Its records are held until the commit, so they are bounded in bytes too (C14).
            let is_enough = count >= REMOVED_AT_ONCE || bytes >= self.max_group_bytes;
            if is_enough || instant_of(&row.key) > now.passed {
                self.expiry.turn_to(Some(row.key));
                return Ok(());
            }
            count += 1;
            match self.remove(view, &row) {
                Ok(Some(removed)) => {
                    bytes += removed;
                    self.meter.writes.expired(now.passed.saturating_sub(instant_of(&row.key)));
                }
                Ok(None) => {
                    warn!(entry = %row.key.escape_ascii(), "removing an entry of the expiry index without a record");
                    view.remove_entry(row.key);
                }
                // What is damaged stays as it is; it must not keep all behind it from being removed.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    warn!(error = error.report(), "cannot remove a record whose time is over");
                    self.meter.writes.expiry_failed();
                }
                Err(error) => return Err(error),
            }
        }
        self.expiry.turn_to(None);
        Ok(())
    }

    /// Removes the record that an entry stands for, if it still is that one; tells its size.
    fn remove(&mut self, view: &mut GroupView<'_, S>, row: &Row) -> Result<Option<usize>> {
        let removed = view.expire(decode(row)?, self.line.next(view.version())?)?;
        if removed.is_some() {
            self.blocked.touch(view.touched());
        }
        Ok(removed)
    }
}

/// Where the entry of a record is.
pub(super) fn entry_key(expires: u64, key: &Key) -> Bytes {
    let mut entry = BytesMut::with_capacity(HEADER + key.len());
    entry.put_u8(PREFIX);
    entry.put_u64(expires);
    entry.put_slice(key.as_bytes());
    entry.freeze()
}

/// The entry of a record, with what is there; none for one that does not expire.
pub(super) fn entry_of(key: &Key, record: &Record) -> Option<(Bytes, Bytes)> {
    let entry = entry_key(to_millis(record.expires_at?), key);
    let mut value = seal::row(8);
    value.put_u64(record.version.get());
    let value = seal::seal(&entry, value);
    Some((entry, value))
}

fn decode(row: &Row) -> Result<Due> {
    let corrupt = || {
        let shown = row.key[..row.key.len().min(64)].escape_ascii();
        Error::new(ErrorKind::Corrupt, "stored entry of the expiry index failed validation")
            .with("key", shown)
    };
    let number = seal::open(&row.key, &row.value).ok_or_else(corrupt)?;
    let number: &[u8; 8] = number.try_into().map_err(|_| corrupt())?;
    if row.key.len() <= HEADER {
        return Err(corrupt());
    }
    let version = Version::new(u64::from_be_bytes(*number)).ok_or_else(corrupt)?;
    let key = Key::new(Bytes::copy_from_slice(&row.key[HEADER..])).map_err(|_| corrupt())?;
    Ok(Due { expires: instant_of(&row.key), key, version })
}

/// The instant in an entry's key; the first one for what is none.
fn instant_of(entry: &[u8]) -> u64 {
    let millis = entry.get(1..).and_then(|rest| rest.first_chunk::<8>());
    millis.map_or(0, |millis| u64::from_be_bytes(*millis))
}

/// The rows of the index.
pub(super) fn span() -> Span {
    Span { start: Bytes::from_static(&[PREFIX]), end: Some(Bytes::from_static(&[PREFIX + 1])) }
}
