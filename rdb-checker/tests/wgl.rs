//! WGL against every order there is: thousands of tiny random histories, true ones and ones with a lie in
//! them, of which each is also judged by trying all orders.

mod store;

use std::time::Duration;

use rdb_checker::{
    Answer, Blob, Condition, Current, History, Operation, Outcome, Record, Request, Verdict, wgl,
};
use store::{Model, Random, apply, changes, effective, judge, range, truth};

fn keys() -> [Blob; 2] {
    ["a".into(), "b".into()]
}

/// Mostly few values, so that they repeat; sometimes one that no other write has.
fn value(random: &mut Random, unique: bool) -> Blob {
    if unique { format!("u{}", random.below(1 << 40)).into() } else { random.pick(&["x", "y"]).into() }
}

fn condition(random: &mut Random) -> Condition {
    match random.below(8) {
        0 | 1 => Condition::Absent,
        2 | 3 => Condition::Present,
        4 => Condition::Version(10 + random.below(4)),
        _ => Condition::Value(value(random, false)),
    }
}

fn request(random: &mut Random, unique: bool) -> Request {
    match random.below(10) {
        0 | 1 => Request::Get { key: random.pick(&keys()) },
        2 => {
            Request::GetMany { keys: (0..random.pick(&[0, 1, 2, 2])).map(|_| random.pick(&keys())).collect() }
        }
        3 | 4 => Request::Scan {
            start: random.pick(&["", "a", "b", "c"]).into(),
            end: random.pick(&[None, None, Some("a"), Some("b"), Some("c")]).map(Blob::from),
            reverse: random.one_in(2),
            limit: random.pick(&[None, None, Some(0), Some(1), Some(2)]),
        },
        _ => {
            let conditions = match random.below(3) {
                0 => 0,
                1 => 1,
                _ => random.below(3),
            };
            let conditions = (0..conditions).map(|_| (random.pick(&keys()), condition(random))).collect();
            let ops = random.pick(&[0, 1, 1, 1, 1, 2, 2, 3]);
            let op = |_| {
                let put = !random.one_in(3);
                let key = random.pick(&keys());
                (key, put.then(|| value(random, unique)))
            };
            Request::Write { conditions, ops: (0..ops).map(op).collect(), ttls: Vec::new() }
        }
    }
}

fn lie(random: &mut Random, request: &Request, place: u64) -> Answer {
    let record = |random: &mut Random| {
        (!random.one_in(3)).then(|| Record { value: value(random, false), version: None })
    };
    match request {
        Request::Get { .. } => Answer::Record(record(random)),
        Request::GetMany { keys } => {
            Answer::Records { version: None, records: keys.iter().map(|_| record(random)).collect() }
        }
        Request::Scan { .. } => {
            let entries = (0..random.below(3)).map(|_| (random.pick(&keys()), record(random))).collect();
            Answer::Entries { version: None, entries }
        }
        Request::Write { conditions, .. } => match random.below(5) {
            0 => Answer::Committed { version: Some(100 + place) },
            1 => Answer::Unchanged { version: None },
            2 => Answer::Applied,
            _ if !conditions.is_empty() => {
                let index = random.below(conditions.len() as u64) as usize;
                let current = match random.below(3) {
                    0 => Current::Unsaid,
                    _ => record(random).map_or(Current::Absent, Current::Present),
                };
                Answer::Conflict { index, version: None, current }
            }
            _ => Answer::Failed,
        },
    }
}

