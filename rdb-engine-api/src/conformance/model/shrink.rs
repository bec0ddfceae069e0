use std::collections::BTreeSet;

use super::step::{Act, Check, Data, Id, Look, Name, Step, Which, Write};
use crate::{Direction, KeyRange, Projection, Scan};

/// The longest sequence in which changes are tried in pairs: there are many of them.
const FEW: usize = 6;

/// A sequence that still fails, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shrunk<T> {
    pub(super) steps: Vec<Step>,
    pub(super) failure: T,
    pub(super) attempts: usize,
}

/// Makes a failing sequence as short and as plain as it can while it fails: first it leaves out runs of
/// steps, halves before single ones (Zeller's delta debugging), then it makes each step simpler, then it tries
/// two such changes at once; and over again until nothing helps any more, or `may_try`, which is told the
/// number of attempts, says no.
///
/// `fails` takes a sequence's steps from the beginning, and tells how they fail, if they do.
pub(super) async fn shrink<T>(
    steps: Vec<Step>,
    failure: T,
    may_try: impl Fn(usize) -> bool,
    fails: impl AsyncFn(&[Step]) -> Option<T>,
) -> Shrunk<T> {
    let mut search = Search { best: Shrunk { steps, failure, attempts: 0 }, may_try, fails };
    while search.leave_out().await || search.simplify().await || search.pair().await {}
    search.best.steps = renumbered(search.best.steps);
    search.best
}

struct Search<T, M, F> {
    best: Shrunk<T>,
    may_try: M,
    fails: F,
}

impl<T, M: Fn(usize) -> bool, F: AsyncFn(&[Step]) -> Option<T>> Search<T, M, F> {
    /// Whether the sequence fails as well; then it is the best one.
    async fn take(&mut self, steps: Vec<Step>) -> bool {
        if !(self.may_try)(self.best.attempts) {
            return false;
        }
        self.best.attempts += 1;
        match (self.fails)(&steps).await {
            Some(failure) => {
                (self.best.steps, self.best.failure) = (steps, failure);
                true
            }
            None => false,
        }
    }

    async fn leave_out(&mut self) -> bool {
        let mut helped = false;
        let mut run = self.best.steps.len().div_ceil(2);
        while run > 0 {
            let mut start = 0;
            while start < self.best.steps.len() {
                let mut steps = self.best.steps.clone();
                steps.drain(start..(start + run).min(steps.len()));
                if self.take(steps).await {
                    helped = true;
                } else {
                    start += run;
                }
            }
            run /= 2;
        }
        helped
    }

    async fn simplify(&mut self) -> bool {
        let mut helped = self.rename().await;
        let mut place = 0;
        while place < self.best.steps.len() {
            if self.simplify_one(place).await {
                helped = true;
            } else {
                place += 1;
            }
        }
        helped
    }

    /// Tries simpler forms of a step until one still fails.
    async fn simplify_one(&mut self, place: usize) -> bool {
        let names: Vec<Name> = names(&self.best.steps).into_iter().collect();
        for act in simpler(&self.best.steps[place].act, &names) {
            let mut steps = self.best.steps.clone();
            steps[place].act = act;
            if self.take(steps).await {
                return true;
            }
        }
        false
    }

