//! The engine's line of versions (C4, C5).
//!
//! One system row holds the version of the latest commit and the end of the block of versions that may
//! be given before the row must be made power-safe again. It is part of every commit, so that no crash
//! can part it from the data. A power cut may take commits away that were not synced, and this row's
//! last state with them, but never the block: the next opening goes on behind it.
//!
//! An opening also goes on above the wall clock in microseconds. So an engine that keeps nothing, a
//! directory that was removed and made anew, and a change of engine do not repeat versions either, as
//! long as the clock does not run backward while nothing is kept.
//!
//! The row also keeps the latest of the engine's time: see [`EngineTime`].

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::{BufMut as _, Bytes};

use super::seal;
use super::time::EngineTime;
use crate::{
    Cached, ChangeSet, Clock, Durability, Error, ErrorKind, Result, Snapshot, Space, Store, Version,
};

const KEY: &[u8] = b"version-line";
/// A row with the engine's time. Rows without one, of before there was an expiry, have the tag before it.
const TAG: u8 = 2;
const TIMELESS_TAG: u8 = 1;
/// Versions that may be given between two power-safe writes of the row.
///
/// Small, since an opening after a crash skips the rest of it: in microseconds, it takes less time than an
/// opening does, so that versions do not run ahead of the clock however often that happens.
const BLOCK: u64 = 1 << 16;

#[derive(Debug)]
pub(super) struct VersionLine {
    /// The version of the latest commit: that of the present view.
    pub(super) last: Version,
    /// The level that every commit up to `last` has reached.
    pub(super) durability: Durability,
    /// The engine's time; the latest goes into each commit.
    pub(super) time: Arc<EngineTime>,
    /// The next version to give is greater than this.
    /// The number of this opening, which no other one has (C17).
    pub(super) life: NonZeroU64,
    /// The next number to give is greater than this, whether it becomes a version or something else's.
    given: u64,
    /// The greatest number that may be given before the row is made power-safe again.
    reserved: u64,
}

impl VersionLine {
    /// Reads the row and reserves the first block.
    pub(super) fn open(store: &impl Store, clock: &dyn Clock) -> Result<Self> {
        let row = store.get(Space::System, KEY)?;
        let kept = row.map(|row| decode(&row)).transpose()?;
        let seen_before = kept.as_ref().map_or(0, |kept| kept.reserved);
        let time = EngineTime::start(kept.as_ref().map_or(0, |kept| kept.time), clock);
        let given = seen_before.max(micros(clock)).max(1);
        let last = match kept {
            Some(kept) => kept.last,
            None => Version::new(given).unwrap_or(Version::MIN),
        };
        // The life takes a number like a version does. It is behind the block that is made power-safe here,
        // before anybody sees it, so no opening gives it again, even if nothing is ever written.
        let life = given.checked_add(1).and_then(NonZeroU64::new).ok_or_else(end_of_line)?;
        let best = store.info().best_durability;
        let durability = best.min(Durability::Process);
        let mut line =
            Self { last, durability, time: Arc::new(time), life, given: life.get(), reserved: given };
        let mut changes = ChangeSet::new();
        line.reserve_behind(line.given)?;
        line.record(last, &mut changes);
        line.durability = store.commit(changes, best)?;
        Ok(line)
    }

    /// The greatest version that may have been given, whether or not its commit is still there.
    pub(super) fn given(&self) -> Version {
        Version::new(self.given).unwrap_or(self.last).max(self.last)
    }

    /// The version behind `after`, the latest given in this group.
    pub(super) fn next(&self, after: Version) -> Result<Version> {
        let next = after.get().max(self.given).checked_add(1).and_then(Version::new);
        next.ok_or_else(end_of_line)
    }

    /// A number for something else than a version: never given before, and never again once a commit that
    /// [needs](Self::needs_block) a block for it has one.
    pub(super) fn take(&mut self, after: Version) -> Result<NonZeroU64> {
        let number = self.next(after)?.get();
        self.given = number;
        NonZeroU64::new(number).ok_or_else(end_of_line)
    }

