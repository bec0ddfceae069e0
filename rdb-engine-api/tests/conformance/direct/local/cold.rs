//! Reads of records that are not in memory.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::{join_all, try_join_all};
use rdb_engine_api::{Engine, EngineExt as _, ErrorKind, Key, Local, LocalOptions, ManualClock};
use tokio::task::JoinHandle;

use crate::double::Double;

const PATIENCE: Duration = Duration::from_secs(20);

fn key(name: impl Into<String>) -> Key {
    Key::new(name.into()).expect("the tests' keys are keys")
}

/// An engine with a hundred records, none of which is in memory.
async fn open(options: LocalOptions) -> (Arc<Local<Double>>, Double) {
    let store = Double::new();
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    let engine = Local::open(store.clone(), options, clock).expect("the double opens");
    for number in 0..100 {
        engine.put(&key(format!("{number}")), format!("v{number}")).await.expect("it is written");
    }
    store.cool_down();
    (Arc::new(engine), store)
}

fn get(engine: &Arc<Local<Double>>, name: &'static str) -> JoinHandle<rdb_engine_api::Result<bool>> {
    let engine = Arc::clone(engine);
    tokio::spawn(async move { Ok(engine.get(&key(name)).await?.is_some()) })
}

/// C1: each read has its own record, however many are read together.
#[tokio::test(flavor = "multi_thread")]
async fn c1_reads_that_wait_together_have_their_own_records() {
    let (engine, _) = open(LocalOptions::default()).await;
    let reads = (0..10_000).map(|number| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let record = engine.get(&key(format!("{}", number % 101))).await.expect("it is read");
            (number % 101, record.map(|record| record.value))
        })
    });
    let read = tokio::time::timeout(PATIENCE, try_join_all(reads)).await.expect("none is forgotten");
    for (number, value) in read.expect("none panics") {
        assert_eq!(value, (number < 100).then(|| format!("v{number}").into()), "record {number}");
    }
}

/// C14: reads that are stuck hold up none of those behind them, as long as there are places.
#[tokio::test(flavor = "multi_thread")]
async fn c14_reads_that_are_stuck_hold_up_no_others() {
    let (engine, store) = open(LocalOptions::default()).await;
    store.hold_gets(&["7"]);
    let stuck: Vec<_> = (0..20).map(|_| get(&engine, "7")).collect();
    let others = (0..40).map(|_| get(&engine, "8"));
    for other in tokio::time::timeout(PATIENCE, join_all(others)).await.expect("they are not held up") {
        assert!(other.expect("it does not panic").expect("it is read"));
    }
    assert!(stuck.iter().all(|read| !read.is_finished()));
    store.hold_gets(&[]);
    for read in stuck {
        assert!(read.await.expect("it does not panic").expect("it is read"));
    }
}

/// C14: however many single reads wait, others get a place.
#[tokio::test(flavor = "multi_thread")]
async fn c14_single_reads_keep_no_place_that_others_wait_for() {
    let (engine, store) = open(LocalOptions::default()).await;
    store.hold_gets(&["6", "7"]);
    let mut reads = Vec::new();
    for count in 1..=64 {
        reads.push(get(&engine, "7"));
        store.wait_for_gets(count);
    }
    let (six, eight) = (key("6"), [key("8")]);
    let mut behind: Vec<_> = (0..200).map(|_| engine.get(&six)).collect();
    for read in &mut behind {
        assert!(read.now_or_never().is_none(), "all places are taken");
    }
    let mut other = engine.get_many(&eight);
    assert!((&mut other).now_or_never().is_none(), "all places are taken");
    store.hold_gets(&["6"]);
    let other = tokio::time::timeout(PATIENCE, other).await.expect("it gets a place");
    assert!(other.expect("it is read").data[0].is_some());
    store.hold_gets(&[]);
    for read in join_all(behind).await {
        assert!(read.expect("it is read").is_some());
    }
    for read in join_all(reads).await {
        assert!(read.expect("it does not panic").expect("it is read"));
    }
}

/// C14: no more reads wait than may.
#[tokio::test(flavor = "multi_thread")]
async fn c14_reads_beyond_the_limit_are_refused_and_the_limit_lets_go() {
    let mut options = LocalOptions::default();
    options.limits.max_waiting_reads = 3;
    let (engine, store) = open(options).await;
    store.hold_gets(&["7"]);
    let mut reads = Vec::new();
    for count in 1..=64 {
        reads.push(get(&engine, "7"));
        store.wait_for_gets(count);
    }
    let (one, two, three) = (key("1"), key("2"), key("3"));
    let waiting = [&one, &two, &three].map(|key| {
        let mut read = engine.get(key);
        assert!((&mut read).now_or_never().is_none(), "all places are taken");
        read
    });
    let refused = engine.get(&key("4")).await.expect_err("three wait already");
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    store.hold_gets(&[]);
    for read in waiting {
        assert!(read.await.expect("it is read").is_some());
    }
    for read in reads {
        assert!(read.await.expect("it does not panic").expect("it is read"));
    }
    assert!(engine.get(&key("4")).await.expect("the limit has let go").is_some());
}

/// C12: reads that have not begun end with the engine, whether somebody polls them or not.
#[tokio::test(flavor = "multi_thread")]
async fn c12_reads_that_have_not_begun_end_when_the_engine_closes() {
    let (engine, store) = open(LocalOptions::default()).await;
    store.hold_gets(&["7"]);
    let mut begun = Vec::new();
    for count in 1..=64 {
        begun.push(get(&engine, "7"));
        store.wait_for_gets(count);
    }
    let eight = key("8");
    let mut waiting = engine.get(&eight);
    assert!((&mut waiting).now_or_never().is_none(), "all places are taken");
    let closing = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.close().await }
    });
    while engine.get(&key("9")).now_or_never().is_none_or(|read| read.is_ok()) {
        tokio::task::yield_now().await;
    }
    store.hold_gets(&[]);
    let closed = tokio::time::timeout(PATIENCE, closing).await.expect("nothing holds it up");
    closed.expect("it does not panic").expect("it closes");
    for read in begun {
        assert!(read.await.expect("it does not panic").expect("it had begun before the closing"));
    }
    assert_eq!(waiting.await.expect_err("it had not begun").kind(), ErrorKind::Closed);
}