fn history(seed: u64) -> History {
    let mut random = Random(seed);
    let unique = random.one_in(2);
    let unknown = random.pick(&[2, 2, 4, 1000]);
    let span = random.pick(&[6, 12, 30]);
    // Most writes are of unknown outcome, and reads tell what they did.
    let crowded = random.one_in(3);
    let count = 2 + random.below(if crowded { 6 } else { 5 });
    let mut plans: Vec<(u64, Operation)> = (0..count)
        .map(|process| {
            let called = random.below(span);
            let point = called + random.below(6);
            let returned = point + random.below(4);
            let request = request(&mut random, unique);
            let outcome = Some(Outcome { returned, answer: Answer::Failed });
            (point, Operation { process, request, called, outcome })
        })
        .collect();
    // What happens at one time happens in an order nobody knows.
    plans.sort_by_key(|(point, _)| *point);
    let (mut model, mut version) = (Model::new(), 9);
    for (point, operation) in &mut plans {
        let mut answer = None;
        let is_write = matches!(operation.request, Request::Write { .. });
        let lost = if crowded { is_write && !random.one_in(4) } else { random.one_in(unknown) };
        if !(lost && random.one_in(2)) {
            answer = Some(truth(&mut model, &operation.request, &mut version));
        }
        operation.outcome = answer.filter(|_| !lost).map(|answer| Outcome {
            returned: operation.outcome.take().map_or(*point, |outcome| outcome.returned),
            answer,
        });
    }
    if random.one_in(2) {
        for _ in 0..=random.below(3) {
            let place = random.below(count);
            let operation = &mut plans[place as usize].1;
            if let Some(outcome) = &mut operation.outcome {
                outcome.answer = lie(&mut random, &operation.request, place);
            }
        }
    }
    let mut operations: Vec<Operation> = plans.into_iter().map(|(_, operation)| operation).collect();
    operations.sort_by_key(|operation| operation.called);
    History { operations, ..History::default() }
}

/// Whether some order explains every answer: all orders are tried.
fn some_order_explains(history: &History) -> bool {
    let answers = || history.operations.iter().filter_map(Operation::answer);
    let mut owned: Vec<u64> = answers()
        .filter_map(|answer| if let Answer::Committed { version } = answer { *version } else { None })
        .collect();
    let versions: Vec<Option<u64>> = history
        .operations
        .iter()
        .map(|operation| match operation.answer() {
            Some(Answer::Committed { version }) => *version,
            None => seen_version(history, operation),
            Some(_) => None,
        })
        .collect();
    owned.extend(versions.iter().flatten());
    let left: Vec<usize> = (0..history.operations.len())
        .filter(|place| {
            let operation = &history.operations[*place];
            operation.answer() != Some(&Answer::Failed)
                && (operation.outcome.is_some() || matches!(operation.request, Request::Write { .. }))
        })
        .collect();
    explains(history, &versions, &owned, &left, &Model::new())
}

fn explains(
    history: &History,
    versions: &[Option<u64>],
    owned: &[u64],
    left: &[usize],
    model: &Model,
) -> bool {
    let of = |place: usize| &history.operations[place];
    if left.iter().all(|place| of(*place).outcome.is_none()) {
        return true;
    }
    left.iter().any(|place| {
        let operation = of(*place);
        if left.iter().any(|other| of(*other).outcome.is_some() && of(*other).returned() < operation.called) {
            return false;
        }
        let rest: Vec<usize> = left.iter().copied().filter(|other| other != place).collect();
        let mut after = model.clone();
        agrees(&mut after, operation, versions[*place], owned)
            && explains(history, versions, owned, &rest, &after)
    })
}

