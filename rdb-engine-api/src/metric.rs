/// One measurement of an engine, as [`Engine::metrics`](crate::Engine::metrics) answers with many.
///
/// A vocabulary of plain values: what an operator sees of it is the business of whoever serves the engine. A
/// node shows `commit_duration` in [`Seconds`](MetricUnit::Seconds) as `flaredb_engine_commit_duration_seconds`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// What is measured, in lower case with underscores, without the unit, and without `total` for a counter.
    pub name: &'static str,
    /// What the value says, in a few words. The same wherever the name is the same.
    pub help: &'static str,
    /// What the value is measured in. The same wherever the name is the same.
    pub unit: MetricUnit,
    /// Names and values that tell apart measurements of the same name. Few: each value is a series of its own.
    pub labels: Vec<(&'static str, String)>,
    /// What was measured.
    pub value: MetricValue,
}

/// What a measurement counts. Base units, as Prometheus wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricUnit {
    /// Things: the name says which.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds; as a gauge with a name that ends in `timestamp`, since 1970.
    Seconds,
}

/// The value of a measurement.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// A sum that never falls while the engine is open.
    Counter(f64),
    /// A state, which rises and falls. Not a number where there is nothing to be measured.
    Gauge(f64),
    /// How many observations were how large.
    Histogram {
        /// Upper bounds, ascending, each with the number of observations at most as large and larger than
        /// the bound before: not cumulative. The last bound is infinity.
        buckets: Vec<(f64, u64)>,
        /// The sum of all observations.
        sum: f64,
        /// The number of all observations: the sum over the buckets.
        count: u64,
    },
}

impl Metric {
    /// A counter of things.
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::new(name, help, MetricValue::Counter(value as f64))
    }

    /// A gauge of things.
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::new(name, help, MetricValue::Gauge(value))
    }

    /// A measurement of things.
    pub const fn new(name: &'static str, help: &'static str, value: MetricValue) -> Self {
        Self { name, help, unit: MetricUnit::Count, labels: Vec::new(), value }
    }

    /// The same, measured in another unit.
    #[must_use]
    pub fn in_unit(mut self, unit: MetricUnit) -> Self {
        self.unit = unit;
        self
    }

    /// The same, told apart from others of its name.
    #[must_use]
    pub fn with_label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}
