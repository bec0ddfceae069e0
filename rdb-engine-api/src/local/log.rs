//! The log of commits: what the committer appends to and watches read from, each at its own pace (C16).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;

use super::archive::{self, Archive};
use super::history::{History, Kept};
use super::line::VersionLine;
use super::meter::WatchMeter;
use super::registry::{Place, Registry};
use crate::{ChangeSet, Clock, CommittedBatch, Error, ErrorKind, Limits, Previous, Result, Version, Watch};

/// Commits that a watcher takes from the history at once.
const CHUNK_LEN: usize = 64;
/// Bytes of them; one may be larger. Small: a watcher that is not read from keeps them.
const CHUNK_BYTES: usize = 16 << 10;
/// Rows of a durable history that a commit removes, beside twice as many as it adds.
const ROWS_AT_ONCE: usize = 256;

/// The history, and who reads it.
///
/// The committer holds the lock for a moment before and after each of its commits, and does nothing for any
/// watcher: a thread of its own, which is there once somebody watches, finds out whom a commit concerns.
/// Where both locks are taken, this one comes before the registry's.
#[derive(Debug)]
pub(super) struct Log {
    clock: Arc<dyn Clock>,
    max_watches: usize,
    age: Duration,
    /// The most bytes of previous records of one commit.
    max_previous_bytes: usize,
    state: RwLock<State>,
    registry: Arc<Registry>,
    /// A group has been appended.
    appended: Notify,
    /// Whether somebody wants previous records; a hint.
    wants_previous: AtomicBool,
    pub(super) meter: WatchMeter,
}

#[derive(Debug)]
struct State {
    history: History,
    /// Of a durable history, the versions whose rows are to be removed, oldest first.
    rows: Option<VecDeque<Version>>,
    /// The history began anew behind this version.
    cut: Option<Version>,
    /// Versions behind the first and up to the second may have been seen before this opening, but their commits
    /// are gone.
    lost: (Version, Version),
    watches: usize,
    is_matching: bool,
    /// Watches of previous records.
    previous_watches: usize,
    /// Previous records are wanted until this monotonic time, whoever watches.
    previous_until: Duration,
    /// They were recorded in every commit later than this version.
    previous_after: Option<Version>,
    /// Whether they are recorded in the group that is being judged and committed.
    group: Option<bool>,
    ended: bool,
}

/// What a watcher finds in the log.
#[derive(Debug)]
pub(super) struct Found {
    /// The version up to which everything has been handed out, with the commits that were found.
    pub(super) up_to: Version,
    /// Whether the watcher will be woken for what comes next.
    pub(super) is_caught_up: bool,
}

impl Log {
    /// A log of what was kept of the commits up to the present view.
    pub(super) fn new(
        limits: &Limits,
        clock: Arc<dyn Clock>,
        line: &VersionLine,
        archive: Archive,
        is_durable: bool,
    ) -> Self {
        let now = clock.monotonic();
        let mut history = History::new(limits, archive.floor);
        // Who watched previous records goes on with that.
        let is_recorded =
            |commit: &&CommittedBatch| commit.ops.iter().all(|op| op.previous != Previous::NotAsked);
        let recorded = archive.commits.iter().rev().take_while(is_recorded).count();
        let before = archive.commits.len() - recorded;
        let previous_after = match before.checked_sub(1) {
            Some(place) => archive.commits[place].version,
            None => archive.floor,
        };
        for commit in archive.commits {
            history.push(Kept::new(commit, now));
        }
        let state = State {
            history,
            rows: is_durable.then(VecDeque::new),
            cut: None,
            lost: (line.last, line.given()),
            watches: 0,
            is_matching: false,
            previous_watches: 0,
            previous_until: if recorded > 0 {
                now.saturating_add(limits.history_age)
            } else {
                Duration::ZERO
            },
            previous_after: (recorded > 0).then_some(previous_after),
            group: None,
            ended: false,
        };
        Self {
            clock,
            max_watches: limits.max_watches,
            age: limits.history_age,
            max_previous_bytes: limits.max_batch_bytes,
            state: RwLock::new(state),
            registry: Arc::new(Registry::new(line.last)),
            appended: Notify::new(),
            wants_previous: AtomicBool::new(false),
            meter: WatchMeter::default(),
        }
    }

    /// The committer begins to judge a group. Whether it has to keep what the group's changes replace, and how
    /// many bytes of what one commit replaces.
    pub(super) fn begin(&self) -> Option<usize> {
        let now = self.clock.monotonic();
        let mut state = self.state.write();
        let wanted = state.previous_watches > 0 || now < state.previous_until;
        state.previous_after = match wanted {
            true => Some(state.previous_after.unwrap_or(state.history.head())),
            false => None,
        };
        state.group = Some(wanted);
        self.wants_previous.store(wanted, Ordering::Relaxed);
        wanted.then_some(self.max_previous_bytes)
    }

