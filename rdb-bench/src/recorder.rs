use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Kind;
use crate::measurement::{Bucket, Latency};

/// What is shorter counts as this, and the unit of the shortest times.
const SHORTEST_NS: u64 = 1;
/// What is longer counts as this.
const LONGEST_NS: u64 = 1_000_000_000_000;
/// How many errors are kept to show.
const ERROR_TEXTS: usize = 3;

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

/// What an operation did, besides taking time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Records read or written.
    pub(crate) records: u64,
    /// Records read that were not there.
    pub(crate) misses: u64,
}

/// What one caller measured. Each caller has its own, so that callers do not wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// By kind, of those that occurred.
    pub(crate) kinds: [Option<Box<OfKind>>; Kind::ALL.len()],
    /// How late operations of an open loop began.
    pub(crate) late: Option<Box<Times>>,
    pub(crate) each_second: Vec<u64>,
    /// When the last one was answered, since the measured time began.
    pub(crate) last: Duration,
    /// All that were answered, the warm-up included.
    pub(crate) answered: u64,
    pub(crate) conflicts: u64,
    pub(crate) error_texts: Vec<String>,
    /// Lines that have come to their end.
    pub(crate) lines_ended: usize,
}

/// What was measured of one kind of operation.
#[derive(Debug)]
pub(crate) struct OfKind {
    pub(crate) times: Times,
    pub(crate) errors: u64,
    pub(crate) done: Done,
}

impl Recorder {
    /// Notes an operation of the measured time: how long it took, and when it was answered, since the
    /// measured time began.
    pub(crate) fn record(&mut self, kind: Kind, took: Duration, at: Duration, result: Result<Done, String>) {
        self.last = self.last.max(at);
        let of_kind = self.of(kind);
        match result {
            Ok(done) => {
                of_kind.times.record(took);
                of_kind.done.records += done.records;
                of_kind.done.misses += done.misses;
                let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
                if self.each_second.len() <= second {
                    self.each_second.resize(second + 1, 0);
                }
                self.each_second[second] += 1;
            }
            Err(text) => {
                of_kind.errors += 1;
                self.note(text);
            }
        }
    }

    /// Notes how late an operation began.
    pub(crate) fn began_late(&mut self, by: Duration) {
        self.late.get_or_insert_with(|| Box::new(Times::new())).record(by);
    }

    /// Takes in what another caller measured.
    pub(crate) fn add(&mut self, other: &Self) {
        for kind in Kind::ALL {
            if let Some(theirs) = &other.kinds[kind as usize] {
                let ours = self.of(kind);
                ours.times.add(&theirs.times);
                ours.errors += theirs.errors;
                ours.done.records += theirs.done.records;
                ours.done.misses += theirs.done.misses;
            }
        }
        if let Some(theirs) = &other.late {
            self.late.get_or_insert_with(|| Box::new(Times::new())).add(theirs);
        }
        if self.each_second.len() < other.each_second.len() {
            self.each_second.resize(other.each_second.len(), 0);
        }
        for (ours, theirs) in self.each_second.iter_mut().zip(&other.each_second) {
            *ours += theirs;
        }
        self.last = self.last.max(other.last);
        self.answered += other.answered;
        self.conflicts += other.conflicts;
        self.lines_ended += other.lines_ended;
        other.error_texts.iter().for_each(|text| self.note(text.clone()));
    }

    fn note(&mut self, text: String) {
        if self.error_texts.len() < ERROR_TEXTS && !self.error_texts.contains(&text) {
            self.error_texts.push(text);
        }
    }

    fn of(&mut self, kind: Kind) -> &mut OfKind {
        let empty = || Box::new(OfKind { times: Times::new(), errors: 0, done: Done::default() });
        self.kinds[kind as usize].get_or_insert_with(empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(micros: f64, expected: f64) {
        assert!((micros / expected - 1.0).abs() < 0.002, "{micros}, not {expected}");
    }

    #[test]
    fn percentiles_of_a_known_input_are_right_to_three_digits() {
        let mut times = Times::new();
        (1..=10_000).for_each(|micros| times.record(Duration::from_micros(micros)));
        let latency = times.latency();
        close(latency.min_us, 1.0);
        close(latency.mean_us, 5_000.5);
        close(latency.p50_us, 5_000.0);
        close(latency.p90_us, 9_000.0);
        close(latency.p99_us, 9_900.0);
        close(latency.p99_9_us, 9_990.0);
        close(latency.max_us, 10_000.0);
        assert_eq!(latency.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn what_callers_measured_is_added_up() {
        let mut all = Recorder::default();
        for caller in 0..3_u64 {
            let mut one = Recorder::default();
            let (took, at) = (Duration::from_micros(10), Duration::from_secs(caller));
            one.record(Kind::Get, took, at, Ok(Done { records: 2, misses: 1 }));
            one.record(Kind::Put, took, at, Err(format!("no {}", caller / 2)));
            all.add(&one);
        }
        assert_eq!(all.each_second, [1, 1, 1]);
        assert_eq!(all.error_texts, ["no 0", "no 1"]);
        let of = |kind: Kind| all.kinds[kind as usize].as_ref().unwrap();
        assert_eq!((of(Kind::Get).done.records, of(Kind::Get).done.misses), (6, 3));
        assert_eq!(of(Kind::Put).errors, 3);
        assert!(all.kinds[Kind::Scan as usize].is_none());
    }
}
