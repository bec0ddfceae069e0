//! Groups that are judged while the commit of the one before is under way.

use std::time::Duration;

use futures::StreamExt as _;
use rdb_engine_api::{
    Batch, Condition, Engine as _, EngineExt as _, ErrorKind, KeyRange, Outcome, Previous, Result,
    SessionOptions, Version, Watch, WatchEvent, WriteOptions,
};
use tokio::task::JoinHandle;

use crate::bench::{Bench, committed, create, key, number};
use crate::shelf::Failing;

type Sent = JoinHandle<Result<Outcome>>;

fn put(name: &str, value: &str) -> Batch {
    Batch::new().put(key(name), value.to_owned())
}

/// Puts if the key has this value.
fn swap(name: &str, old: &str, new: &str) -> Batch {
    Batch::new().when(key(name), Condition::Value(old.to_owned().into())).put(key(name), new.to_owned())
}

/// Has a group of two writes under way, whose commit does not end before it is let through: the first one and
/// one of another key.
async fn fly(bench: &Bench, first: &Batch) -> [Sent; 2] {
    // A write alone is committed by the committer itself, so those behind it are one group.
    let held = bench.hold_committer().await;
    let sent =
        [bench.send(first, WriteOptions::default()), bench.send(&put("other", "o"), WriteOptions::default())];
    bench.until("queue_writes", 2.0).await;
    let commits = bench.shelf.commits();
    bench.shelf.pass();
    assert!(held.await.unwrap().is_ok());
    while bench.shelf.commits() == commits {
        tokio::task::yield_now().await;
    }
    sent
}

/// Sends a write, and waits until the committer has taken it.
async fn join(bench: &Bench, batch: &Batch) -> Sent {
    join_with(bench, batch, WriteOptions::default()).await
}

async fn join_with(bench: &Bench, batch: &Batch, options: WriteOptions) -> Sent {
    let taken = bench.taken();
    let sent = bench.send(batch, options);
    while bench.taken() == taken {
        tokio::task::yield_now().await;
    }
    sent
}

async fn answered(sent: Sent) -> Outcome {
    sent.await.unwrap().unwrap()
}

async fn refused(sent: Sent) -> ErrorKind {
    sent.await.unwrap().unwrap_err().kind()
}

#[tokio::test]
async fn group_is_judged_by_the_one_under_way_and_answered_behind_it() {
    let bench = Bench::new();
    let first = fly(&bench, &put("k", "1")).await;
    let swapped = join(&bench, &swap("k", "1", "2")).await;
    let conflict = join(&bench, &create("k")).await;
    let alone = join(&bench, &create("l")).await;
    assert_eq!(bench.value("k").await, None, "nothing is read before it is committed");

    let commits = bench.shelf.commits();
    bench.shelf.pass();
    let mut versions = Vec::new();
    for sent in first {
        versions.push(committed(&answered(sent).await));
    }
    assert_eq!(bench.value("k").await.unwrap(), "1");
    while bench.shelf.commits() == commits {
        tokio::task::yield_now().await;
    }
    assert!(!swapped.is_finished() && !conflict.is_finished() && !alone.is_finished());
    bench.shelf.release();
    versions.push(committed(&answered(swapped).await));
    let Outcome::Conflict(conflict) = answered(conflict).await else { panic!("the key was there") };
    assert_eq!(conflict.current.unwrap().value, "2");
    versions.push(committed(&answered(alone).await));
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    assert_eq!(bench.value("k").await.unwrap(), "2");
    assert_eq!(bench.shelf.commits(), commits + 1, "what came meanwhile is one group");
}