fn agrees(model: &mut Model, operation: &Operation, version: Option<u64>, owned: &[u64]) -> bool {
    let same = |model: &Model, key: &Blob, seen: &Option<Record>| {
        model.get(key).map(|(value, _)| value) == seen.as_ref().map(|record| &record.value)
    };
    match (&operation.request, operation.answer()) {
        (Request::Get { key }, Some(Answer::Record(seen))) => same(model, key, seen),
        (Request::GetMany { keys }, Some(Answer::Records { records, .. })) => {
            keys.iter().zip(records).all(|(key, seen)| same(model, key, seen))
        }
        (request @ Request::Scan { .. }, Some(Answer::Entries { entries, .. })) => {
            let there = range(model, request);
            there.len() == entries.len()
                && there.iter().zip(entries).all(|((key, record), (seen_key, seen))| {
                    *key == seen_key && seen.as_ref().is_none_or(|seen| seen.value == record.0)
                })
        }
        (Request::Write { conditions, .. }, Some(Answer::Conflict { index, current, .. })) => {
            conditions[..*index].iter().all(|held| judge(model, held, owned).0)
                && judge(model, &conditions[*index], owned).1
                && match current {
                    Current::Unsaid => true,
                    Current::Absent => same(model, &conditions[*index].0, &None),
                    Current::Present(record) => same(model, &conditions[*index].0, &Some(record.clone())),
                }
        }
        (Request::Write { conditions, ops, .. }, answer) => {
            let changed = changes(model, ops);
            let holds = conditions.iter().all(|held| judge(model, held, owned).0);
            apply(model, ops, version);
            holds
                && match answer {
                    Some(Answer::Committed { .. }) => changed,
                    Some(Answer::Unchanged { .. }) => !changed,
                    Some(Answer::Applied) | None => true,
                    _ => false,
                }
        }
        _ => false,
    }
}

/// The one version with which somebody saw a value that no other write can have put.
fn seen_version(history: &History, unknown: &Operation) -> Option<u64> {
    let Request::Write { ops, .. } = &unknown.request else { return None };
    let mut seen = Vec::new();
    for (key, value) in effective(ops) {
        let Some(value) = value else { continue };
        let puts = |operation: &&Operation| match (&operation.request, operation.answer()) {
            (_, Some(Answer::Failed | Answer::Conflict { .. } | Answer::Unchanged { .. })) => false,
            (Request::Write { ops, .. }, _) => effective(ops).get(&key) == Some(&Some(value.clone())),
            _ => false,
        };
        if history.operations.iter().filter(puts).count() > 1 {
            continue;
        }
        for operation in &history.operations {
            let records: Vec<(&Blob, &Record)> = match (&operation.request, operation.answer()) {
                (Request::Get { key }, Some(Answer::Record(Some(record)))) => vec![(key, record)],
                (Request::GetMany { keys }, Some(Answer::Records { records, .. })) => {
                    keys.iter().zip(records).filter_map(|(key, seen)| Some((key, seen.as_ref()?))).collect()
                }
                (_, Some(Answer::Entries { entries, .. })) => {
                    entries.iter().filter_map(|(key, seen)| Some((key, seen.as_ref()?))).collect()
                }
                (
                    Request::Write { conditions, .. },
                    Some(Answer::Conflict { index, current: Current::Present(record), .. }),
                ) => vec![(&conditions[*index].0, record)],
                _ => Vec::new(),
            };
            let of_it = records.into_iter().filter(|(at, record)| **at == key && record.value == value);
            seen.extend(of_it.filter_map(|(_, record)| record.version));
        }
    }
    seen.sort_unstable();
    seen.dedup();
    if seen.len() == 1 { Some(seen[0]) } else { None }
}

#[test]
fn wgl_agrees_with_every_order_on_tiny_random_histories() {
    let count = std::env::var("RDB_CHECKER_HISTORIES").ok().and_then(|count| count.parse().ok());
    let count = count.unwrap_or(40_000);
    let (mut good, mut bad) = (0, 0);
    for seed in 0..count {
        let history = history(seed);
        let expected = some_order_explains(&history);
        let verdict = wgl::check(&history, Duration::from_secs(60));
        let agrees = match &verdict {
            Verdict::Linearizable => expected,
            Verdict::Violation(_) => !expected,
            Verdict::Undecided(_) => false,
        };
        if !agrees {
            let mut lines = Vec::new();
            history.write(&mut lines).unwrap();
            panic!("seed {seed}: {verdict}, all orders: {expected}\n{}", String::from_utf8_lossy(&lines));
        }
        if expected { good += 1 } else { bad += 1 }
    }
    println!("{good} linearizable, {bad} not");
    assert!(good > count / 5 && bad > count / 5, "one verdict is too rare: {good} and {bad}");
}
