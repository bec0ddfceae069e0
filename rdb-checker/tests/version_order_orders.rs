//! Version order against every order there is: thousands of tiny random histories with versions, true ones and
//! ones that were tampered with, of which each is also judged by trying all orders, and all versions that the
//! writes of unknown outcome can have.

mod store;

use rdb_checker::{Answer, Blob, Condition, Current, History, Operation, Outcome, Request};
use rdb_checker::{Record, Verdict, version_order};
use store::{Model, Random, apply, changes, judge, range, truth};

fn key(random: &mut Random) -> Blob {
    random.pick(&["a", "b"]).into()
}

/// One of a few values, or one that no other write has.
fn value(random: &mut Random, unique: bool) -> Blob {
    let number = if unique { random.below(1 << 40) } else { random.below(2) };
    format!("{number}").into()
}

fn request(random: &mut Random, unique: bool, version: u64) -> Request {
    match random.below(10) {
        0..=2 => Request::Get { key: key(random) },
        3 => Request::GetMany { keys: vec![key(random), key(random)] },
        4 => Request::Scan {
            start: key(random),
            end: random.pick(&[None, Some("b")]).map(Blob::from),
            reverse: random.one_in(2),
            limit: random.pick(&[None, Some(0), Some(1), Some(2)]),
        },
        _ => {
            let conditions = random.pick(&[0, 0, 0, 1, 1, 2]);
            let condition = |_| {
                let condition = match random.below(5) {
                    0 => Condition::Absent,
                    1 => Condition::Present,
                    2 => Condition::Value(value(random, false)),
                    _ => Condition::Version(1 + random.below(version + 2)),
                };
                (key(random), condition)
            };
            let conditions = (0..conditions).map(condition).collect();
            let ops = random.pick(&[0, 1, 1, 1, 1, 1, 2, 2]);
            let op = |_| (key(random), (!random.one_in(3)).then(|| value(random, unique)));
            Request::Write { conditions, ops: (0..ops).map(op).collect(), ttls: Vec::new() }
        }
    }
}

fn history(seed: u64) -> History {
    let mut random = Random(seed);
    let unique = !random.one_in(3);
    let unknown = random.pick(&[0, 3, 5, 7]);
    let (mut model, mut version, mut now) = (Model::new(), 0, 9);
    let mut operations = Vec::new();
    for process in 0..3 + random.below(5) {
        // Each takes effect at an instant of its own.
        now += 2 + random.below(3);
        let called = now - 1 - random.below(8);
        let request = request(&mut random, unique, version);
        let is_unknown = random.below(10) < unknown;
        // The version of a write that never took effect is a gap.
        let lost = is_unknown && random.one_in(2);
        let before = lost.then(|| model.clone());
        let answer = truth(&mut model, &request, &mut version);
        model = before.unwrap_or(model);
        let returned = now + random.below(6);
        let outcome = (!is_unknown).then_some(Outcome { returned, answer });
        operations.push(Operation { process, request, called, outcome });
    }
    for _ in 0..random.pick(&[0, 1, 2]) {
        let place = random.below(operations.len() as u64) as usize;
        tamper(&mut random, &mut operations[place], version);
    }
    operations.sort_by_key(|operation| operation.called);
    History { operations, ..History::default() }
}

/// Changes something, which may or may not make a difference.
fn tamper(random: &mut Random, operation: &mut Operation, last: u64) {
    let Some(outcome) = &mut operation.outcome else { return };
    let near = |random: &mut Random, version: &mut Option<u64>| {
        *version = version.map(|version| (version + random.pick(&[0, 2])).saturating_sub(1));
    };
    let told = |random: &mut Random, told: &mut Option<Record>| match (random.below(3), &mut *told) {
        (0, _) => *told = None,
        (1, Some(record)) => near(random, &mut record.version),
        _ => {
            let version = Some(1 + random.below(last + 1));
            *told = Some(Record { value: value(random, false), version });
        }
    };
    match random.below(6) {
        0 => outcome.returned = operation.called + random.below(30),
        1 => operation.outcome = None,
        2 => match &operation.request {
            Request::Write { conditions, .. } if !conditions.is_empty() => {
                let index = random.below(conditions.len() as u64) as usize;
                let version = Some(random.below(last + 1));
                outcome.answer = Answer::Conflict { index, version, current: Current::Unsaid };
            }
            _ => {}
        },
        _ => match &mut outcome.answer {
            Answer::Record(record) => told(random, record),
            Answer::Records { records, .. } if random.one_in(2) => told(random, &mut records[0]),
            Answer::Entries { entries, .. } if random.one_in(2) => _ = entries.pop(),
            Answer::Conflict { current, .. } if random.one_in(2) => *current = Current::Absent,
            Answer::Conflict { version, .. }
            | Answer::Records { version, .. }
            | Answer::Entries { version, .. }
            | Answer::Committed { version }
            | Answer::Unchanged { version } => near(random, version),
            Answer::Applied | Answer::Failed => {}
        },
    }
}

/// What a scan tells of a key.
type Entry = (Blob, Option<Record>);

