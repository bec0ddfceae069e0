use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::distribution::Chooser;
use crate::{Kind, Settings, Workload};

/// One operation to be done: records by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get(u64),
    GetMany(Vec<u64>),
    Put(u64),
    Insert,
    /// Of the line's own records, counted from 0.
    Swap(u64),
    Increment,
    ReadModifyWrite(u64),
    Scan {
        from: u64,
        records: u64,
    },
    Load,
}

impl Operation {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Get(_) => Kind::Get,
            Self::GetMany(_) => Kind::GetMany,
            Self::Put(_) => Kind::Put,
            Self::Insert => Kind::Insert,
            Self::Swap(_) => Kind::Swap,
            Self::Increment => Kind::Increment,
            Self::ReadModifyWrite(_) => Kind::ReadModifyWrite,
            Self::Scan { .. } => Kind::Scan,
            Self::Load => Kind::Load,
        }
    }
}

/// The operations of one line of requests, which follow from the seed and the line's number.
#[derive(Debug)]
pub(crate) struct Operations {
    workload: Workload,
    chooser: Chooser,
    scan_records: u64,
    batch: usize,
    random: SmallRng,
}

impl Operations {
    pub(crate) fn new(settings: &Settings, line: u64) -> Self {
        // Seeds that differ by one give streams that have nothing to do with each other: `seed_from_u64`
        // sees to that.
        let seed = settings.seed ^ line.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            workload: settings.workload,
            chooser: Chooser::new(settings.distribution),
            scan_records: settings.scan_records.max(1),
            batch: settings.batch(),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// The next one, where there are so many records to choose from: of a workload of swaps the line's own.
    pub(crate) fn next(&mut self, records: u64) -> Operation {
        match self.kind() {
            Kind::Get => Operation::Get(self.choose(records)),
            Kind::GetMany => Operation::GetMany((0..self.batch).map(|_| self.choose(records)).collect()),
            Kind::Put => Operation::Put(self.choose(records)),
            Kind::Insert => Operation::Insert,
            Kind::Swap => Operation::Swap(self.choose(records)),
            Kind::Increment => Operation::Increment,
            Kind::ReadModifyWrite => Operation::ReadModifyWrite(self.choose(records)),
            Kind::Scan => {
                let from = self.choose(records);
                let records = match self.workload {
                    Workload::E => self.random.random_range(1..=self.scan_records),
                    _ => self.scan_records,
                };
                Operation::Scan { from, records }
            }
            Kind::Load => Operation::Load,
        }
    }

    fn kind(&mut self) -> Kind {
        let mix = self.workload.mix();
        if let [(kind, _)] = mix {
            return *kind;
        }
        let mut drawn = self.random.random_range(0..100);
        for (kind, share) in mix {
            if drawn < *share {
                return *kind;
            }
            drawn -= share;
        }
        unreachable!("shares are a hundred together")
    }

    fn choose(&mut self, records: u64) -> u64 {
        self.chooser.choose(records, &mut self.random)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const DRAWN: usize = 20_000;

    fn drawn(settings: &Settings, line: u64) -> Vec<Operation> {
        let mut operations = Operations::new(settings, line);
        (0..DRAWN).map(|_| operations.next(1_000)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_operations_and_another_line_others() {
        for workload in [Workload::A, Workload::D, Workload::E, Workload::Cas] {
            let settings = Settings::new(workload);
            assert!(drawn(&settings, 3) == drawn(&settings, 3), "{workload}");
            assert!(drawn(&settings, 3) != drawn(&settings, 4), "{workload}");
            let other = Settings { seed: 2, ..settings.clone() };
            assert!(drawn(&settings, 3) != drawn(&other, 3), "{workload}");
        }
    }

    #[test]
    fn every_workload_has_the_mix_that_it_says() {
        for workload in Workload::ALL {
            assert_eq!(workload.mix().iter().map(|(_, share)| share).sum::<u32>(), 100, "{workload}");
            let mut settings = Settings::new(workload);
            settings.batch_records = 2;
            let mut counts: HashMap<Kind, usize> = HashMap::new();
            for operation in drawn(&settings, 0) {
                *counts.entry(operation.kind()).or_default() += 1;
            }
            assert_eq!(counts.len(), workload.mix().len(), "{workload}");
            for (kind, share) in workload.mix() {
                let percent = counts[kind] as f64 * 100.0 / DRAWN as f64;
                assert!((percent - f64::from(*share)).abs() < 1.5, "{workload}: {percent}% {kind}");
            }
        }
    }

    #[test]
    fn scans_are_as_long_as_the_settings_say() {
        let lengths = |workload| -> Vec<u64> {
            let lengths = drawn(&Settings::new(workload), 0).into_iter().filter_map(|operation| {
                if let Operation::Scan { records, .. } = operation { Some(records) } else { None }
            });
            lengths.collect()
        };
        assert!(lengths(Workload::Scan).iter().all(|length| *length == 100));
        let lengths = lengths(Workload::E);
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&1), Some(&100)));
    }
}
