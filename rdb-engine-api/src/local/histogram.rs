//! How many observations were how large, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::MetricValue;

/// Observations of whole numbers. Counting one is two additions; bounds are few and looked for by halving.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Box<[u64]>,
    /// One more than bounds: the last counts what is beyond them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Each bound is the one before times `factor`.
    pub(super) fn exponential(first: u64, factor: u64, len: usize) -> Self {
        let bounds = std::iter::successors(Some(first), |bound| Some(bound.saturating_mul(factor))).take(len);
        Self {
            bounds: bounds.collect(),
            counts: (0..=len).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Of times in nanoseconds: from a microsecond, by doubling, to 8 seconds.
    pub(super) fn of_times() -> Self {
        Self::exponential(1_000, 2, 24)
    }

    pub(super) fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was observed so far, in units of which one is `unit` of the numbers observed.
    pub(super) fn value(&self, unit: f64) -> MetricValue {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / unit).chain([f64::INFINITY]);
        MetricValue::Histogram {
            // From the buckets, so that it agrees with them whatever is observed meanwhile.
            count: counts.iter().sum(),
            buckets: bounds.zip(counts).collect(),
            sum: self.sum.load(Ordering::Relaxed) as f64 / unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_counted_under_the_first_bound_that_holds_it() {
        let histogram = Histogram::exponential(10, 10, 2);
        for value in [0, 10, 11, 100, 101, 5_000] {
            histogram.observe(value);
        }
        let expected = MetricValue::Histogram {
            buckets: vec![(1.0, 2), (10.0, 2), (f64::INFINITY, 2)],
            sum: 522.2,
            count: 6,
        };
        assert_eq!(histogram.value(10.0), expected);
    }

    #[test]
    fn times_are_shown_in_seconds_with_round_bounds() {
        let histogram = Histogram::of_times();
        histogram.observe_time(Duration::from_millis(1_500));
        let MetricValue::Histogram { buckets, sum, count } = histogram.value(1e9) else { panic!() };
        assert_eq!((sum, count), (1.5, 1));
        assert_eq!((buckets[0].0, buckets[10].0, buckets[23].0), (0.000_001, 0.001_024, 8.388_608));
    }
}
