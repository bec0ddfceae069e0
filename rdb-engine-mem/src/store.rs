use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use imbl::OrdMap;
use rdb_engine_api::{
    Cached, ChangeSet, Durability, Result, Row, Rows, Snapshot, Space, Span, Store, StoreInfo,
};

const INFO: StoreInfo = StoreInfo { name: "mem", format: 1, best_durability: Durability::Volatile };

/// Rows in memory.
#[derive(Debug, Default)]
pub struct MemStore {
    /// Replaced as a whole by every commit; never changed in place.
    state: ArcSwap<State>,
}

#[derive(Clone, Default)]
struct State {
    data: OrdMap<Bytes, Bytes>,
    system: OrdMap<Bytes, Bytes>,
}

/// Rows are user data: only their number is shown.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("data_rows", &self.data.len()).finish_non_exhaustive()
    }
}

impl State {
    fn space(&self, space: Space) -> &OrdMap<Bytes, Bytes> {
        match space {
            Space::Data => &self.data,
            Space::System => &self.system,
        }
    }

    fn space_mut(&mut self, space: Space) -> &mut OrdMap<Bytes, Bytes> {
        match space {
            Space::Data => &mut self.data,
            Space::System => &mut self.system,
        }
    }
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemStore {
    type Snapshot<'a> = MemSnapshot;

    fn info(&self) -> &StoreInfo {
        &INFO
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.state.load().space(space).get(key).cloned())
    }

    fn get_cached(&self, space: Space, key: &[u8]) -> Result<Cached> {
        self.get(space, key).map(Cached::Hit)
    }

    fn snapshot(&self) -> Result<MemSnapshot> {
        Ok(MemSnapshot { state: self.state.load_full() })
    }

    fn commit(&self, changes: ChangeSet, _durability: Durability) -> Result<Durability> {
        let mut state = State::clone(&self.state.load());
        for change in changes {
            let rows = state.space_mut(change.space);
            match change.value {
                // The key may be a slice of a request's buffer, which must not be kept for its sake.
                Some(value) => rows.insert(Bytes::copy_from_slice(&change.key), value),
                None => rows.remove(&change.key),
            };
        }
        self.state.store(Arc::new(state));
        Ok(Durability::Volatile)
    }
}

/// The rows as of one commit.
#[derive(Debug)]
pub struct MemSnapshot {
    state: Arc<State>,
}

impl Snapshot for MemSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.state.space(space).get(key).cloned())
    }

    fn scan(&self, space: Space, span: &Span, reverse: bool) -> Result<Rows<'_>> {
        let end = span.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(&span.start), end);
        let rows = self.state.space(space).range::<_, [u8]>(bounds);
        let row = |(key, value): (&Bytes, &Bytes)| Ok(Row { key: key.clone(), value: value.clone() });
        Ok(if reverse { Box::new(rows.rev().map(row)) } else { Box::new(rows.map(row)) })
    }
}
