use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Kind, Settings, TargetInfo};

/// What a run measured, with all that is needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured.
    pub target: TargetInfo,
    /// What was asked of it.
    pub settings: Settings,
    /// For how long it was measured.
    pub elapsed_s: f64,
    /// Whether it was stopped before its time.
    pub stopped: bool,
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations that succeeded, a second.
    pub per_second: f64,
    /// Records that they read or wrote, a second.
    pub records_per_second: f64,
    /// Operations that failed, or had not been answered when the run's patience was over.
    pub errors: u64,
    /// The first errors, to show.
    pub error_texts: Vec<String>,
    /// Records that were read and not there: nothing was fetched for them.
    pub misses: u64,
    /// Compare-and-swaps that met another version.
    pub conflicts: u64,
    /// Of all operations together.
    pub latency: Latency,
    /// Of an open loop: how much later than planned operations began, which their latencies include.
    pub begun_late: Option<Latency>,
    /// Of an open loop: operations that were due and had not begun at the end, which no latency shows. More than
    /// a few say that the target did not keep up with the rate.
    #[serde(default)]
    pub not_begun: u64,
    /// Of each kind of operation.
    pub kinds: BTreeMap<Kind, Figures>,
    /// Operations that succeeded in each second of the measured time, the last one cut short.
    pub each_second: Vec<u64>,
}

/// What was measured of one kind of operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How many succeeded.
    pub operations: u64,
    /// How many failed.
    pub errors: u64,
    /// How many records they read or wrote.
    pub records: u64,
    /// How long those took that succeeded.
    pub latency: Latency,
}

/// How long operations took: percentiles, and the histogram that they are from, to three digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The shortest.
    pub min_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// Half took no longer.
    pub p50_us: f64,
    /// Nine of ten took no longer.
    pub p90_us: f64,
    /// 99 of a hundred took no longer.
    pub p99_us: f64,
    /// 999 of a thousand took no longer.
    pub p99_9_us: f64,
    /// The longest.
    pub max_us: f64,
    /// The raw samples: ascending, without empty ones.
    pub buckets: Vec<Bucket>,
}

/// So many operations took so long; in JSON a pair, as there are many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Bucket {
    /// The longest time that falls into it.
    pub up_to_ns: u64,
    /// How many did.
    pub count: u64,
}

impl From<(u64, u64)> for Bucket {
    fn from((up_to_ns, count): (u64, u64)) -> Self {
        Self { up_to_ns, count }
    }
}

impl From<Bucket> for (u64, u64) {
    fn from(bucket: Bucket) -> Self {
        (bucket.up_to_ns, bucket.count)
    }
}
