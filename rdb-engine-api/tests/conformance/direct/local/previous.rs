//! What `Local` records of what commits replace, and from when on (C16).

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, poll};
use rdb_engine_api::{
    Batch, CommittedBatch, Engine as _, EngineExt as _, ErrorKind, KeyRange, Previous, Watch,
};
use tokio::time::timeout;

use super::commit::{Fixture, key, open};
use super::watch::{DEADLINE, commit, gauge, put, refused, size_in_history, watch, with_limits, write};

fn all() -> Watch {
    Watch::new(KeyRange::all())
}

fn value_of(previous: &Previous) -> Option<Bytes> {
    match previous {
        Previous::Record(record) => Some(record.value.clone()),
        _ => None,
    }
}

fn previous(commit: &CommittedBatch) -> Vec<Previous> {
    commit.ops.iter().map(|op| op.previous.clone()).collect()
}

/// C16: with each key comes what was there before the commit, also within a group, to whoever asked.
#[tokio::test(flavor = "multi_thread")]
async fn c16_previous_records_are_those_that_each_commit_replaced() {
    let fixture = open();
    let engine = &fixture.engine;
    let first = put(engine, "a", "1").await;
    let (_, mut asking) = watch(engine, all().previous()).await;
    let (_, mut other) = watch(engine, all()).await;
    write(engine, Batch::new().put(key("a"), "2").put(key("b"), "3")).await;
    let seen = commit(&mut asking).await.unwrap();
    let Previous::Record(record) = &seen.ops[0].previous else { panic!("there was a record: {seen:?}") };
    assert_eq!((record.version, &record.value[..]), (first, &b"1"[..]));
    assert_eq!(seen.ops[1].previous, Previous::Absent);
    let seen = commit(&mut other).await.unwrap();
    assert_eq!(previous(&seen), [Previous::NotAsked, Previous::NotAsked]);

    let held = fixture.hold_a_commit().await;
    let mut writes = Vec::new();
    for _ in 0..2 {
        writes.push(fixture.queue_put("c").await);
    }
    fixture.store.let_all_go();
    drop(held.await.unwrap());
    for write in writes {
        drop(write.await.unwrap());
    }
    let _ = engine.delete(&key("c")).await.unwrap();
    assert_eq!(previous(&commit(&mut asking).await.unwrap()), [Previous::Absent]);
    let one = commit(&mut asking).await.unwrap();
    assert_eq!(previous(&one), [Previous::Absent]);
    let two = commit(&mut asking).await.unwrap();
    assert_eq!(previous(&two), [Previous::Record(one.ops[0].record.clone().unwrap())]);
    let removed = commit(&mut asking).await.unwrap();
    assert_eq!(removed.ops[0].record, None);
    assert_eq!(previous(&removed), [Previous::Record(two.ops[0].record.clone().unwrap())]);
}

/// C16: previous records are recorded while somebody wants them: an earlier start is refused with the version
/// from which on they are, and the next attempt finds them recorded.
#[tokio::test(flavor = "multi_thread")]
async fn c16_previous_records_of_before_they_were_recorded_are_refused() {
    let Fixture { engine, .. } = open();
    let first = put(&engine, "k", "1").await;
    let second = put(&engine, "k", "2").await;
    let error = refused(&engine, all().previous().after(first)).await;
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(second)));
    let third = put(&engine, "k", "3").await;
    let (_, mut stream) = watch(&engine, all().previous().after(second)).await;
    let seen = commit(&mut stream).await.unwrap();
    assert_eq!((seen.version, value_of(&seen.ops[0].previous)), (third, Some(Bytes::from("2"))));
    // What was not recorded is still there for whoever does not ask.
    let (_, mut stream) = watch(&engine, all().after(first)).await;
    assert_eq!(commit(&mut stream).await.unwrap().version, second);
}

/// C16: they are recorded for the history's age after the last watch of them, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn c16_previous_records_are_recorded_for_an_age_after_their_last_watch() {
    let age = Duration::from_secs(60);
    let Fixture { engine, clock, .. } = with_limits(|limits| limits.history_age = age);
    let of_one = size_in_history("k", "short").await as f64;
    let of_two = 2.0 * size_in_history("l", "unrecorded").await as f64;
    put(&engine, "k", vec![1; 1_000]).await;
    let (_, stream) = watch(&engine, all().previous()).await;
    clock.advance(10 * age);
    drop(stream);
    clock.advance(age - Duration::from_secs(1));
    let before = put(&engine, "k", "short").await;
    assert_eq!(gauge(&engine, "history_size"), of_one + 1_000.0, "they count as the history's own");
    let after = put(&engine, "k", "2").await;
    let (_, mut stream) = watch(&engine, all().previous().after(before)).await;
    assert_eq!(value_of(&commit(&mut stream).await.unwrap().ops[0].previous), Some(Bytes::from("short")));
    drop(stream);
    clock.advance(age);
    put(&engine, "l", "unrecorded").await;
    let last = put(&engine, "l", "unrecorded").await;
    assert_eq!(gauge(&engine, "history_size"), of_two, "nothing is recorded for nobody");
    let error = refused(&engine, all().previous().after(after)).await;
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(last)));
}

/// C16: a group that was judged before the watch began is not among what the watch delivers.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_watch_of_previous_records_begins_behind_a_group_that_keeps_none() {
    let fixture = open();
    put(&fixture.engine, "first", "0").await;
    let held = fixture.hold_a_commit().await;
    let mut opening = Box::pin(fixture.engine.watch(all().previous()));
    assert!(poll!(&mut opening).is_pending(), "what this group replaces was not recorded");
    fixture.store.let_all_go();
    let view = timeout(DEADLINE, opening).await.expect("it begins behind the group").unwrap();
    let rdb_engine_api::Outcome::Committed(done) = held.await.unwrap() else { panic!("a put commits") };
    assert_eq!(view.version, done.version);
    let mut stream = view.data;
    assert!(stream.next().now_or_never().is_none(), "the group is not delivered");
    put(&fixture.engine, "first", "2").await;
    assert!(value_of(&commit(&mut stream).await.unwrap().ops[0].previous).is_some());
}

/// C14, C16: of what one commit replaces, no more is kept than a batch may have.
#[tokio::test(flavor = "multi_thread")]
async fn c14_previous_records_beyond_a_batch_are_left_out() {
    let Fixture { engine, .. } = with_limits(|limits| {
        limits.max_value_bytes = 1_000;
        limits.max_batch_bytes = 10_000;
    });
    for number in 0..20 {
        put(&engine, &format!("k{number:02}"), vec![1; 1_000]).await;
    }
    let (_, mut stream) = watch(&engine, all().previous()).await;
    let batch = (0..22).fold(Batch::new(), |batch, number| batch.put(key(format!("k{number:02}")), "v"));
    write(&engine, batch).await;
    let previous = previous(&commit(&mut stream).await.unwrap());
    assert_eq!(previous.iter().filter(|previous| matches!(previous, Previous::Record(_))).count(), 10);
    assert_eq!(previous[10..20], vec![Previous::Omitted; 10]);
    assert_eq!(previous[20..], vec![Previous::Absent; 2]);
}
