use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use super::super::db::Numbers;
use super::step::{Act, Beyond, Check, Data, Id, Look, Name, Step, Which, Write};
use crate::{Durability, KeyRange, Scan};

/// What a sequence may contain besides reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// Nothing.
    Steady,
    /// Closing and orderly reopens.
    Reopens,
    /// These and crashes.
    Crashes,
}

/// Makes the sequence of a seed: the same one in every run.
pub(super) fn generate(seed: u64, profile: Profile) -> Vec<Step> {
    let mut numbers = Numbers(seed);
    // Few names, so that the same ones meet again; which ones, each sequence decides for itself.
    let names = (0..2 + numbers.below(4)).map(|_| Name(numbers.below(Name::COUNT))).collect();
    let length = match profile {
        Profile::Steady => 20 + numbers.below(100),
        Profile::Reopens | Profile::Crashes => 10 + numbers.below(50),
    };
    // Where hardly a commit is safe, a crash may take some away.
    let lax = numbers.below(2) == 0;
    let mut generator = Generator { numbers, names, profile, lax, steps: Vec::new(), scans: Vec::new() };
    while generator.steps.len() < length {
        generator.step();
    }
    // Whatever went wrong until then shows here.
    generator.push(Act::Scan(Look(Scan::new(KeyRange::all()))));
    generator.steps
}

struct Generator {
    numbers: Numbers,
    names: Vec<Name>,
    profile: Profile,
    /// Whether most writes ask for the lowest level.
    lax: bool,
    steps: Vec<Step>,
    /// The steps that opened scans which are still to be read.
    scans: Vec<Id>,
}

impl Generator {
    fn push(&mut self, act: Act) {
        self.steps.push(Step { id: self.steps.len() + 1, act });
    }

    fn step(&mut self) {
        if self.profile != Profile::Steady && self.one_in(9) {
            return self.opening();
        }
        let act = self.act();
        self.push(act);
    }

    /// One way or the other to a new opening.
    fn opening(&mut self) {
        if self.one_in(3) {
            self.push(Act::Close);
            for _ in 0..self.numbers.below(4) {
                let act = self.act();
                self.push(act);
            }
        }
        let crash = self.profile == Profile::Crashes && !self.one_in(3);
        for _ in 0..if self.one_in(4) { 2 } else { 1 } {
            self.push(if crash { Act::Crash } else { Act::Reopen });
        }
    }

    fn act(&mut self) -> Act {
        match self.numbers.below(100) {
            0..12 => Act::Get(self.name()),
            12..20 => {
                let count = self.numbers.below(7);
                Act::GetMany((0..count).map(|_| self.name()).collect())
            }
            20..31 => Act::Scan(self.look()),
            31..37 => {
                self.scans.push(self.steps.len() + 1);
                Act::OpenScan(self.look())
            }
            37..43 if !self.scans.is_empty() => {
                let place = self.numbers.below(self.scans.len());
                Act::Drain(self.scans.remove(place))
            }
            43..48 => {
                let beyond = Beyond::ALL[self.numbers.below(Beyond::ALL.len())];
                Act::Refuse(beyond, self.name())
            }
            _ => Act::Write(self.write()),
        }
    }

    fn write(&mut self) -> Write {
        if self.one_in(8) {
            // Changes nothing, but vouches for all before it.
            return Write { level: Some(Durability::Process), ..Write::default() };
        }
        let checks = if self.one_in(2) { 0 } else { 1 + self.numbers.below(3) };
        let ops = match self.numbers.below(10) {
            0 => 0,
            1..6 => 1,
            _ => 1 + self.numbers.below(5),
        };
        Write {
            checks: (0..checks).map(|_| self.check()).collect(),
            ops: (0..ops)
                .map(|_| {
                    let delete = self.one_in(3);
                    (self.name(), (!delete).then(|| self.data()))
                })
                .collect(),
            level: self.level(),
            timeout: self.one_in(20).then(|| match self.numbers.below(2) {
                0 => Duration::ZERO,
                _ => Duration::from_secs(30),
            }),
        }
    }

    fn level(&mut self) -> Option<Durability> {
        if self.lax && !self.one_in(8) {
            return Some(Durability::Volatile);
        }
        self.one_in(2).then(|| Durability::ALL[self.numbers.below(3)])
    }

    fn check(&mut self) -> (Name, Check) {
        let name = self.name();
        let check = match self.numbers.below(10) {
            0..2 => Check::Absent,
            2..5 => Check::Present,
            5..7 => Check::Value(self.data()),
            // Mostly one that holds, so that the rest of the batch has a say.
            7..9 => Check::Version(Which::Current(name)),
            _ => Check::Version(match self.numbers.below(3) {
                0 => Which::Current(self.name()),
                1 => Which::Of(1 + self.numbers.below(self.steps.len() + 1)),
                _ => Which::Never,
            }),
        };
        (name, check)
    }

    fn data(&mut self) -> Data {
        match self.numbers.below(10) {
            0 => Data::Empty,
            1 => Data::Large(self.numbers.below(2) as u8),
            _ => Data::Small(self.numbers.below(3) as u8),
        }
    }

    fn look(&mut self) -> Look {
        let range = match self.numbers.below(5) {
            0..2 => KeyRange::all(),
            2 => {
                let name = self.name().bytes();
                let length = self.numbers.below(name.len().min(3) + 1);
                KeyRange::prefix(name[..length].to_vec())
            }
            _ => KeyRange::new(self.bound(), self.bound()),
        };
        let mut scan = Scan::new(range);
        if self.one_in(2) {
            scan = scan.reverse();
        }
        if self.one_in(3) {
            scan = scan.limit(self.numbers.below(4) as u64);
        }
        Look(if self.one_in(4) { scan.keys_only() } else { scan })
    }

    fn bound(&mut self) -> Bound<Bytes> {
        let name = Bytes::from(self.name().bytes());
        match self.numbers.below(5) {
            0 => Bound::Unbounded,
            1..3 => Bound::Included(name),
            _ => Bound::Excluded(name),
        }
    }

    fn name(&mut self) -> Name {
        self.names[self.numbers.below(self.names.len())]
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.numbers.below(chances) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_means_the_same_sequence_each_time() {
        assert_eq!(generate(5, Profile::Crashes), generate(5, Profile::Crashes));
        assert_ne!(generate(5, Profile::Crashes), generate(6, Profile::Crashes));
    }

    #[test]
    fn every_operation_occurs_in_the_usual_sequences() {
        let kinds = |profile| {
            let steps = (1..=20).flat_map(|seed| generate(seed, profile));
            let kind = |step: Step| match step.act {
                Act::Refuse(beyond, _) => format!("{beyond:?}"),
                act => format!("{act:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
            };
            steps.map(kind).collect::<BTreeSet<_>>()
        };
        let calls = 6 + Beyond::ALL.len();
        assert_eq!(kinds(Profile::Steady).len(), calls, "{:?}", kinds(Profile::Steady));
        assert_eq!(kinds(Profile::Reopens).len(), calls + 2, "{:?}", kinds(Profile::Reopens));
        assert_eq!(kinds(Profile::Crashes).len(), calls + 3, "{:?}", kinds(Profile::Crashes));
    }
}