    /// Tries two changes of which neither helps alone: a simpler form of a step, with another step left out or
    /// an even simpler form.
    async fn pair(&mut self) -> bool {
        let steps = self.best.steps.clone();
        if steps.len() > FEW {
            return false;
        }
        let names: Vec<Name> = names(&steps).into_iter().collect();
        for (place, step) in steps.iter().enumerate() {
            for act in simpler(&step.act, &names) {
                let mut one = steps.clone();
                one[place].act = act;
                let without = (0..one.len()).filter(|other| *other != place).map(|other| {
                    let mut two = one.clone();
                    two.remove(other);
                    two
                });
                let twice = simpler(&one[place].act, &names).into_iter().map(|act| {
                    let mut two = one.clone();
                    two[place].act = act;
                    two
                });
                for two in without.chain(twice) {
                    if self.take(two).await {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Tries simpler names, each for another in the whole sequence.
    async fn rename(&mut self) -> bool {
        let mut helped = false;
        for name in names(&self.best.steps) {
            for simpler in (0..name.0).map(Name) {
                let mut steps = self.best.steps.clone();
                for step in &mut steps {
                    each_name(&mut step.act, &mut |found| {
                        if *found == name {
                            *found = simpler;
                        }
                    });
                }
                if self.take(steps).await {
                    helped = true;
                    break;
                }
            }
        }
        helped
    }
}

fn names(steps: &[Step]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for step in steps {
        each_name(&mut step.act.clone(), &mut |name| names.extend([*name]));
    }
    names
}

fn each_name(act: &mut Act, visit: &mut impl FnMut(&mut Name)) {
    match act {
        Act::Get(name) | Act::Refuse(_, name) => visit(name),
        Act::GetMany(names) => names.iter_mut().for_each(visit),
        Act::Write(write) => {
            for (name, check) in &mut write.checks {
                visit(name);
                if let Check::Version(Which::Current(other)) = check {
                    visit(other);
                }
            }
            write.ops.iter_mut().for_each(|(name, _)| visit(name));
        }
        Act::Scan(_) | Act::OpenScan(_) | Act::Drain(_) | Act::Close | Act::Reopen | Act::Crash => {}
    }
}

/// Simpler forms of an act, the simplest first. None of them has the act itself among its own, at any
/// depth, so that the search ends.
fn simpler(act: &Act, names: &[Name]) -> Vec<Act> {
    let gets = names.iter().copied().map(Act::Get);
    match act {
        Act::Get(name) => lower(*name, names).map(Act::Get).collect(),
        Act::GetMany(asked) => gets.chain(without_one(asked).map(Act::GetMany)).collect(),
        Act::Scan(look) => gets.chain(simpler_looks(look).map(Act::Scan)).collect(),
        Act::OpenScan(look) => simpler_looks(look).map(Act::OpenScan).collect(),
        Act::Write(write) => simpler_writes(write, names).into_iter().map(Act::Write).collect(),
        Act::Refuse(beyond, name) => lower(*name, names).map(|name| Act::Refuse(*beyond, name)).collect(),
        Act::Crash => vec![Act::Reopen],
        Act::Drain(_) | Act::Close | Act::Reopen => Vec::new(),
    }
}

fn lower(name: Name, names: &[Name]) -> impl Iterator<Item = Name> {
    names.iter().copied().filter(move |other| *other < name)
}

fn without_one<T: Clone>(all: &[T]) -> impl Iterator<Item = Vec<T>> {
    (0..all.len()).map(|place| {
        let mut rest = all.to_vec();
        rest.remove(place);
        rest
    })
}

fn simpler_looks(Look(scan): &Look) -> impl Iterator<Item = Look> {
    let plain = |change: fn(&mut Scan)| {
        let mut simpler = scan.clone();
        change(&mut simpler);
        (simpler != *scan).then_some(Look(simpler))
    };
    [
        plain(|scan| *scan = Scan::new(KeyRange::all())),
        plain(|scan| scan.range = KeyRange::all()),
        plain(|scan| scan.direction = Direction::Forward),
        plain(|scan| scan.limit = None),
        plain(|scan| scan.projection = Projection::Records),
    ]
    .into_iter()
    .flatten()
}

fn simpler_writes(write: &Write, names: &[Name]) -> Vec<Write> {
    let with_checks = |checks| Write { checks, ..write.clone() };
    let with_ops = |ops| Write { ops, ..write.clone() };
    let mut found: Vec<Write> = Vec::new();
    found.extend(without_one(&write.ops).map(with_ops));
    found.extend(without_one(&write.checks).map(with_checks));
    if write.level.is_some() {
        found.push(Write { level: None, ..write.clone() });
    }
    if write.timeout.is_some() {
        found.push(Write { timeout: None, ..write.clone() });
    }
    for (place, (name, check)) in write.checks.iter().enumerate() {
        let names = lower(*name, names).map(|name| (name, *check));
        let checks = simpler_checks(*name, *check).into_iter().map(|check| (*name, check));
        for simpler in names.chain(checks) {
            let mut checks = write.checks.clone();
            checks[place] = simpler;
            found.push(with_checks(checks));
        }
    }
    for (place, (name, op)) in write.ops.iter().enumerate() {
        let names = lower(*name, names).map(|name| (name, *op));
        // A put shows more than a delete, which needs a put before it.
        let values = op.map_or_else(|| vec![Data::Small(0)], simpler_data);
        let values = values.into_iter().map(|data| (*name, Some(data)));
        for simpler in names.chain(values) {
            let mut ops = write.ops.clone();
            ops[place] = simpler;
            found.push(with_ops(ops));
        }
    }
    found
}

fn simpler_checks(name: Name, check: Check) -> Vec<Check> {
    let current = Check::Version(Which::Current(name));
    match check {
        Check::Present => Vec::new(),
        Check::Absent => vec![Check::Present],
        Check::Value(data) => {
            let data = simpler_data(data).into_iter().map(Check::Value);
            [Check::Present, Check::Absent].into_iter().chain(data).collect()
        }
        Check::Version(Which::Current(of)) if of == name => vec![Check::Present, Check::Absent],
        Check::Version(Which::Never) => vec![Check::Present, Check::Absent, current],
        Check::Version(Which::Of(_) | Which::Current(_)) => {
            vec![Check::Present, Check::Absent, current, Check::Version(Which::Never)]
        }
    }
}

fn simpler_data(data: Data) -> Vec<Data> {
    match data {
        Data::Small(number) => (0..number).map(Data::Small).collect(),
        Data::Empty => vec![Data::Small(0)],
        Data::Large(number) => {
            let smaller = (0..number).map(Data::Large);
            [Data::Small(0), Data::Small(1), Data::Empty].into_iter().chain(smaller).collect()
        }
    }
}

/// The same steps, numbered by their places.
fn renumbered(steps: Vec<Step>) -> Vec<Step> {
    let ids: Vec<Id> = steps.iter().map(|step| step.id).collect();
    let place = |id: Id| ids.iter().position(|other| *other == id).map(|place| place + 1);
    let number = |(at, step): (usize, Step)| {
        let mut act = step.act;
        match &mut act {
            Act::Drain(id) => *id = place(*id).unwrap_or(0),
            Act::Write(write) => {
                for (_, check) in &mut write.checks {
                    if let Check::Version(Which::Of(id)) = check {
                        *check = Check::Version(place(*id).map_or(Which::Never, Which::Of));
                    }
                }
            }
            _ => {}
        }
        Step { id: at + 1, act }
    };
    steps.into_iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::super::generate::{Profile, generate};
    use super::*;

    /// Shrinks what fails by a rule that looks at the steps alone.
    fn shrunk(steps: Vec<Step>, most: usize, fails: impl Fn(&[Step]) -> bool) -> Shrunk<()> {
        let may_try = |attempts| attempts < most;
        let shrunk = shrink(steps, (), may_try, async |steps| fails(steps).then_some(()));
        shrunk.now_or_never().expect("nothing waits")
    }

    fn lines(shrunk: &Shrunk<()>) -> Vec<String> {
        shrunk.steps.iter().map(|step| step.act.to_string()).collect()
    }

    fn deletes(step: &Step) -> bool {
        matches!(&step.act, Act::Write(write) if write.ops.iter().any(|(_, op)| op.is_none()))
    }

    #[test]
    fn what_does_not_matter_is_left_out() {
        let fails = |steps: &[Step]| {
            let delete = steps.iter().position(deletes);
            let crash = steps.iter().rposition(|step| step.act == Act::Crash);
            delete.zip(crash).is_some_and(|(delete, crash)| delete < crash)
        };
        let mut sequences = (1..).map(|seed| generate(seed, Profile::Crashes));
        let steps = sequences.find(|steps| fails(steps)).expect("some sequence has both");
        let shrunk = shrunk(steps, usize::MAX, fails);
        assert_eq!(lines(&shrunk), ["write: delete `k`", "crash, and open what the files hold"]);
    }

    #[test]
    fn steps_keep_their_meaning_when_others_go() {
        let old = |act| Step { id: 7, act };
        let open = Act::OpenScan(Look(Scan::new(KeyRange::prefix("k")).reverse().limit(3)));
        let steps = vec![
            Step { id: 3, act: Act::Get(Name(4)) },
            old(open),
            Step { id: 9, act: Act::Get(Name(2)) },
            Step { id: 12, act: Act::Drain(7) },
        ];
        let fails = |steps: &[Step]| {
            let opens =
                |id: Id| steps.iter().any(|step| step.id == id && matches!(step.act, Act::OpenScan(_)));
            steps.iter().any(|step| matches!(step.act, Act::Drain(id) if opens(id)))
        };
        let shrunk = shrunk(steps, usize::MAX, fails);
        assert_eq!(lines(&shrunk), ["open a scan of everything", "read the scan of step 1 to its end"]);
    }

    #[test]
    fn two_changes_are_tried_at_once_where_neither_helps_alone() {
        let write = |id, op| {
            let write = Write { ops: vec![(Name(0), op)], ..Write::default() };
            Step { id, act: Act::Write(write) }
        };
        let (put, delete) = (Some(Data::Small(0)), None);
        let long = vec![write(1, put), write(2, delete)];
        let fails = |steps: &[Step]| steps == long || steps == [write(2, put)];
        assert_eq!(lines(&shrunk(long.clone(), usize::MAX, fails)), ["write: put `k` = `v0`"]);
    }

    #[test]
    fn the_search_ends_whatever_fails_and_when_it_is_told_to() {
        for seed in 0..20 {
            let steps = generate(seed, Profile::Crashes);
            assert_eq!(lines(&shrunk(steps.clone(), usize::MAX, |_| true)), [""; 0]);
            let one_left = shrunk(steps.clone(), usize::MAX, |steps| !steps.is_empty());
            assert_eq!(one_left.steps.len(), 1, "{one_left:?}");
            let writes = |steps: &[Step]| {
                steps
                    .iter()
                    .filter(|step| matches!(&step.act, Act::Write(write) if !write.ops.is_empty()))
                    .count()
            };
            if writes(&steps) >= 2 {
                let two = shrunk(steps.clone(), usize::MAX, |steps| writes(steps) >= 2);
                assert_eq!(lines(&two), ["write: put `k` = `v0`"; 2]);
            }
            assert_eq!(shrunk(steps, 5, |_| false).attempts, 5);
        }
    }
}
