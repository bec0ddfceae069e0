use bytes::Bytes;
use rdb_engine_api::{Durability, Record};

use super::*;
use rdb_engine_api::Stamp;
use std::num::NonZeroU64;

fn key(name: &'static str) -> Key {
    Key::new(name).unwrap()
}

fn commit(version: u64) -> Commit {
    Commit { version: Version::new(version).unwrap(), durability: Durability::Process }
}

fn converted(request: v1::WriteRequest) -> Result<(Batch, WriteOptions), Error> {
    request.try_into()
}

#[test]
fn a_batch_of_everything_survives_the_wire() {
    let put = Op::Put { value: Bytes::from_static(b"v"), ttl: Some(Duration::from_millis(5)) };
    let batch = Batch::new()
        .when(key("a"), Condition::Absent)
        .when(key("b"), Condition::Present)
        .when(key("c"), Condition::Version(Version::MIN))
        .when(key("d"), Condition::Value(Bytes::new()))
        .put(key("e"), Bytes::new())
        .op(key("f"), put)
        .delete(key("e"));
    let number = NonZeroU64::MIN;
    let options = WriteOptions::default()
        .durability(Durability::Synced)
        .timeout(Duration::from_millis(9))
        .stamp(Stamp { session: number, life: number, sequence: number, acknowledged: 7 })
        .wait(Duration::from_millis(8));
    for options in [options, WriteOptions::default()] {
        let request = v1::WriteRequest::from((batch.clone(), options.clone()));
        assert_eq!(converted(request).unwrap(), (batch.clone(), options));
    }
}

#[test]
fn the_short_requests_are_batches_of_one() {
    let put = || Some(v1::Put { value: Bytes::from_static(b"v"), ttl_ms: Some(5) });
    let op = || Op::Put { value: Bytes::from_static(b"v"), ttl: Some(Duration::from_millis(5)) };
    let k = || Bytes::from_static(b"k");
    let options = || Some(v1::WriteOptions { durability: 3, ..Default::default() });
    let synced = WriteOptions::default().durability(Durability::Synced);

    let request = v1::PutRequest { key: k(), put: put(), options: options() };
    assert_eq!(<(Batch, _)>::try_from(request).unwrap(), (Batch::new().op(key("k"), op()), synced.clone()));

    let request = v1::DeleteRequest { key: k(), options: options() };
    assert_eq!(<(Batch, _)>::try_from(request).unwrap(), (Batch::new().delete(key("k")), synced.clone()));

    let condition = Some(Condition::Version(Version::MIN).into());
    let request = v1::CompareAndSwapRequest { key: k(), condition, put: put(), options: options() };
    let batch = Batch::new().when(key("k"), Condition::Version(Version::MIN)).op(key("k"), op());
    assert_eq!(<(Batch, _)>::try_from(request).unwrap(), (batch, synced));
}

#[test]
fn a_request_with_a_hole_is_an_invalid_argument() {
    let k = || Bytes::from_static(b"k");
    let put = v1::PutRequest { key: k(), ..Default::default() };
    assert_eq!(<(Batch, _)>::try_from(put).unwrap_err().kind(), ErrorKind::InvalidArgument);

    let swap = v1::CompareAndSwapRequest { key: k(), put: Some(v1::Put::default()), ..Default::default() };
    assert_eq!(<(Batch, _)>::try_from(swap).unwrap_err().kind(), ErrorKind::InvalidArgument);

    let check = |condition| wire::Check { key: k(), condition };
    let version_zero = v1::Condition { condition: Some(v1::condition::Condition::Version(0)) };
    for condition in [None, Some(v1::Condition::default()), Some(version_zero)] {
        let request = v1::WriteRequest { conditions: vec![check(condition)], ..Default::default() };
        assert_eq!(converted(request).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    let operation = wire::Operation { key: k(), action: None };
    let request = v1::WriteRequest { operations: vec![operation], ..Default::default() };
    assert_eq!(converted(request).unwrap_err().kind(), ErrorKind::InvalidArgument);

    let stamp = Some(v1::Stamp { session: 1, sequence: 0, life: 1, acknowledged: 0 });
    let options = Some(v1::WriteOptions { stamp, ..Default::default() });
    let request = v1::WriteRequest { options, ..Default::default() };
    assert_eq!(converted(request).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_durability_of_the_future_is_unsupported() {
    let options = Some(v1::WriteOptions { durability: 4, ..Default::default() });
    let request = v1::WriteRequest { options, ..Default::default() };
    assert_eq!(converted(request).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn every_outcome_survives_the_wire() {
    let conflict = |current| Conflict::new(3, key("k"), Version::MIN, current);
    let record = Record::new(Bytes::from_static(b"v"), Version::MIN);
    for outcome in [
        Outcome::Committed(commit(7)),
        Outcome::Unchanged(commit(8)),
        Outcome::Conflict(conflict(None)),
        Outcome::Conflict(conflict(Some(record))),
    ] {
        assert_eq!(Outcome::try_from(v1::WriteResponse::from(outcome.clone())).unwrap(), outcome);
        assert_eq!(Outcome::try_from(v1::DeleteResponse::from(outcome.clone())).unwrap(), outcome);
        assert_eq!(Outcome::try_from(v1::CompareAndSwapResponse::from(outcome.clone())).unwrap(), outcome);
    }
    assert_eq!(Commit::try_from(v1::PutResponse::from(commit(9))).unwrap(), commit(9));
}

#[test]
fn a_malformed_answer_to_a_write_leaves_it_unknown() {
    assert_eq!(Commit::try_from(v1::PutResponse::default()).unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(Outcome::try_from(v1::WriteResponse::default()).unwrap_err().kind(), ErrorKind::Unknown);

    let mut answer = v1::PutResponse::from(commit(1));
    answer.commit.as_mut().unwrap().version = 0;
    assert_eq!(Commit::try_from(answer).unwrap_err().kind(), ErrorKind::Unknown);

    let conflict = v1::Conflict { version: 1, ..Default::default() };
    let outcome = v1::Outcome { outcome: Some(v1::outcome::Outcome::Conflict(conflict)) };
    let answer = v1::WriteResponse { outcome: Some(outcome) };
    assert_eq!(Outcome::try_from(answer).unwrap_err().kind(), ErrorKind::Unknown);
}