    /// Makes the commits of a group ready to be appended, and of a durable history part of the group's changes.
    pub(super) fn prepare(&self, commits: Vec<CommittedBatch>, changes: &mut ChangeSet) -> Vec<Kept> {
        let now = self.clock.monotonic();
        if !commits.is_empty() {
            self.record(&commits, changes);
        }
        commits.into_iter().map(|commit| Kept::new(commit, now)).collect()
    }

    fn record(&self, commits: &[CommittedBatch], changes: &mut ChangeSet) {
        let (old, floor) = {
            let mut state = self.state.write();
            let floor = state.history.floor();
            let Some(rows) = &mut state.rows else { return };
            // More than are added, so that it comes to an end.
            let count = rows.len().min(ROWS_AT_ONCE + 2 * commits.len());
            (rows.drain(..count).collect::<Vec<_>>(), floor)
        };
        for commit in commits {
            archive::record(commit, changes);
        }
        if !old.is_empty() {
            archive::record_mark(floor, changes);
        }
        for version in old {
            archive::forget(version, changes);
        }
    }

    /// Appends the commits of a group, which is over with that. Returns what the history has forgotten for it, to
    /// be dropped by whoever keeps nobody waiting: that takes longer than the appending.
    #[must_use]
    pub(super) fn append(&self, commits: Vec<Kept>) -> Vec<Kept> {
        let now = self.clock.monotonic();
        let mut state = self.state.write();
        state.group = None;
        for kept in commits {
            if state.watches > 0 {
                self.registry.push(&kept.commit, kept.bytes());
            }
            state.history.push(kept);
        }
        let compacted = state.compact(now);
        drop(state);
        self.appended.notify_waiters();
        compacted
    }

    /// Lets watchers learn of what was appended.
    pub(super) fn notify(&self) {
        self.registry.notify();
    }

    /// Adds to a commit that the history begins anew with it.
    pub(super) fn record_cut(&self, version: Version, changes: &mut ChangeSet) {
        if self.state.read().rows.is_some() {
            archive::record_mark(version, changes);
        }
    }

    /// The history begins anew behind this version: what led to it is not in commits.
    pub(super) fn cut(&self, version: Version) {
        let mut state = self.state.write();
        state.cut = Some(version);
        state.previous_after = None;
        let gone = state.history.cut(version);
        if let Some(rows) = &mut state.rows {
            rows.extend(gone.iter().map(Kept::version));
        }
        drop(state);
        drop(gone);
        self.registry.lose();
    }

    /// Nothing will be appended any more: ends every watch.
    pub(super) fn end(&self) {
        let mut state = self.state.write();
        state.ended = true;
        let head = state.history.head();
        let gone = state.history.cut(head);
        drop(state);
        drop(gone);
        self.appended.notify_waiters();
        self.registry.end();
    }

    /// Whether somebody wants previous records.
    pub(super) fn wants_previous(&self) -> bool {
        self.wants_previous.load(Ordering::Relaxed)
    }

    /// Takes up a watcher; returns the version that it begins after. `present` is the version of a view of the
    /// store, of which the log may not have heard yet.
    pub(super) async fn enter(&self, watch: &Watch, present: Version) -> Result<(Version, Arc<Place>)> {
        loop {
            let appended = self.appended.notified();
            if let Some(entered) = self.try_enter(watch, present)? {
                return Ok(entered);
            }
            appended.await;
        }
    }

    /// None where the group under way has to be waited for.
    fn try_enter(&self, watch: &Watch, present: Version) -> Result<Option<(Version, Arc<Place>)>> {
        let now = self.clock.monotonic();
        let mut state = self.state.write();
        if state.ended {
            return Err(closed());
        }
        if state.watches >= self.max_watches {
            return Err(
                Error::new(ErrorKind::Exhausted, "too many watches are open").with("limit", self.max_watches)
            );
        }
        let compacted = state.compact(now);
        let entered = self.judge(&mut state, watch, present, now);
        drop(state);
        drop(compacted);
        entered
    }

