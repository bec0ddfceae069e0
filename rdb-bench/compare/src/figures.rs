use rdb_bench::{Latency, Measurement};
use serde::{Deserialize, Serialize};

/// What one measurement of one side gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Operations, or records, by the second: those that did what they were for.
    pub(crate) per_second: f64,
    /// How long an operation took, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Percentiles>,
    /// Compare-and-swaps that met another version.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) conflicts: u64,
    /// All that the library's runner has to tell, for its report.
    #[serde(skip)]
    pub(crate) measurement: Option<Box<Measurement>>,
}

/// Latencies in microseconds; those that a rival does not tell are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// Half took no longer.
    pub(crate) p50_us: f64,
    /// Nine of ten took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p90_us: Option<f64>,
    /// 99 of a hundred took no longer.
    pub(crate) p99_us: f64,
    /// 999 of a thousand took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99_9_us: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Figures {
    /// A rate alone.
    pub(crate) const fn rate(per_second: f64) -> Self {
        Self { per_second, latency: None, conflicts: 0, measurement: None }
    }
}

impl From<&Measurement> for Figures {
    fn from(measured: &Measurement) -> Self {
        Self {
            per_second: measured.per_second,
            latency: Some((&measured.latency).into()),
            conflicts: measured.conflicts,
            measurement: Some(Box::new(measured.clone())),
        }
    }
}

impl From<&Latency> for Percentiles {
    fn from(latency: &Latency) -> Self {
        let Latency { p50_us, p90_us, p99_us, p99_9_us, .. } = *latency;
        Self { p50_us, p90_us: Some(p90_us), p99_us, p99_9_us: Some(p99_9_us) }
    }
}