/// What is stored under it.
type Row<'a> = (&'a Blob, &'a (Blob, Option<u64>));

/// Tries all orders.
struct Orders<'a> {
    operations: &'a [Operation],
    /// The greatest version to give to a write of unknown outcome.
    most: u64,
    /// Whether two of those in a row may have one version, the one leniency of the checker.
    lenient: bool,
}

/// What is stored, and the version that the next commit is to be above.
#[derive(Clone)]
struct State {
    model: Model,
    version: u64,
    /// Whether that is the version of a write of unknown outcome.
    supposed: bool,
}

impl Orders<'_> {
    /// Whether some order of the operations that are not placed explains their answers.
    fn explain(&self, placed: u32, state: &State) -> bool {
        let left = |place: &usize| placed & 1 << place == 0;
        let waits = |place: &usize| left(place) && self.operations[*place].outcome.is_some();
        let places = || (0..self.operations.len()).filter(left);
        places().all(|place| !waits(&place))
            || places().any(|place| {
                let called = self.operations[place].called;
                let in_time = places().filter(waits).all(|other| self.operations[other].returned() >= called);
                in_time && self.place(placed | 1 << place, &self.operations[place], state)
            })
    }

    fn place(&self, placed: u32, operation: &Operation, state: &State) -> bool {
        let seen = |version| State {
            version,
            supposed: state.supposed && version == state.version,
            ..state.clone()
        };
        match (&operation.request, operation.answer()) {
            (Request::Write { conditions, ops, .. }, None | Some(Answer::Committed { .. })) => {
                if conditions.iter().any(|held| !judge(&state.model, held, &[]).0)
                    || !changes(&state.model, ops)
                {
                    return false;
                }
                let least = state.version + 1;
                let (versions, supposed) = match operation.answer() {
                    Some(Answer::Committed { version: Some(version) }) => (*version..=*version, false),
                    _ if self.lenient && state.supposed => (state.version..=self.most, true),
                    _ => (least..=self.most, true),
                };
                let allowed = |version: &u64| supposed || *version >= least;
                versions.into_iter().filter(allowed).any(|version| {
                    let mut model = state.model.clone();
                    apply(&mut model, ops, Some(version));
                    self.explain(placed, &State { model, version, supposed })
                })
            }
            (_, None) => false,
            (request, Some(answer)) => {
                // What changes nothing: the same answer as that of a true store in a view of that version.
                let mut version = view(answer).unwrap_or(state.version);
                let next = seen(version);
                let agrees = match (request, answer) {
                    // Scans show the records in either way.
                    (Request::Scan { .. }, Answer::Entries { entries, .. }) => {
                        let there = range(&state.model, request);
                        let same = |((key, (value, version)), (seen, told)): (Row<'_>, &Entry)| {
                            let own = Record { value: value.clone(), version: *version };
                            key == seen && told.as_ref().is_none_or(|told| *told == own)
                        };
                        there.len() == entries.len() && there.into_iter().zip(entries).all(same)
                    }
                    (_, Answer::Conflict { current: Current::Unsaid, index, .. }) => matches!(
                        truth(&mut state.model.clone(), request, &mut version),
                        Answer::Conflict { index: first, .. } if first == *index
                    ),
                    _ => truth(&mut state.model.clone(), request, &mut version) == *answer,
                };
                next.version >= state.version && agrees && self.explain(placed, &next)
            }
        }
    }
}

fn view(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Records { version, .. }
        | Answer::Entries { version, .. }
        | Answer::Unchanged { version }
        | Answer::Conflict { version, .. } => *version,
        _ => None,
    }
}

#[test]
fn version_order_agrees_with_every_order_on_tiny_random_histories() {
    let count = std::env::var("RDB_CHECKER_HISTORIES").ok().and_then(|count| count.parse().ok());
    let count = count.unwrap_or(60_000);
    let (mut good, mut bad, mut undecided) = (0, 0, 0);
    for seed in 0..count {
        let history = history(seed);
        // Room for a commit behind the greatest version that a tampered answer can have.
        let orders = |lenient| {
            let most = history.operations.len() as u64 + 5;
            let state = State { model: Model::new(), version: 0, supposed: false };
            Orders { operations: &history.operations, most, lenient }.explain(0, &state)
        };
        let verdict = version_order::check(&history);
        let agrees = match &verdict {
            Verdict::Linearizable => orders(false) || orders(true),
            Verdict::Violation(_) => !orders(false),
            Verdict::Undecided(_) => true,
        };
        if !agrees {
            let mut lines = Vec::new();
            history.write(&mut lines).unwrap();
            panic!("seed {seed}: {verdict}, but not so by all orders\n{}", String::from_utf8_lossy(&lines));
        }
        match verdict {
            Verdict::Linearizable => good += 1,
            Verdict::Violation(_) => bad += 1,
            Verdict::Undecided(_) => undecided += 1,
        }
    }
    println!("{good} linearizable, {bad} not, {undecided} undecided");
    assert!(good > count / 5 && bad > count / 10, "one verdict is too rare: {good} and {bad}");
    assert!(undecided < count / 100, "{undecided} undecided");
}
