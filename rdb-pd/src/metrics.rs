use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rdb_proto::pd::v1::StoreState;

/// What an oracle counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct OracleMetrics {
    pub(crate) timestamps: Counter,
    pub(crate) extensions: Counter,
    pub(crate) failures: Counter,
    pub(crate) ahead_seconds: Gauge<f64, AtomicU64>,
}

/// What a placement driver counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) oracle: OracleMetrics,
    pub(crate) ids: Counter,
    pub(crate) heartbeats: Counter,
    pub(crate) registrations: Counter,
    stores: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl Metrics {
    /// Registers all of it in the process's registry, which brings the prefix `flaredb`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("pd");
        let oracle = &self.oracle;
        let counters = [
            ("timestamps", "Timestamps given", &oracle.timestamps),
            ("timestamp_window_extensions", "Extensions of the window of timestamps", &oracle.extensions),
            ("timestamp_window_failures", "Extensions of the window that failed", &oracle.failures),
            ("ids", "Ids given", &self.ids),
            ("heartbeats", "Heartbeats of stores that are known", &self.heartbeats),
            ("registrations", "Registrations of stores, new ones and known ones", &self.registrations),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register_with_unit(
            "timestamps_ahead",
            "How far the next timestamp is ahead of the clock",
            Unit::Seconds,
            oracle.ahead_seconds.clone(),
        );
        self.set_stores([]);
        registry.register("stores", "Stores by state", self.stores.clone());
    }

    /// How many stores there are in each state.
    pub(crate) fn set_stores(&self, states: impl IntoIterator<Item = StoreState>) {
        let known = [
            (StoreState::Up, "up"),
            (StoreState::Leaving, "leaving"),
            (StoreState::EngineClosed, "engine_closed"),
            (StoreState::Silent, "silent"),
            (StoreState::Replaced, "replaced"),
        ];
        let states: Vec<_> = states.into_iter().collect();
        for (state, name) in known {
            let count = states.iter().filter(|other| **other == state).count();
            self.stores.get_or_create(&[("state", name)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
