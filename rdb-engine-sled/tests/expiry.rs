//! Expiry (C15) over openings of one directory.

#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use rdb_engine_api::{
    Batch, Engine as _, EngineExt as _, Key, Local, LocalOptions, ManualClock, Result, Snapshot as _, Space,
    Span, Store as _, WriteOptions,
};
use rdb_engine_sled::{SledConfig, SledStore};
use tokio::time::{Instant, sleep};

const START: Duration = Duration::from_secs(1_700_000_000);
const SECOND: Duration = Duration::from_secs(1);
const COUNT: usize = 3_000;

fn store(path: &Path) -> SledStore {
    let mut config = SledConfig::new(path);
    config.cache_bytes = SledConfig::MIN_CACHE_BYTES;
    SledStore::open(&config).unwrap()
}

fn open(path: &Path, wall: Duration) -> (Local<SledStore>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + wall));
    (Local::open(store(path), LocalOptions::default(), clock.clone()).unwrap(), clock)
}

fn key(number: usize) -> Key {
    Key::new(format!("k{number:05}")).unwrap()
}

/// The number of rows that records which expire have in the index.
fn entries(path: &Path) -> usize {
    let store = store(path);
    let snapshot = store.snapshot().unwrap();
    let index = Span { start: Bytes::from_static(b"x"), end: Some(Bytes::from_static(b"y")) };
    let rows: Result<Vec<_>> = snapshot.scan(Space::System, &index, false).unwrap().collect();
    rows.unwrap().len()
}

async fn fill(engine: &Local<SledStore>) {
    let put = |batch: Batch, number| batch.put_for(key(number), "v", SECOND * (1 + number as u32 % 3));
    let batch = (0..COUNT).fold(Batch::new(), put);
    assert!(engine.write(batch, WriteOptions::default()).await.unwrap().succeeded());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_goes_before_the_first_answer_of_an_opening_whatever_the_clock_was_set_to() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, clock) = open(dir.path(), START);
    fill(&engine).await;
    engine.put_for(&key(2), "touched", 100 * SECOND).await.unwrap();
    engine.put(&key(5), "for ever").await.unwrap();
    clock.advance(SECOND / 2);
    engine.close().await.unwrap();
    assert_eq!(entries(dir.path()), COUNT - 1);

    let (engine, clock) = open(dir.path(), Duration::ZERO);
    assert_eq!(engine.time().await.unwrap(), UNIX_EPOCH + START + SECOND / 2);
    let left = engine.get_with_ttl(&key(0)).await.unwrap().unwrap().1;
    assert_eq!(left, Some(SECOND / 2), "a clock that was set back gives no longer life");
    clock.advance(SECOND / 2);
    drop(engine.close().await);

    let (engine, _) = open(dir.path(), START + 2 * SECOND);
    for number in 0..COUNT {
        let is_there = engine.get(&key(number)).await.unwrap().is_some();
        assert_eq!(is_there, number % 3 == 2, "{number}");
    }
    engine.close().await.unwrap();
    assert_eq!(entries(dir.path()), COUNT / 3 - 1);

    let (engine, _) = open(dir.path(), START + 50 * SECOND);
    let there = engine.get_many(&[key(2), key(5), key(8)]).await.unwrap().data;
    assert_eq!(there.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    engine.close().await.unwrap();
    assert_eq!(entries(dir.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_when_their_time_is_over_though_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, clock) = open(dir.path(), START);
    fill(&engine).await;
    clock.advance(3 * SECOND);
    let deadline = Instant::now() + Duration::from_secs(60);
    while engine.get(&key(COUNT - 1)).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the last one is still there");
        sleep(Duration::from_millis(5)).await;
    }
    engine.close().await.unwrap();
    assert_eq!(entries(dir.path()), 0);
}
