//! WGL on long histories of many callers: a true one is proven, and one lie planted in it is found.
//!
//! `RDB_CHECKER_OPERATIONS=100000` sets the length, `RDB_CHECKER_GROUPS=500` the number of groups of four keys.

mod store;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::env;
use std::time::{Duration, Instant};

use rdb_checker::{Answer, Blob, Condition, History, Operation, Outcome, Record, Request, Verdict, wgl};
use store::{Model, Random, truth};

/// Counts as a failure when it passes; it has nothing to do with how long a history takes.
const DEADLINE: Duration = Duration::from_secs(300);
const CALLERS: u64 = 32;
const KEYS: u64 = 4;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn key(group: u64, key: u64) -> Blob {
    format!("g{group:04}/{key}").into()
}

/// What a caller asks of one group of keys; every value is put once.
fn request(random: &mut Random, groups: u64, unique: u64) -> Request {
    let group = random.below(groups);
    let any = |random: &mut Random| key(group, random.below(KEYS));
    let value = |place: u64| Some(Blob::from(format!("v{unique}.{place}")));
    match random.below(20) {
        0..=5 => Request::Get { key: any(random) },
        6 => Request::GetMany { keys: (0..KEYS).map(|place| key(group, place)).collect() },
        7 => Request::Scan {
            start: format!("g{group:04}/").into(),
            end: Some(format!("g{group:04}0").into()),
            reverse: random.one_in(2),
            limit: random.pick(&[None, Some(2)]),
        },
        8 => Request::Write { conditions: Vec::new(), ops: vec![(any(random), None)], ttls: Vec::new() },
        9 => Request::Write {
            conditions: vec![(any(random), Condition::Present), (any(random), Condition::Absent)],
            ops: vec![(any(random), value(0))],
            ttls: Vec::new(),
        },
        10 | 11 => {
            let version = Condition::Version(10 + random.below(unique + 1));
            Request::Write {
                conditions: vec![(any(random), version)],
                ops: vec![(any(random), value(0))],
                ttls: Vec::new(),
            }
        }
        12 | 13 => {
            let ops = (0..3).map(|place| (any(random), value(place))).collect();
            Request::Write { conditions: Vec::new(), ops, ttls: Vec::new() }
        }
        _ => Request::Write { conditions: Vec::new(), ops: vec![(any(random), value(0))], ttls: Vec::new() },
    }
}

enum Event {
    Call {
        process: u64,
    },
    /// The store does what an operation asks.
    Take {
        place: usize,
        known: bool,
    },
}

/// What callers see of a true store: one write in so many has no answer, and takes effect late or never.
fn history(operations: u64, groups: u64, unknown: u64) -> History {
    let mut random = Random(operations ^ groups);
    let mut history = History::default();
    let (mut model, mut version) = (Model::new(), 9);
    let mut events = Vec::new();
    let mut queue = BinaryHeap::new();
    let plan = |queue: &mut BinaryHeap<_>, events: &mut Vec<Event>, at: u64, event| {
        queue.push(Reverse((at, events.len())));
        events.push(event);
    };
    let mut processes = CALLERS;
    for process in 0..CALLERS {
        plan(&mut queue, &mut events, random.below(100), Event::Call { process });
    }
    while let Some(Reverse((at, event))) = queue.pop() {
        match events[event] {
            Event::Call { process } => {
                let place = history.operations.len();
                if place as u64 == operations {
                    continue;
                }
                let request = request(&mut random, groups, place as u64);
                let known = !(matches!(request, Request::Write { .. }) && random.one_in(unknown));
                let late = if known { 100 } else { 10_000 };
                if known || random.one_in(2) {
                    plan(&mut queue, &mut events, at + random.below(late), Event::Take { place, known });
                }
                if !known {
                    // It goes on as another.
                    plan(&mut queue, &mut events, at + 1_000, Event::Call { process: processes });
                    processes += 1;
                }
                history.operations.push(Operation { process, request, called: at, outcome: None });
            }
            Event::Take { place, known } => {
                let operation = &mut history.operations[place];
                let answer = truth(&mut model, &operation.request, &mut version);
                if known {
                    let returned = at + random.below(100);
                    operation.outcome = Some(Outcome { returned, answer });
                    let next = Event::Call { process: operation.process };
                    plan(&mut queue, &mut events, returned + random.below(20), next);
                }
            }
        }
    }
    history
}

