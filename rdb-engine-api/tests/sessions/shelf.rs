//! A store in memory that crashes, fails and stands still on demand.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rdb_engine_api::{
    Cached, ChangeSet, Durability, Error, ErrorKind, Metric, Result, Row, Rows, Snapshot, Space, Span, Store,
    StoreInfo,
};

const INFO: StoreInfo = StoreInfo { name: "shelf", format: 1, best_durability: Durability::Synced };

type Rowset = BTreeMap<Bytes, Bytes>;

/// Shared by its clones, so that it outlives the engine that it is given to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Debug, Default)]
struct State {
    now: [Rowset; 2],
    /// What a power cut leaves.
    synced: [Rowset; 2],
    failing: Option<Failing>,
    held: bool,
    commits: usize,
}

/// What becomes of a commit that is reported as failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failing {
    Applied,
    Lost,
}

fn place(space: Space) -> usize {
    match space {
        Space::Data => 0,
        Space::System => 1,
    }
}

impl Shelf {
    /// The rows as a process leaves them that is killed now.
    pub(crate) fn after_crash(&self) -> Self {
        let state = self.inner.state.lock();
        Self::with(State { now: state.now.clone(), synced: state.synced.clone(), ..State::default() })
    }

    /// The rows as a power cut leaves them.
    pub(crate) fn after_power_cut(&self) -> Self {
        let state = self.inner.state.lock();
        Self::with(State { now: state.synced.clone(), synced: state.synced.clone(), ..State::default() })
    }

    fn with(state: State) -> Self {
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Lets the next commit to begin fail.
    pub(crate) fn fail(&self, failing: Failing) {
        self.inner.state.lock().failing = Some(failing);
    }

    /// Lets commits wait until they are [released](Self::release).
    pub(crate) fn hold(&self) {
        self.inner.state.lock().held = true;
    }

    pub(crate) fn release(&self) {
        self.inner.state.lock().held = false;
        self.inner.changed.notify_all();
    }

    pub(crate) fn commits(&self) -> usize {
        self.inner.state.lock().commits
    }

    /// The rows of the system's keyspace that begin with this byte.
    pub(crate) fn system_rows(&self, first: u8) -> usize {
        self.inner.state.lock().now[1].keys().filter(|key| key[0] == first).count()
    }

    /// Flips a bit in each such row.
    pub(crate) fn damage_system_rows(&self, first: u8) {
        for (key, row) in &mut self.inner.state.lock().now[1] {
            if key[0] == first {
                let mut bad = row.to_vec();
                *bad.last_mut().unwrap() ^= 1;
                *row = bad.into();
            }
        }
    }
}

impl Store for Shelf {
    type Snapshot<'a> = View;

    fn info(&self) -> &StoreInfo {
        &INFO
    }

    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.inner.state.lock().now[place(space)].get(key).cloned())
    }

    fn get_cached(&self, space: Space, key: &[u8]) -> Result<Cached> {
        self.get(space, key).map(Cached::Hit)
    }

    fn snapshot(&self) -> Result<View> {
        Ok(View(self.inner.state.lock().now.clone()))
    }

    fn commit(&self, changes: ChangeSet, durability: Durability) -> Result<Durability> {
        let mut state = self.inner.state.lock();
        state.commits += 1;
        let failing = state.failing.take();
        while state.held {
            self.inner.changed.wait(&mut state);
        }
        if !matches!(failing, Some(Failing::Lost)) {
            let mut seen = std::collections::HashSet::new();
            for change in changes {
                assert!(seen.insert((change.space, change.key.clone())), "a key twice: {change:?}");
                let rows = &mut state.now[place(change.space)];
                match change.value {
                    Some(value) => rows.insert(change.key, value),
                    None => rows.remove(&change.key),
                };
            }
            if durability == Durability::Synced {
                state.synced = state.now.clone();
            }
        }
        match failing {
            None => Ok(durability),
            Some(_) => Err(Error::new(ErrorKind::Unavailable, "the shelf broke")),
        }
    }
}

pub(crate) struct View([Rowset; 2]);

impl Snapshot for View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0[place(space)].get(key).cloned())
    }

    fn scan(&self, space: Space, span: &Span, reverse: bool) -> Result<Rows<'_>> {
        let end = span.end.clone();
        let rows = self.0[place(space)].range(span.start.clone()..);
        let rows = rows.filter(move |(key, _)| end.as_ref().is_none_or(|end| *key < end));
        let row = |(key, value): (&Bytes, &Bytes)| Ok(Row { key: key.clone(), value: value.clone() });
        Ok(if reverse { Box::new(rows.rev().map(row)) } else { Box::new(rows.map(row)) })
    }
}