    /// The version that a restore of a view ends with: above the view's, above all that this line has
    /// given, and above the wall clock, by which the restored engine's own line may have gone on since.
    pub(super) fn above(&self, restored: Version, clock: &dyn Clock) -> Result<Version> {
        let now = Version::new(micros(clock)).unwrap_or(Version::MIN);
        let version = self.next(restored.max(now).max(self.last))?;
        // The block behind it has to have room too.
        version.get().checked_add(BLOCK).map(|_| version).ok_or_else(end_of_line)
    }

    /// Whether a commit of this version must be power-safe, because it begins a new block.
    pub(super) fn needs_block(&self, version: Version) -> bool {
        version.get().max(self.given) > self.reserved
    }

    /// Begins a new block; the commit that records it must be power-safe.
    pub(super) fn reserve_behind(&mut self, version: u64) -> Result<()> {
        let reserved = version.max(self.given).checked_add(BLOCK);
        self.reserved = reserved.ok_or_else(end_of_line)?;
        Ok(())
    }

    /// Adds the row to a commit that ends with this version.
    pub(super) fn record(&self, version: Version, changes: &mut ChangeSet) {
        let row = encode(&Kept { last: version, reserved: self.reserved, time: self.time.latest() });
        changes.push(Space::System, Bytes::from_static(KEY), Some(row));
    }

    /// Adds the row to the last commit of all: what was reserved and not given is free again. This
    /// opening's life was given.
    pub(super) fn give_back(&mut self, changes: &mut ChangeSet) {
        self.reserved = self.last.get().max(self.given);
        self.record(self.last, changes);
    }

    /// Takes note of a commit that returned.
    pub(super) fn committed(&mut self, version: Version, durability: Durability) {
        // A commit without a version changed no record: all records are as safe as they were.
        self.durability = if version == self.last { self.durability.max(durability) } else { durability };
        self.last = version;
        self.given = self.given.max(version.get());
    }
}

/// The wall clock in microseconds.
fn micros(clock: &dyn Clock) -> u64 {
    let now = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2)
}

/// The version of the view that a snapshot shows.
pub(super) fn version_of(snapshot: &impl Snapshot) -> Result<Version> {
    let row = snapshot.get(Space::System, KEY)?.ok_or_else(corrupt)?;
    Ok(decode(&row)?.last)
}

/// The version of the present view, if it can be told without waiting for a disk.
pub(super) fn version_cached(store: &impl Store) -> Result<Option<Version>> {
    match store.get_cached(Space::System, KEY)? {
        Cached::Hit(row) => Ok(Some(decode(&row.ok_or_else(corrupt)?)?.last)),
        Cached::Miss => Ok(None),
    }
}

/// What the row says.
#[derive(Debug)]
struct Kept {
    last: Version,
    reserved: u64,
    /// The latest of the engine's time, in milliseconds; 0 in a row without it.
    time: u64,
}

fn encode(kept: &Kept) -> Bytes {
    let mut row = seal::row(25);
    row.put_u8(TAG);
    row.put_u64(kept.last.get());
    row.put_u64(kept.reserved);
    row.put_u64(kept.time);
    seal::seal(KEY, row)
}

fn decode(row: &Bytes) -> Result<Kept> {
    let body = seal::open(KEY, row).ok_or_else(corrupt)?;
    let (tag, numbers) = body.split_first().ok_or_else(corrupt)?;
    let (numbers, rest) = numbers.as_chunks::<8>();
    let (last, reserved, time) = match (tag, numbers, rest) {
        (&TAG, [last, reserved, time], []) => (last, reserved, u64::from_be_bytes(*time)),
        (&TIMELESS_TAG, [last, reserved], []) => (last, reserved, 0),
        // The checksum is right, so it was written as it is (C13).
        (newer, ..) if *newer > TAG => {
            return Err(Error::new(ErrorKind::Unsupported, "data was written by a newer version of FlareDB")
                .with("line_format", newer)
                .with("known", TAG));
        }
        _ => return Err(corrupt()),
    };
    let last = Version::new(u64::from_be_bytes(*last)).ok_or_else(corrupt)?;
    Ok(Kept { last, reserved: u64::from_be_bytes(*reserved), time })
}