/// Judges a history, and prints how long that took.
fn judge(what: &str, history: &History) -> Verdict {
    #[allow(clippy::disallowed_methods)] // the clock of a measurement
    let start = Instant::now();
    let verdict = wgl::check(history, DEADLINE);
    let wgl::Extent { keys, sets } = wgl::extent(history);
    let count = history.operations.len();
    println!("{what}: {count} operations, {keys} keys in {sets} sets: {:?}: {verdict}", start.elapsed());
    verdict
}

#[test]
fn long_true_histories_are_proven() {
    let operations = setting("RDB_CHECKER_OPERATIONS", 20_000);
    let groups = setting("RDB_CHECKER_GROUPS", 100);
    assert_eq!(judge("groups", &history(operations, groups, 300)), Verdict::Linearizable);
    assert_eq!(judge("one group", &history(operations / 20, 1, u64::MAX)), Verdict::Linearizable);
    assert_eq!(judge("one group, some unknown", &history(operations / 40, 1, 100)), Verdict::Linearizable);
}

#[test]
fn a_deadline_that_passes_is_no_success() {
    let verdict = wgl::check(&history(1_000, 3, 300), Duration::ZERO);
    assert!(
        matches!(&verdict, Verdict::Undecided(why) if why.starts_with("the deadline passed")),
        "{verdict}"
    );
}

/// Of the reads that saw a value, some from the middle on.
fn reads(history: &History) -> impl Iterator<Item = (usize, &Blob, &Record)> {
    let from = history.operations.len() / 2;
    history.operations.iter().enumerate().skip(from).filter_map(|(place, operation)| {
        match (&operation.request, operation.answer()) {
            (Request::Get { key }, Some(Answer::Record(Some(record)))) => Some((place, key, record)),
            _ => None,
        }
    })
}

fn with_answer(history: &History, place: usize, seen: Option<Record>) -> History {
    let mut lied = history.clone();
    lied.operations[place].outcome.as_mut().expect("a read with an answer").answer = Answer::Record(seen);
    lied
}

#[test]
fn one_lie_in_a_long_history_is_found() {
    let operations = setting("RDB_CHECKER_OPERATIONS", 20_000);
    let history = history(operations, setting("RDB_CHECKER_GROUPS", 100), 300);
    let (place, key, last) = reads(&history).next().unwrap();
    // A put of the same key that had returned long before, whose value was overwritten.
    let old = history.operations[..place].iter().find_map(|operation| match &operation.request {
        Request::Write { ops, .. } if matches!(operation.answer(), Some(Answer::Committed { .. })) => {
            let [(at, Some(value))] = &ops[..] else { return None };
            (at == key && *value != last.value).then(|| Record { value: value.clone(), version: None })
        }
        _ => None,
    });
    let stale = with_answer(&history, place, Some(old.unwrap()));
    assert_found("a stale read", &stale, place);

    let lost = with_answer(&history, place, None);
    assert_found("a lost write", &lost, place);

    // The store does a put again that was overwritten: everything after it is as if nothing had been.
    let (again, _, record) = reads(&history)
        .find(|(later, at, record)| *later > place && *at == key && record.value != last.value)
        .unwrap();
    let record = record.clone();
    let called = history.operations[again].returned() + 1;
    let mut double = history.clone();
    for seen in [last.clone(), record] {
        let request = Request::Get { key: key.clone() };
        let outcome = Some(Outcome { returned: called, answer: Answer::Record(Some(seen)) });
        double.operations.push(Operation { process: 1 << 40, request, called, outcome });
    }
    assert_found("a double write", &double, double.operations.len() - 2);
}

fn assert_found(what: &str, history: &History, place: usize) {
    let Verdict::Violation(violation) = judge(what, history) else { panic!("{what} was not found") };
    let told = violation.explain(history);
    assert!(violation.operations.contains(&place), "{place} is not among {told}");
}