#[tokio::test]
async fn failure_leaves_its_own_group_unknown_and_certifies_that_the_next_was_not_applied() {
    for failing in [Failing::Applied, Failing::Lost] {
        let mut bench = Bench::new();
        let session = bench.session().await;
        bench.shelf.fail_behind(1, failing);
        let first = fly(&bench, &put("k", "1")).await;
        let options = WriteOptions::default().stamp(session.stamp(number(1), 0));
        let swapped = join_with(&bench, &swap("k", "1", "2"), options.clone()).await;
        let again = join_with(&bench, &swap("k", "1", "2"), options).await;
        let conflict = join(&bench, &create("k")).await;
        let engine = bench.engine.clone();
        let opened = tokio::spawn(async move { engine.open_session(SessionOptions::default()).await });
        bench.shelf.release();
        for sent in first {
            assert_eq!(refused(sent).await, ErrorKind::Unknown);
        }
        assert_eq!(refused(swapped).await, ErrorKind::Closed);
        assert_eq!(refused(again).await, ErrorKind::Unknown);
        assert_eq!(refused(conflict).await, ErrorKind::Closed);
        assert_eq!(opened.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        bench.reopen_on(bench.shelf.after_crash());
        let left = matches!(failing, Failing::Applied).then(|| "1".to_owned());
        assert_eq!(bench.value("k").await, left);
    }
}

#[tokio::test]
async fn close_waits_for_the_commit_under_way_and_for_what_has_joined_it() {
    let bench = Bench::new();
    let [first, _] = fly(&bench, &put("k", "1")).await;
    let swapped = join(&bench, &swap("k", "1", "2")).await;
    let engine = bench.engine.clone();
    let closed = tokio::spawn(async move { engine.close().await });
    while bench.engine.time().await.is_ok() {
        tokio::task::yield_now().await;
    }
    bench.shelf.release();
    assert!(answered(first).await.succeeded() && answered(swapped).await.succeeded());
    closed.await.unwrap().unwrap();
}

#[tokio::test]
async fn life_is_counted_from_the_arrival_however_long_its_group_has_been_open() {
    let bench = Bench::new();
    let first = fly(&bench, &put("k", "1")).await;
    let opener = join(&bench, &put("l", "1")).await;
    bench.clock.advance(Duration::from_secs(10));
    let now = bench.engine.time().await.unwrap();
    let second = Duration::from_secs(1);
    let put = Batch::new().put_for(key("short"), "s", second);
    let short = join(&bench, &put).await;
    bench.shelf.release();
    for sent in first.into_iter().chain([opener, short]) {
        assert!(answered(sent).await.succeeded());
    }
    let record = bench.engine.get(&key("short")).await.unwrap().expect("its time is not over");
    assert!(record.expires_at.unwrap() >= now + second);
}

#[tokio::test]
async fn record_that_was_due_before_its_commit_returned_is_removed() {
    let bench = Bench::new();
    let put = Batch::new().put_for(key("k"), "1", Duration::from_millis(5));
    let first = fly(&bench, &put).await;
    bench.clock.advance(Duration::from_secs(10));
    let next = bench.send(&create("k"), WriteOptions::default());
    // It runs on this thread, until it waits for its answer.
    tokio::task::yield_now().await;
    bench.until("queue_writes", 0.0).await;
    bench.shelf.release();
    for sent in first {
        assert!(answered(sent).await.succeeded());
    }
    assert!(answered(next).await.succeeded(), "it was removed before whoever came then");
    assert_eq!(bench.value("k").await.unwrap(), "v");
}

#[tokio::test]
async fn watch_of_previous_records_has_them_of_every_commit_behind_the_one_under_way() {
    let bench = Bench::new();
    let first = fly(&bench, &put("k", "1")).await;
    let joined = join(&bench, &swap("k", "1", "2")).await;
    let watch = |after: Option<Version>| {
        let engine = bench.engine.clone();
        let watch = Watch::new(KeyRange::all()).previous();
        let watch = after.into_iter().fold(watch, Watch::after);
        tokio::spawn(async move { engine.watch(watch).await })
    };
    let opened = watch(None);
    // It runs on this thread, until it has to wait for the commits under way, in which nothing is recorded.
    tokio::task::yield_now().await;
    bench.shelf.pass();
    let mut before = Version::MIN;
    for sent in first {
        before = before.max(committed(&answered(sent).await));
    }
    let later = bench.send(&put("k", "3"), WriteOptions::default());
    tokio::task::yield_now().await;
    bench.until("queue_writes", 0.0).await;
    let refused = watch(Some(before));
    tokio::task::yield_now().await;
    bench.shelf.release();
    assert!(answered(joined).await.succeeded() && answered(later).await.succeeded());
    let mut watch = opened.await.unwrap().unwrap();
    let last = bench.engine.put(&key("k"), "4").await.unwrap().version;
    loop {
        let WatchEvent::Commit(commit) = watch.data.next().await.unwrap().unwrap() else { continue };
        for op in &commit.ops {
            assert_ne!(op.previous, Previous::NotAsked, "{commit:?}");
        }
        if commit.version == last {
            assert!(matches!(&commit.ops[0].previous, Previous::Record(record) if record.value == "3"));
            break;
        }
    }
    let refused = refused.await.unwrap().map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Compacted, "of what was under way none were recorded");
}
