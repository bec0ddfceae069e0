use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use rdb_engine_api::{
    Cached, ChangeSet, Durability, Error, ErrorKind, Metric, Result, Row, Rows, Snapshot, Space, Span, Store,
    StoreInfo,
};

/// How long a test waits for a commit to begin before it fails.
const DEADLINE: Duration = Duration::from_secs(20);

type Map = BTreeMap<(bool, Bytes), Bytes>;

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is applied.
    Succeed,
    /// It is not applied, and fails.
    Fail,
    /// It is applied, and fails.
    FailLate,
    /// It panics.
    Panic,
    /// It is applied, and reports a level below the one asked for.
    FallShort,
}

/// A commit that began: how many records it changes, and the level asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) records: usize,
    pub(crate) level: Durability,
}

/// A store in memory whose commits a test can hold, let go, and make fail. Clones are the same store, so
/// that it can be opened again.
#[derive(Clone, Debug)]
pub(crate) struct Double {
    info: StoreInfo,
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// What happens in the midst of a read.
type Event = Box<dyn FnOnce() + Send>;

struct State {
    map: Arc<Map>,
    held: bool,
    /// How many held commits may go on.
    permits: usize,
    fate: Fate,
    begun: Vec<Begun>,
    reads_held: bool,
    /// How many reads are held.
    waiting_reads: usize,
    /// How many records were looked up.
    looked_up: usize,
    reads_fail: bool,
    /// The key of whose record the next look-up is preceded by this.
    event: Option<(Bytes, Event)>,
    /// Whether nothing can be told of records without waiting.
    is_cold: bool,
    /// The records that cannot be read for now.
    stuck: Vec<Bytes>,
    /// How many are being read.
    in_gets: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Double {
    pub(crate) fn new() -> Self {
        let info = StoreInfo { name: "double", format: 1, best_durability: Durability::Synced };
        let state = State {
            map: Arc::default(),
            held: false,
            permits: 0,
            fate: Fate::Succeed,
            begun: Vec::new(),
            reads_held: false,
            waiting_reads: 0,
            looked_up: 0,
            reads_fail: false,
            event: None,
            is_cold: false,
            stuck: Vec::new(),
            in_gets: 0,
        };
        Self { info, shared: Arc::new((Mutex::new(state), Condvar::new())) }
    }

    /// What a crash at this instant leaves, as a store of its own.
    pub(crate) fn crashed(&self) -> Self {
        let crashed = Self::new();
        crashed.shared.0.lock().map = Arc::clone(&self.shared.0.lock().map);
        crashed
    }

    /// Holds every commit from now on, and forgets those until now.
    pub(crate) fn hold(&self) {
        let mut state = self.shared.0.lock();
        state.held = true;
        state.begun.clear();
    }

    /// Holds every snapshot that is taken from now on, or lets all go.
    pub(crate) fn hold_reads(&self, held: bool) {
        self.shared.0.lock().reads_held = held;
        self.shared.1.notify_all();
    }

    /// Waits until so many snapshots are held.
    pub(crate) fn wait_for_reads(&self, count: usize) {
        let mut state = self.shared.0.lock();
        while state.waiting_reads < count {
            let waited = self.shared.1.wait_for(&mut state, DEADLINE);
            assert!(!waited.timed_out(), "read {count} did not begin; {} did", state.waiting_reads);
        }
    }

    /// From now on nothing can be told of records without waiting.
    pub(crate) fn cool_down(&self) {
        self.shared.0.lock().is_cold = true;
    }

    /// Holds whoever reads these records, and lets go of those who read others.
    pub(crate) fn hold_gets(&self, keys: &[&'static str]) {
        self.shared.0.lock().stuck = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        self.shared.1.notify_all();
    }

    /// Waits until so many are held.
    pub(crate) fn wait_for_gets(&self, count: usize) {
        let mut state = self.shared.0.lock();
        while state.in_gets < count {
            let waited = self.shared.1.wait_for(&mut state, DEADLINE);
            assert!(!waited.timed_out(), "read {count} did not begin; {} did", state.in_gets);
        }
    }

    /// How many records were looked up so far.
    pub(crate) fn looked_up(&self) -> usize {
        self.shared.0.lock().looked_up
    }

    /// Makes every snapshot fail from now on, or no more.
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.shared.0.lock().reads_fail = fail;
    }

    /// Lets something happen just before the record of a key is looked up the next time.
    pub(crate) fn before_look_up(&self, key: &'static str, event: impl FnOnce() + Send + 'static) {
        self.shared.0.lock().event = Some((Bytes::from_static(key.as_bytes()), Box::new(event)));
    }

    /// The keys of FlareDB's own rows that begin with these bytes.
    pub(crate) fn system_keys(&self, prefix: &[u8]) -> Vec<Bytes> {
        let map = Arc::clone(&self.shared.0.lock().map);
        let keys = map.keys().filter(|(is_system, key)| *is_system && key.starts_with(prefix));
        keys.map(|(_, key)| key.clone()).collect()
    }

    /// Changes a row behind the engine's back.
    pub(crate) fn tamper(&self, space: Space, key: &[u8], change: impl FnOnce(Option<Bytes>) -> Bytes) {
        let mut state = self.shared.0.lock();
        let key = row_key(space, key);
        let row = change(state.map.get(&key).cloned());
        Arc::make_mut(&mut state.map).insert(key, row);
    }

    /// Lets one held commit go on to its fate.
    pub(crate) fn let_one_go(&self, fate: Fate) {
        let mut state = self.shared.0.lock();
        state.fate = fate;
        state.permits += 1;
        self.shared.1.notify_all();
    }

    /// Holds no commit any more.
    pub(crate) fn let_all_go(&self) {
        self.shared.0.lock().held = false;
        self.shared.1.notify_all();
    }

    /// Waits until so many commits have begun since [`hold`](Self::hold); returns them.
    pub(crate) fn wait_for_commits(&self, count: usize) -> Vec<Begun> {
        let mut state = self.shared.0.lock();
        while state.begun.len() < count {
            let waited = self.shared.1.wait_for(&mut state, DEADLINE);
            assert!(!waited.timed_out(), "commit {count} did not begin; begun are {:?}", state.begun);
        }
        state.begun.clone()
    }

    pub(crate) fn commits(&self) -> Vec<Begun> {
        self.shared.0.lock().begun.clone()
    }
}

fn row_key(space: Space, key: &[u8]) -> (bool, Bytes) {
    (space == Space::System, Bytes::copy_from_slice(key))
}

impl Store for Double {
    type Snapshot<'a> = View;

    fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let (state, signal) = &*self.shared;
        let mut state = state.lock();
        if let Some((_, event)) = state.event.take_if(|(at, _)| space == Space::Data && at == key) {
            MutexGuard::unlocked(&mut state, event);
        }
        state.looked_up += usize::from(space == Space::Data);
        state.in_gets += 1;
        signal.notify_all();
        while space == Space::Data && state.stuck.iter().any(|stuck| stuck == key) {
            signal.wait(&mut state);
        }
        state.in_gets -= 1;
        Ok(state.map.get(&row_key(space, key)).cloned())
    }

    fn get_cached(&self, space: Space, key: &[u8]) -> Result<Cached> {
        if space == Space::Data && self.shared.0.lock().is_cold {
            return Ok(Cached::Miss);
        }
        self.get(space, key).map(Cached::Hit)
    }

    fn snapshot(&self) -> Result<View> {
        let (state, signal) = &*self.shared;
        let mut state = state.lock();
        state.waiting_reads += 1;
        signal.notify_all();
        while state.reads_held {
            signal.wait(&mut state);
        }
        state.waiting_reads -= 1;
        if state.reads_fail {
            return Err(Error::new(ErrorKind::Unavailable, "the disk does not answer"));
        }
        Ok(View(Arc::clone(&state.map)))
    }

    fn commit(&self, changes: ChangeSet, durability: Durability) -> Result<Durability> {
        let (state, signal) = &*self.shared;
        let mut state = state.lock();
        let records = changes.iter().filter(|change| change.space == Space::Data).count();
        state.begun.push(Begun { records, level: durability });
        signal.notify_all();
        while state.held && state.permits == 0 {
            signal.wait(&mut state);
        }
        state.permits = state.permits.saturating_sub(1);
        let fate = std::mem::replace(&mut state.fate, Fate::Succeed);
        let failure = || Error::new(ErrorKind::Unavailable, "the disk is gone");
        match fate {
            Fate::Fail => return Err(failure()),
            Fate::Panic => panic!("the store has a bug"),
            Fate::Succeed | Fate::FailLate | Fate::FallShort => {}
        }
        let map = Arc::make_mut(&mut state.map);
        for change in changes {
            let key = row_key(change.space, &change.key);
            match change.value {
                Some(value) => drop(map.insert(key, value)),
                None => drop(map.remove(&key)),
            }
        }
        match fate {
            Fate::FailLate => Err(failure()),
            Fate::FallShort => Ok(Durability::Volatile),
            _ => Ok(durability),
        }
    }
}

/// The rows at one commit.
#[derive(Debug)]
pub(crate) struct View(Arc<Map>);

impl Snapshot for View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(&row_key(space, key)).cloned())
    }

    fn scan(&self, space: Space, span: &Span, reverse: bool) -> Result<Rows<'_>> {
        let start = Bound::Included(row_key(space, &span.start));
        let end = match &span.end {
            Some(end) => Bound::Excluded(row_key(space, end)),
            None if space == Space::Data => Bound::Excluded((true, Bytes::new())),
            None => Bound::Unbounded,
        };
        let rows = self.0.range((start, end));
        let rows = rows.map(|((_, key), value)| Ok(Row { key: key.clone(), value: value.clone() }));
        Ok(if reverse { Box::new(rows.rev()) } else { Box::new(rows) })
    }
}
