//! Expiry (C15) over a store that fails or holds damage, and in restores (C19).

#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rdb_engine_api::{
    Engine, EngineExt as _, Entry, EntryStream, Error, ErrorKind, Key, Record, Result, Space, Version, View,
};

use super::commit::{Fixture, key, open};
use super::expiry::{INDEX, assert_index_agrees, entries, put_many, reopen, until, until_gone};
use super::metrics::number;
use crate::double::Fate;

const START: Duration = Duration::from_secs(1_700_000_000);
const SECOND: Duration = Duration::from_secs(1);
const VIEW: Version = Version::new(1_000).unwrap();

#[tokio::test(flavor = "multi_thread")]
async fn c11_a_removal_that_fails_stops_the_engine_and_the_next_opening_does_it() {
    for fate in [Fate::Fail, Fate::FailLate, Fate::Panic] {
        let Fixture { engine, store, clock } = open();
        engine.put_for(&key("k"), "v", SECOND).await.unwrap();
        store.hold();
        clock.advance(SECOND);
        store.wait_for_commits(1);
        store.let_one_go(fate);
        until("the engine stops", async || number(&*engine, "accepts_writes", "") == 0.0).await;
        assert_eq!(engine.put(&key("other"), "v").await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(reopen(&store, START + SECOND).get(&key("k")).await.unwrap(), None, "{fate:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_a_store_that_cannot_be_read_holds_removals_up_and_nobody_else() {
    let Fixture { engine, store, clock } = open();
    engine.put_for(&key("k"), "v", SECOND).await.unwrap();
    store.fail_reads(true);
    clock.advance(2 * SECOND);
    until("the removal fails", async || number(&*engine, "expiry_failures", "") == 1.0).await;
    engine.put(&key("other"), "v").await.unwrap();
    assert_eq!(number(&*engine, "expiry_failures", ""), 1.0, "it rests");
    assert_eq!(number(&*engine, "expiry_lag", ""), 1.0);
    store.fail_reads(false);
    clock.advance(SECOND);
    until_gone(&engine, "k").await;
    assert_eq!(number(&*engine, "expiry_lag", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c13_c15_what_is_damaged_keeps_nothing_else_from_being_removed() {
    let Fixture { engine, store, clock } = open();
    for name in ["damaged record", "damaged entry", "sound"] {
        engine.put_for(&key(name), "v", SECOND).await.unwrap();
    }
    let flip = |row: Option<Bytes>| {
        let mut row = row.unwrap().to_vec();
        *row.last_mut().unwrap() ^= 1;
        Bytes::from(row)
    };
    store.tamper(Space::Data, b"damaged record", flip);
    let damaged = store.system_keys(INDEX).into_iter().find(|entry| entry.ends_with(b"entry")).unwrap();
    store.tamper(Space::System, &damaged, flip);
    clock.advance(SECOND);
    until_gone(&engine, "sound").await;
    assert_eq!(number(&*engine, "expiry_failures", ""), 2.0);
    assert!(engine.get(&key("damaged entry")).await.unwrap().is_some());
    assert_eq!(engine.get(&key("damaged record")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    // A put mends a record, and what it left in the index removes nothing.
    engine.put_for(&key("damaged record"), "w", 100 * SECOND).await.unwrap();
    let reopened = reopen(&store, START + 2 * SECOND);
    assert_eq!(reopened.get(&key("damaged record")).await.unwrap().unwrap().value, "w");
}

fn entry(name: &str, ends: Option<Duration>) -> Entry {
    let mut record = Record::new(Bytes::from_static(b"v"), VIEW);
    record.expires_at = ends.map(|ends| UNIX_EPOCH + ends);
    Entry::new(key(name), Some(record))
}

fn view(chunks: Vec<Result<Vec<Entry>>>) -> View<EntryStream> {
    View { version: VIEW, data: stream::iter(chunks).boxed() }
}

fn lives() -> Vec<Entry> {
    vec![
        entry("a", Some(START + SECOND)),
        entry("b", Some(START)),
        entry("c", None),
        entry("d", Some(Duration::ZERO)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_c19_restored_records_keep_their_ends_and_what_is_due_is_never_seen() {
    let Fixture { engine, store, clock } = open();
    store.hold();
    let restoring = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.restore(view(vec![Ok(lives())])).await })
    };
    // The mark, the rows, the end, and the removal: nobody sees the engine before that.
    for number in 1..=4 {
        store.wait_for_commits(number);
        let refused = engine.get(&key("b")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "before commit {number}");
        assert_eq!(entries(&reopen(&store, START)).await.len(), if number == 4 { 2 } else { 0 });
        store.let_one_go(Fate::Succeed);
    }
    restoring.await.unwrap().unwrap();
    store.let_all_go();
    let there: Vec<Key> = entries(&engine).await.into_iter().map(|entry| entry.key).collect();
    assert_eq!(there, [key("a"), key("c")]);
    assert_index_agrees(&engine, &store).await;
    clock.advance(SECOND);
    until_gone(&engine, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_c19_a_restore_that_fails_leaves_nothing_in_the_index() {
    let Fixture { engine, store, clock } = open();
    let broken = Err(Error::new(ErrorKind::Unavailable, "the line is cut"));
    let part: Vec<Entry> = (0..5_000).map(|n| entry(&format!("k{n:05}"), Some(START + SECOND))).collect();
    let refused = engine.restore(view(vec![Ok(part.clone()), broken])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(store.system_keys(INDEX).len(), 0);

    // Nor does one that a crash cut short.
    store.hold();
    let restoring = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.restore(view(vec![Ok(part)])).await })
    };
    store.wait_for_commits(1);
    store.let_one_go(Fate::Succeed);
    store.wait_for_commits(2);
    store.let_one_go(Fate::Succeed);
    store.wait_for_commits(3);
    assert!(!store.system_keys(INDEX).is_empty());
    let crashed = store.crashed();
    let fresh = rdb_engine_api::Local::open(crashed.clone(), Default::default(), clock).unwrap();
    assert_eq!((crashed.system_keys(INDEX).len(), entries(&fresh).await.len()), (0, 0));
    store.let_all_go();
    restoring.await.unwrap().unwrap();
    assert_index_agrees(&engine, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_c19_a_removal_that_fails_behind_a_restore_leaves_it_unknown_to_the_caller() {
    let Fixture { engine, store, .. } = open();
    store.hold();
    let restoring = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.restore(view(vec![Ok(lives())])).await })
    };
    for number in 1..=4 {
        store.wait_for_commits(number);
        store.let_one_go(if number == 4 { Fate::Fail } else { Fate::Succeed });
    }
    assert_eq!(restoring.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(engine.get(&key("a")).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(entries(&reopen(&store, START)).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_c15_an_opening_whose_removal_fails_is_refused() {
    let Fixture { engine, store, clock } = open();
    put_many(&engine, 10, SECOND).await;
    clock.advance(SECOND / 2);
    let broken = store.crashed();
    broken.fail_reads(true);
    let refused = rdb_engine_api::Local::open(broken, Default::default(), clock).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
}
