use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measurement::{Bucket, Latency};

/// What is shorter counts as this.
const SHORTEST_NS: u64 = 32;
/// What is longer counts as this.
const LONGEST_NS: u64 = 1_000_000_000_000;

/// How long things took, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    histogram: Histogram<u32>,
}

impl Times {
    pub(crate) fn new() -> Self {
        // Fails only for bounds that make no sense.
        let histogram = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, 3)
            .unwrap_or_else(|error| unreachable!("{error}"));
        Self { histogram }
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        self.histogram.add(&other.histogram).unwrap_or_else(|error| unreachable!("{error}"));
    }

    pub(crate) fn latency(&self) -> Latency {
        let times = &self.histogram;
        if times.is_empty() {
            return Latency::default();
        }
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        let at = |quantile| micros(times.value_at_quantile(quantile).min(times.max()));
        let buckets = times.iter_recorded().map(|bucket| Bucket {
            up_to_ns: bucket.value_iterated_to(),
            count: bucket.count_since_last_iteration(),
        });
        Latency {
            min_us: micros(times.min()),
            mean_us: times.mean() / 1_000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: micros(times.max()),
            buckets: buckets.collect(),
        }
    }
}