    fn judge(
        &self,
        state: &mut State,
        watch: &Watch,
        present: Version,
        now: Duration,
    ) -> Result<Option<(Version, Arc<Place>)>> {
        let present = present.max(state.history.head());
        let after = watch.after.unwrap_or(present);
        // First: before the first commit of an opening, what was lost is beyond the present too.
        if after > state.lost.0 && after <= state.lost.1 {
            return Err(Error::new(ErrorKind::Compacted, "commits were lost before the engine was opened")
                .at(state.lost.0.max(state.history.floor()))
                .with("after", after));
        }
        if after > present {
            return Err(Error::new(ErrorKind::InvalidArgument, "watch begins beyond the present")
                .with("after", after)
                .with("present", present));
        }
        if after < state.history.floor() {
            return Err(compacted(state.history.floor()).with("after", after));
        }
        if watch.previous {
            // A refused watch wants them too: its next attempt shall not be refused for the same reason.
            state.previous_until = state.previous_until.max(now.saturating_add(self.age));
            self.wants_previous.store(true, Ordering::Relaxed);
            if state.previous_after.is_none() && state.group.is_some() {
                return Ok(None);
            }
            let recorded = *state.previous_after.get_or_insert(state.history.head());
            if after < recorded {
                return Err(Error::new(ErrorKind::Compacted, "previous records were not recorded yet")
                    .at(recorded)
                    .with("after", after)
                    .with("recorded_after", recorded));
            }
        }
        if !state.is_matching {
            let registry = Arc::clone(&self.registry);
            let spawned =
                std::thread::Builder::new().name("flaredb-watch".to_owned()).spawn(move || registry.run());
            spawned.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot start the thread of watches").because(error)
            })?;
            state.is_matching = true;
        }
        state.watches += 1;
        state.previous_watches += usize::from(watch.previous);
        let is_caught_up = after >= state.history.head();
        let place = Arc::new(Place::new(&watch.range, after, is_caught_up));
        self.registry.add(&place);
        Ok(Some((after, place)))
    }

    /// A watcher has gone.
    pub(super) fn leave(&self, place: &Arc<Place>, previous: bool) {
        let now = self.clock.monotonic();
        let mut state = self.state.write();
        state.watches -= 1;
        if previous {
            state.previous_watches -= 1;
            state.previous_until = state.previous_until.max(now.saturating_add(self.age));
        }
        self.registry.remove(place);
    }

    /// Finds what comes next for a watcher. What it finds touches the range, or may touch it.
    pub(super) fn read(&self, place: &Place, found: &mut VecDeque<Arc<CommittedBatch>>) -> Result<Found> {
        // Before the watcher's matches: all up to this version are among them then.
        let matched = self.registry.matched();
        let state = self.state.read();
        let mut stand = place.stand.lock();
        if state.ended {
            return Err(closed().at(stand.after));
        }
        if let Some(matches) = &mut stand.matches {
            let Some(version) = matches.front().copied() else {
                stand.after = stand.after.max(matched);
                return Ok(Found { up_to: stand.after, is_caught_up: true });
            };
            if version <= state.history.floor() {
                return Err(state.overtaken(stand.after));
            }
            let commit = state.history.get(version).ok_or_else(|| {
                Error::new(ErrorKind::Internal, "history lacks a commit").with("version", version)
            })?;
            found.push_back(Arc::clone(commit));
            matches.pop_front();
            stand.after = version;
            return Ok(Found { up_to: version, is_caught_up: false });
        }
        if stand.after < state.history.floor() {
            return Err(state.overtaken(stand.after));
        }
        let mut bytes = 0;
        for kept in state.history.after(stand.after).take(CHUNK_LEN) {
            bytes += kept.bytes();
            if bytes > CHUNK_BYTES && !found.is_empty() {
                break;
            }
            found.push_back(Arc::clone(&kept.commit));
        }
        match found.back() {
            Some(last) => stand.after = last.version,
            // Nothing can be appended as long as the log is locked: from here on all that comes is matched.
            None => stand.matches = Some(VecDeque::new()),
        }
        Ok(Found { up_to: stand.after, is_caught_up: found.is_empty() })
    }

    /// The monotonic time at which something becomes too old, if nothing is appended until then.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.state.read().history.ages_at()
    }

    /// Compacts what has become too old, also where nobody writes.
    pub(super) fn compact(&self) {
        let now = self.clock.monotonic();
        let compacted = self.state.write().compact(now);
        drop(compacted);
    }

    /// How the log stands.
    pub(super) fn level(&self) -> Level {
        self.compact();
        let state = self.state.read();
        Level {
            watches: state.watches,
            ops: state.history.ops(),
            bytes: state.history.bytes(),
            oldest: state.history.oldest(self.clock.monotonic()),
        }
    }
}

/// How full a log is.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) watches: usize,
    pub(super) ops: usize,
    pub(super) bytes: usize,
    pub(super) oldest: Duration,
}

impl State {
    fn compact(&mut self, now: Duration) -> Vec<Kept> {
        let compacted = self.history.compact(now);
        if let Some(rows) = &mut self.rows {
            rows.extend(compacted.iter().map(Kept::version));
        }
        compacted
    }

    /// Why a watcher that has read up to this version cannot go on.
    fn overtaken(&self, after: Version) -> Error {
        if self.cut.is_some_and(|cut| after < cut) {
            return compacted(self.history.floor());
        }
        Error::new(ErrorKind::Exhausted, "watch fell behind the history").at(after).with("after", after)
    }
}

fn compacted(floor: Version) -> Error {
    Error::new(ErrorKind::Compacted, "history does not reach back so far").at(floor).with("oldest", floor)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "engine is closed, or has stopped")
}
