use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use imbl::OrdMap;
use rdb_engine_api::{
    Cached, ChangeSet, Durability, Metric, MetricUnit, MetricValue, Result, Row, Rows, Snapshot, Space, Span,
    Store, StoreInfo,
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
    /// Bytes of the keys and values of both.
    bytes: usize,
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

    fn metrics(&self) -> Vec<Metric> {
        let state = self.state.load();
        let bytes = MetricValue::Gauge(state.bytes as f64);
        vec![
            Metric::gauge("mem_records", "Records in memory", state.data.len() as f64),
            Metric::new("mem_size", "Bytes of keys and values in memory, without what holds them", bytes)
                .in_unit(MetricUnit::Bytes),
        ]
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
            let added = change.value.as_ref().map_or(0, |value| change.key.len() + value.len());
            let replaced = match change.value {
                // The key may be a slice of a request's buffer, which must not be kept for its sake.
                Some(value) => rows.insert(Bytes::copy_from_slice(&change.key), value),
                None => rows.remove(&change.key),
            };
            let removed = replaced.map_or(0, |value| change.key.len() + value.len());
            state.bytes = state.bytes + added - removed;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_that_of_the_keys_and_values_there_are() {
        let store = MemStore::new();
        let change = |key: &'static str, value: Option<&'static str>| {
            let mut changes = ChangeSet::new();
            changes.push(Space::Data, Bytes::from_static(key.as_bytes()), value.map(Bytes::from));
            store.commit(changes, Durability::Volatile).unwrap();
            store.metrics().into_iter().map(|metric| metric.value).collect::<Vec<_>>()
        };
        let expected = |records: f64, bytes: f64| [MetricValue::Gauge(records), MetricValue::Gauge(bytes)];
        assert_eq!(change("key", Some("long value")), expected(1.0, 13.0));
        assert_eq!(change("key", Some("value")), expected(1.0, 8.0));
        assert_eq!(change("other", Some("")), expected(2.0, 13.0));
        assert_eq!(change("absent", None), expected(2.0, 13.0));
        assert_eq!(change("key", None), expected(1.0, 5.0));
    }
}
