//! What `Local` bounds whatever its store does, and that its bounds let go again.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures::{FutureExt as _, StreamExt as _};
use rdb_engine_api::{
    Batch, Condition, Engine, EngineExt as _, ErrorKind, Key, KeyRange, Local, LocalOptions, ManualClock,
    Outcome, Scan, WriteOptions,
};

use crate::double::{Double, Fate};

fn open(options: LocalOptions) -> (Arc<Local<Double>>, Double) {
    let store = Double::new();
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    let engine = Local::open(store.clone(), options, clock).expect("the double opens");
    (Arc::new(engine), store)
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).expect("the tests' keys are keys")
}

/// C14: a few keys can stand for many bytes.
#[tokio::test(flavor = "multi_thread")]
async fn c14_records_too_large_to_be_read_at_once_are_refused() {
    let mut options = LocalOptions::default();
    options.limits.max_value_bytes = 60_000;
    options.limits.max_batch_bytes = 100_000;
    let (engine, _) = open(options);
    let (a, b) = (key("a"), key("b"));
    for key in [&a, &b] {
        engine.put(key, vec![7; 60_000]).await.expect("a put commits");
    }
    let one = engine.get_many(std::slice::from_ref(&a)).await.expect("one record fits");
    assert_eq!(one.data.len(), 1);
    let error = engine.get_many(&[a, b]).await.expect_err("two are too large");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// C14: conflicts report records that are not in their requests: a group holds only so many bytes of them.
#[tokio::test(flavor = "multi_thread")]
async fn c14_a_group_ends_where_its_conflicts_report_too_many_bytes() {
    let mut options = LocalOptions::default();
    options.max_group_bytes = 1_000;
    let (engine, store) = open(options);
    let long = key("long");
    engine.put(&long, vec![7; 600]).await.expect("a put commits");

    store.hold();
    let write = |batch: Batch| {
        let engine = Arc::clone(&engine);
        let mut write = Box::pin(async move { engine.write(batch, WriteOptions::default()).await });
        assert!((&mut write).now_or_never().is_none(), "it waits for the committer");
        write
    };
    let first = write(Batch::new().put(key("first"), "v"));
    store.wait_for_commits(1);
    let conflicts: Vec<_> =
        (0..3).map(|_| write(Batch::new().when(long.clone(), Condition::Absent))).collect();
    let last = write(Batch::new().put(key("last"), "v"));
    store.let_one_go(Fate::Succeed);
    assert!(matches!(first.await, Ok(Outcome::Committed(_))));
    store.wait_for_commits(2);
    // The commit of the last put is held. Two conflicts are more than a group may hold: they were a group
    // of their own, which had nothing to commit.
    let mut conflicts = conflicts.into_iter();
    for conflict in conflicts.by_ref().take(2) {
        let answered = tokio::time::timeout(Duration::from_secs(20), conflict).await;
        assert!(matches!(answered, Ok(Ok(Outcome::Conflict(_)))), "saw {answered:?}");
    }
    let mut third = conflicts.next().expect("there were three");
    assert!((&mut third).now_or_never().is_none(), "it is in the group of the held commit (C9)");
    store.let_all_go();
    assert!(matches!(third.await, Ok(Outcome::Conflict(_))));
    assert!(matches!(last.await, Ok(Outcome::Committed(_))));
}

/// C14: a scan's place is free when its end was seen.
#[tokio::test(flavor = "multi_thread")]
async fn c14_a_scan_that_was_read_to_its_end_leaves_its_place() {
    let mut options = LocalOptions::default();
    options.limits.max_scans = 1;
    let (engine, _) = open(options);
    engine.put(&key("a"), "v").await.expect("a put commits");
    for number in 0..2_000 {
        let scan = engine.scan(Scan::new(KeyRange::all())).await;
        let scan = scan.unwrap_or_else(|error| panic!("scan {number} found no place: {error}"));
        assert_eq!(scan.data.count().await, 1);
    }
}

/// C14: there is a thread for every scan that is let in, and some to spare.
#[test]
fn c14_more_scans_than_there_are_threads_are_refused_at_opening() {
    let mut options = LocalOptions::default();
    options.limits.max_scans = 385;
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
    let error = Local::open(Double::new(), options, clock).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// C10: a wait that no clock can measure has no end.
#[tokio::test(flavor = "multi_thread")]
async fn c10_a_write_that_may_wait_for_ever_is_applied() {
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
    clock.advance(Duration::from_secs(1));
    let engine = Local::open(Double::new(), LocalOptions::default(), clock).expect("the double opens");
    let options = WriteOptions::default().timeout(Duration::MAX);
    let outcome = engine.write(Batch::new().put(key("a"), "v"), options).await;
    assert!(matches!(outcome, Ok(Outcome::Committed(_))), "saw {outcome:?}");
}

/// C12: a read that waits for its turn, and that nobody polls, does not hold up the closing.
#[tokio::test(flavor = "multi_thread")]
async fn c12_a_read_that_nobody_polls_does_not_hold_up_close() {
    let (engine, store) = open(LocalOptions::default());
    store.hold_reads(true);
    // So many that they are not looked up in place.
    let keys = vec![key("a"); 100];
    let reads: Vec<_> = (0..64)
        .map(|_| {
            let (engine, keys) = (Arc::clone(&engine), keys.clone());
            tokio::spawn(async move { engine.get_many(&keys).await.map(drop) })
        })
        .collect();
    store.wait_for_reads(64);
    let mut waiting = engine.get_many(&keys);
    assert!((&mut waiting).now_or_never().is_none(), "all places are taken");
    store.hold_reads(false);
    let closed = tokio::time::timeout(Duration::from_secs(20), engine.close()).await;
    assert!(matches!(closed, Ok(Ok(()))), "saw {closed:?}");
    for read in reads {
        read.await.expect("a read does not panic").expect("it had begun before the closing");
    }
    assert_eq!(waiting.await.expect_err("it had not begun").kind(), ErrorKind::Closed);
}
