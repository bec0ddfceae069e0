use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Distribution, Keys, Workload};

/// What a run does. [`Settings::new`] gives the sizes of the project's targets: 100,000 records with keys of
/// 16 bytes and values of 100, 64 callers, 5 seconds after one to warm up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What is asked.
    pub workload: Workload,
    /// How many records there are before it begins.
    pub records: u64,
    /// With what every key begins.
    pub prefix: String,
    /// How long each key is, its prefix included.
    pub key_bytes: usize,
    /// How long each value is.
    pub value_bytes: usize,
    /// How the records are chosen.
    pub distribution: Distribution,
    /// The most records of one scan. Those of workload E are uniformly between one and this; others are this.
    pub scan_records: u64,
    /// How many records one batch of a load, or one read of many keys, has.
    pub batch_records: usize,
    /// How many callers ask at once.
    pub callers: usize,
    /// How many requests each caller has under way at once.
    pub outstanding: usize,
    /// Operations a second of an open loop; none for a closed loop, in which each answer is followed by the
    /// next request.
    pub rate: Option<f64>,
    /// For how long it goes on before anything is counted.
    #[serde(with = "millis", rename = "warm_up_ms")]
    pub warm_up: Duration,
    /// For how long it is measured.
    #[serde(with = "millis", rename = "time_ms")]
    pub time: Duration,
    /// How many operations are measured, where that comes first.
    pub operations: Option<u64>,
    /// What all randomness follows from.
    pub seed: u64,
}

impl Settings {
    /// The workload at the usual sizes.
    pub fn new(workload: Workload) -> Self {
        Self {
            workload,
            records: 100_000,
            prefix: "bench/".to_owned(),
            key_bytes: 16,
            value_bytes: 100,
            distribution: workload.distribution(),
            scan_records: 100,
            batch_records: if matches!(workload, Workload::GetMany) { 100 } else { 1_000 },
            callers: 64,
            outstanding: 1,
            rate: None,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(5),
            operations: None,
            seed: 1,
        }
    }

    /// The keys of the records.
    ///
    /// # Errors
    /// Where the keys are too short for the prefix and so many records.
    pub fn keys(&self) -> crate::Result<Keys> {
        Keys::new(&self.prefix, self.key_bytes, self.records)
    }

    /// How many records one batch really has: no more than fit in the messages of most stores.
    pub(crate) fn batch(&self) -> usize {
        const MOST_BYTES: usize = 2 << 20;
        self.batch_records.min(MOST_BYTES / (self.key_bytes + self.value_bytes).max(1)).max(1)
    }

    /// Finds what makes no sense, before anything is asked.
    ///
    /// # Errors
    /// Says what it is.
    pub fn check(&self) -> crate::Result<()> {
        if self.callers == 0 || self.outstanding == 0 {
            return Err("without callers nothing is asked".to_owned());
        }
        if self.workload.needs_records() && self.records == 0 {
            return Err(format!("workload {} needs records", self.workload));
        }
        if self.workload == Workload::Cas && self.records < self.in_flight() as u64 {
            return Err(format!(
                "each caller needs a record of its own: {} records, {} requests at once",
                self.records,
                self.in_flight()
            ));
        }
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => Err(format!("a rate of {rate} is none")),
            _ => self.keys().map(drop),
        }
    }

    /// How many requests are under way at once.
    pub fn in_flight(&self) -> usize {
        self.callers.saturating_mul(self.outstanding)
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
