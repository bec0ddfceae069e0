use std::fmt;
use std::str::FromStr;

use rand::Rng;
use rand_distr::{Distribution as _, Zipf};
use serde::{Deserialize, Serialize};

/// YCSB's `ZIPFIAN_CONSTANT`.
const EXPONENT: f64 = 0.99;

/// How records are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Each is as likely as any other.
    Uniform,
    /// The record of rank k is chosen in proportion to k^-0.99, YCSB's constant; popular records are
    /// scattered over the key space, as by its `ScrambledZipfianGenerator`.
    Zipfian,
    /// As zipfian, ranked by age: the record that was inserted last is the most popular one, as by YCSB's
    /// `SkewedLatestGenerator`.
    Latest,
}

impl Distribution {
    /// Every distribution.
    pub const ALL: [Self; 3] = [Self::Uniform, Self::Zipfian, Self::Latest];

    /// The name in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipfian => "zipfian",
            Self::Latest => "latest",
        }
    }
}

/// Chooses records.
///
/// Zipfian ranks are drawn by rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate
/// variates from monotone discrete distributions", 1996), which needs no sum over all records and so lets them
/// grow as it goes. [`Keys`](crate::Keys) scatter the records.
#[derive(Debug)]
pub(crate) struct Chooser {
    distribution: Distribution,
    /// For so many records.
    zipf: Option<(u64, Zipf<f64>)>,
}

impl Chooser {
    pub(crate) const fn new(distribution: Distribution) -> Self {
        Self { distribution, zipf: None }
    }

    /// The number of one of so many records, of which there is at least one.
    pub(crate) fn choose(&mut self, records: u64, random: &mut impl Rng) -> u64 {
        let records = records.max(1);
        match self.distribution {
            Distribution::Uniform => random.random_range(0..records),
            Distribution::Zipfian => self.rank(records, random),
            Distribution::Latest => records - 1 - self.rank(records, random),
        }
    }

    /// Counted from 0.
    fn rank(&mut self, records: u64, random: &mut impl Rng) -> u64 {
        if self.zipf.is_none_or(|(of, _)| of != records) {
            // Fails only for no records or an exponent below zero.
            self.zipf = Zipf::new(records as f64, EXPONENT).ok().map(|zipf| (records, zipf));
        }
        let drawn = self.zipf.as_ref().map_or(1.0, |(_, zipf)| zipf.sample(random));
        (drawn as u64).clamp(1, records) - 1
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|distribution| distribution.name() == name)
            .ok_or_else(|| "unknown distribution; known are uniform, zipfian, latest".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;

    const RECORDS: u64 = 1_000;
    const DRAWN: usize = 500_000;

    fn counts(distribution: Distribution) -> Vec<u64> {
        let mut random = SmallRng::seed_from_u64(7);
        let mut chooser = Chooser::new(distribution);
        let mut counts = vec![0; RECORDS as usize];
        for _ in 0..DRAWN {
            counts[chooser.choose(RECORDS, &mut random) as usize] += 1;
        }
        counts
    }

    /// What part of all choices falls on this rank.
    fn theory(rank: u64) -> f64 {
        let weight = |rank: u64| (rank as f64).powf(-EXPONENT);
        weight(rank) / (1..=RECORDS).map(weight).sum::<f64>()
    }

    #[test]
    fn every_record_can_be_chosen() {
        for distribution in Distribution::ALL {
            assert!(counts(distribution).iter().all(|count| *count > 0), "{distribution}");
        }
    }

    #[test]
    fn uniform_prefers_none() {
        let expected = DRAWN as f64 / RECORDS as f64;
        for count in counts(Distribution::Uniform) {
            assert!((count as f64 - expected).abs() < 6.0 * expected.sqrt(), "{count}, not {expected}");
        }
    }

    #[test]
    fn zipfian_ranks_have_the_shares_of_theory() {
        let counts = counts(Distribution::Zipfian);
        for rank in [1, 2, 3, 10, 100] {
            let (share, expected) = (counts[rank as usize - 1] as f64 / DRAWN as f64, theory(rank));
            assert!((share / expected - 1.0).abs() < 0.1, "rank {rank}: {share}, not {expected}");
        }
    }

    #[test]
    fn latest_follows_the_records_as_they_grow() {
        let mut random = SmallRng::seed_from_u64(7);
        let mut chooser = Chooser::new(Distribution::Latest);
        let newest = (1..=RECORDS).filter(|records| chooser.choose(*records, &mut random) + 1 == *records);
        assert!(newest.count() > 100);
    }

    #[test]
    fn latest_prefers_what_was_inserted_last() {
        let counts = counts(Distribution::Latest);
        let share = counts[RECORDS as usize - 1] as f64 / DRAWN as f64;
        assert!((share / theory(1) - 1.0).abs() < 0.1, "{share}");
        let last_tenth: u64 = counts[900..].iter().sum();
        assert!(last_tenth as f64 > 0.6 * DRAWN as f64, "{last_tenth}");
    }
}
