//! Histories by hand: the times and the answers, and little else.

use rdb_checker::{
    Answer, Blob, Condition, Current, History, Operation, Outcome, Record, Request, Verdict, version_order,
};

pub(crate) fn get(key: &str) -> Request {
    Request::Get { key: key.into() }
}

pub(crate) fn get_many(keys: &[&str]) -> Request {
    Request::GetMany { keys: keys.iter().map(|key| (*key).into()).collect() }
}

/// From a key to before another.
pub(crate) fn scan(start: &str, end: &str) -> Request {
    Request::Scan { start: start.into(), end: Some(end.into()), reverse: false, limit: None }
}

pub(crate) fn write(conditions: &[(&str, Condition)], ops: &[(&str, Option<&str>)]) -> Request {
    let conditions = conditions.iter().map(|(key, condition)| ((*key).into(), condition.clone())).collect();
    let ops = ops.iter().map(|(key, value)| ((*key).into(), value.map(Blob::from))).collect();
    Request::Write { conditions, ops, ttls: Vec::new() }
}

pub(crate) fn put(key: &str, value: &str) -> Request {
    write(&[], &[(key, Some(value))])
}

pub(crate) fn delete(key: &str) -> Request {
    write(&[], &[(key, None)])
}

pub(crate) fn record(value: &str, version: u64) -> Record {
    Record { value: value.into(), version: Some(version) }
}

pub(crate) fn found(value: &str, version: u64) -> Answer {
    Answer::Record(Some(record(value, version)))
}

pub(crate) const MISSING: Answer = Answer::Record(None);

pub(crate) fn records(version: u64, records: &[Option<Record>]) -> Answer {
    Answer::Records { version: Some(version), records: records.to_vec() }
}

pub(crate) fn entries(version: u64, entries: &[(&str, &str, u64)]) -> Answer {
    let entry = |(key, value, version): &(&str, &str, u64)| ((*key).into(), Some(record(value, *version)));
    Answer::Entries { version: Some(version), entries: entries.iter().map(entry).collect() }
}

pub(crate) fn keys(version: u64, keys: &[&str]) -> Answer {
    let entries = keys.iter().map(|key| ((*key).into(), None)).collect();
    Answer::Entries { version: Some(version), entries }
}

pub(crate) fn committed(version: u64) -> Answer {
    Answer::Committed { version: Some(version) }
}

pub(crate) fn unchanged(version: u64) -> Answer {
    Answer::Unchanged { version: Some(version) }
}

pub(crate) fn conflict(index: usize, version: u64, current: Current) -> Answer {
    Answer::Conflict { index, version: Some(version), current }
}

/// An operation from one time to another.
pub(crate) fn done(called: u64, returned: u64, request: Request, answer: Answer) -> Operation {
    let outcome = Some(Outcome { returned, answer });
    Operation { process: called, request, called, outcome }
}

/// A call without an answer.
pub(crate) fn unknown(called: u64, request: Request) -> Operation {
    Operation { process: called, request, called, outcome: None }
}

/// One after the other.
pub(crate) fn in_turn(steps: Vec<(Request, Answer)>) -> Vec<Operation> {
    let times = (0..).step_by(10);
    times.zip(steps).map(|(at, (request, answer))| done(at, at + 5, request, answer)).collect()
}

pub(crate) fn check(operations: Vec<Operation>) -> Verdict {
    version_order::check(&History { operations, ..History::default() })
}

#[track_caller]
pub(crate) fn right(operations: Vec<Operation>) {
    assert_eq!(check(operations), Verdict::Linearizable);
}

/// A violation whose message has these words in it, by these operations.
#[track_caller]
pub(crate) fn wrong(operations: Vec<Operation>, words: &str, by: &[usize]) {
    match check(operations) {
        Verdict::Violation(violation) => {
            assert!(violation.message.contains(words), "{}", violation.message);
            assert!(by.iter().all(|op| violation.operations.contains(op)), "{violation:?}");
        }
        other => panic!("{other}"),
    }
}

#[track_caller]
pub(crate) fn undecided(operations: Vec<Operation>, words: &str) {
    match check(operations) {
        Verdict::Undecided(reason) => assert!(reason.contains(words), "{reason}"),
        other => panic!("{other}"),
    }
}