fn end_of_line() -> Error {
    Error::new(ErrorKind::Exhausted, "the line of versions is at its end")
}

fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "stored version line failed validation")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use parking_lot::Mutex;

    use super::*;
    use crate::{ManualClock, Metric, Rows, Span, StoreInfo};

    const INFO: StoreInfo = StoreInfo { name: "one-row", format: 1, best_durability: Durability::Synced };

    /// Holds the line's row alone: as the process sees it, and as a power cut leaves it.
    #[derive(Debug, Default)]
    struct OneRow {
        row: Mutex<Option<Bytes>>,
        safe: Mutex<Option<Bytes>>,
    }

    impl Store for OneRow {
        type Snapshot<'a> = NoSnapshot;

        fn info(&self) -> &StoreInfo {
            &INFO
        }

        fn metrics(&self) -> Vec<Metric> {
            Vec::new()
        }

        fn get(&self, _space: Space, _key: &[u8]) -> Result<Option<Bytes>> {
            Ok(self.row.lock().clone())
        }

        fn get_cached(&self, _space: Space, _key: &[u8]) -> Result<Cached> {
            Ok(Cached::Miss)
        }

        fn snapshot(&self) -> Result<NoSnapshot> {
            Err(Error::new(ErrorKind::Unsupported, "no snapshots here"))
        }

        fn commit(&self, changes: ChangeSet, durability: Durability) -> Result<Durability> {
            for change in changes {
                self.row.lock().clone_from(&change.value);
                if durability == Durability::Synced {
                    self.safe.lock().clone_from(&change.value);
                }
            }
            Ok(durability)
        }
    }

    struct NoSnapshot;

    impl Snapshot for NoSnapshot {
        fn get(&self, _space: Space, _key: &[u8]) -> Result<Option<Bytes>> {
            Err(Error::new(ErrorKind::Unsupported, "no snapshots here"))
        }

        fn scan(&self, _space: Space, _span: &Span, _reverse: bool) -> Result<Rows<'_>> {
            Err(Error::new(ErrorKind::Unsupported, "no snapshots here"))
        }
    }

    impl OneRow {
        fn after_power_cut(&self) -> Self {
            let safe = self.safe.lock().clone();
            Self { row: Mutex::new(safe.clone()), safe: Mutex::new(safe) }
        }
    }

    fn commit_one(line: &mut VersionLine, store: &OneRow, level: Durability) -> Version {
        let version = line.next(line.last).unwrap();
        let mut level = level;
        if line.needs_block(version) {
            line.reserve_behind(version.get()).unwrap();
            level = Durability::Synced;
        }
        let mut changes = ChangeSet::new();
        line.record(version, &mut changes);
        let reached = store.commit(changes, level).unwrap();
        line.committed(version, reached);
        version
    }

    #[test]
    fn versions_that_a_power_cut_took_away_are_not_given_again_even_with_the_clock_set_back() {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_000));
        let store = OneRow::default();
        let mut line = VersionLine::open(&store, &clock).unwrap();
        let first = line.last;
        assert_eq!(first.get(), 1_000_000_000);
        let seen = (0..10).map(|_| commit_one(&mut line, &store, Durability::Process)).max().unwrap();
        assert_eq!(seen.get(), line.life.get() + 10);
        assert_eq!(line.durability, Durability::Process);

        clock.set_wall(SystemTime::UNIX_EPOCH);
        let store = store.after_power_cut();
        let mut line = VersionLine::open(&store, &clock).unwrap();
        assert_eq!(line.last, first, "the view is the one that the power cut left");
        assert!(commit_one(&mut line, &store, Durability::Process) > seen);
    }

    #[test]
    fn first_version_behind_the_block_is_made_power_safe() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let store = OneRow::default();
        let mut line = VersionLine::open(&store, &clock).unwrap();
        line.committed(Version::new(line.reserved).unwrap(), Durability::Process);
        let seen = commit_one(&mut line, &store, Durability::Process);
        assert_eq!(line.durability, Durability::Synced);
        let further = commit_one(&mut line, &store, Durability::Process);
        assert!(further > seen);
        let store = store.after_power_cut();
        let mut line = VersionLine::open(&store, &clock).unwrap();
        assert_eq!(line.last, seen);
        assert!(commit_one(&mut line, &store, Durability::Process) > further);
    }

    #[test]
    fn orderly_end_gives_the_block_back_but_nothing_that_was_seen() {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_000));
        let store = OneRow::default();
        let mut line = VersionLine::open(&store, &clock).unwrap();
        let seen = commit_one(&mut line, &store, Durability::Process);
        let end = |line: &mut VersionLine, store: &OneRow| {
            let mut changes = ChangeSet::new();
            line.give_back(&mut changes);
            store.commit(changes, Durability::Synced).unwrap();
        };
        end(&mut line, &store);
        let mut line = VersionLine::open(&store, &clock).unwrap();
        assert_eq!(line.last, seen);
        assert_eq!(line.life.get(), seen.get() + 1);
        assert_eq!(line.next(line.last).unwrap().get(), seen.get() + 2);

        // After a crash the block may have been seen; an opening without a commit gives none of it back.
        commit_one(&mut line, &store, Durability::Process);
        let seen = line.reserved;
        let mut line = VersionLine::open(&store, &clock).unwrap();
        end(&mut line, &store);
        let line = VersionLine::open(&store, &clock).unwrap();
        assert!(line.next(line.last).unwrap().get() > seen);
    }

    #[test]
    fn time_of_the_last_commit_goes_on_over_a_restart_and_an_older_row_has_none() {
        let start = UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = ManualClock::new(start);
        let store = OneRow::default();
        let mut line = VersionLine::open(&store, &clock).unwrap();
        clock.advance(Duration::from_secs(5));
        assert_eq!(line.time.now(&clock).reached, 1_005_000);
        commit_one(&mut line, &store, Durability::Process);
        clock.set_wall(UNIX_EPOCH);
        assert_eq!(VersionLine::open(&store, &clock).unwrap().time.latest(), 1_005_000);
        clock.set_wall(start + Duration::from_secs(6));
        assert_eq!(VersionLine::open(&store, &clock).unwrap().time.latest(), 1_006_000);

        let row = store.row.lock().clone().unwrap();
        let body = [&[TIMELESS_TAG], &row[5..21]].concat();
        *store.row.lock() = Some(seal::sealed(KEY, &body));
        clock.set_wall(UNIX_EPOCH);
        let reopened = VersionLine::open(&store, &clock).unwrap();
        assert_eq!((reopened.time.latest(), reopened.last), (0, line.last));
    }

    #[test]
    fn no_two_openings_have_one_life_and_no_number_is_taken_twice_even_where_nothing_is_written() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let mut store = OneRow::default();
        let mut seen = Vec::new();
        for round in 0..30 {
            let mut line = VersionLine::open(&store, &clock).unwrap();
            seen.push(line.life.get());
            if round % 2 == 1 {
                seen.push(line.take(line.last).unwrap().get());
            }
            if round % 3 == 1 {
                let mut changes = ChangeSet::new();
                line.give_back(&mut changes);
                store.commit(changes, Durability::Synced).unwrap();
            } else {
                store = store.after_power_cut();
            }
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    }

    #[test]
    fn line_of_a_newer_version_is_refused_as_what_it_is() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let store = OneRow::default();
        VersionLine::open(&store, &clock).unwrap();
        let row = store.row.lock().clone().unwrap();
        let body = [&[TAG + 1], &row[5..], b"and more"].concat();
        *store.row.lock() = Some(seal::sealed(KEY, &body));
        let error = VersionLine::open(&store, &clock).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("newer version"), "{error}");
    }

    #[test]
    fn damaged_line_is_corrupt() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let store = OneRow::default();
        VersionLine::open(&store, &clock).unwrap();
        let good = store.row.lock().clone().unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            *store.row.lock() = Some(bad.into());
            assert_eq!(
                VersionLine::open(&store, &clock).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "bit {bit}"
            );
        }
    }
}
