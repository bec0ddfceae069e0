//! Watches: whole, in order, nothing missed and nothing twice (C16), proven against a node that breaks them off.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

mod fake;

use std::time::Duration;

use fake::history::{End, commit, version};
use fake::{Act, After, Fake, until};
use futures::{StreamExt, TryStreamExt};
use rdb_client::{
    Bytes, Cause, Change, CommittedBatch, CommittedOp, Engine, Entry, Error, ErrorKind, Key, KeyRange,
    Previous, Record, RetryPolicy, SnapshotEvent, SnapshotStream, Watch, WatchEvent, WatchStream,
};
use rdb_proto::ScanPart;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(200);

fn everything() -> Watch {
    Watch::new(KeyRange::all())
}

async fn next(stream: &mut WatchStream) -> Result<WatchEvent, Error> {
    timeout(Duration::from_secs(10), stream.next()).await.unwrap().expect("a watch ends only with an error")
}

/// The versions of the commits up to the first progress.
async fn commits(stream: &mut WatchStream) -> Vec<u64> {
    let mut versions = Vec::new();
    loop {
        match next(stream).await.unwrap() {
            WatchEvent::Commit(commit) => versions.push(commit.version.get()),
            _ => return versions,
        }
    }
}

#[tokio::test]
async fn a_watch_delivers_each_commit_whole_and_then_its_progress() {
    let fake = Fake::start().await;
    fake.history().set([commit(5, 1), commit(6, 3), commit(9, 2)]);
    let client = fake.client().await;
    assert!(client.info().capabilities.watch);
    let view = client.watch(everything().after(version(5))).await.unwrap();
    assert_eq!(view.version.get(), 5);
    let events: Vec<_> = view.data.take(3).try_collect().await.unwrap();
    let expected = [
        WatchEvent::Commit(commit(6, 3)),
        WatchEvent::Commit(commit(9, 2)),
        WatchEvent::Progress(version(9)),
    ];
    assert_eq!(events, expected);
    until(|| fake.history().open() == 0).await;
    let view = client.watch(everything()).await.unwrap();
    assert_eq!(view.version.get(), 9, "from the present on");
}

#[tokio::test]
async fn a_watch_that_breaks_off_says_how_far_it_came_and_is_not_repeated() {
    let fail = |kind, number| End::Fail(Error::new(kind, "no").at(version(number)));
    for (after, end, kind, came) in [
        (2, End::Finish, ErrorKind::Unavailable, 6),
        (3, End::Finish, ErrorKind::Unavailable, 6),
        (3, End::Hang, ErrorKind::Unavailable, 6),
        (3, fail(ErrorKind::Exhausted, 6), ErrorKind::Exhausted, 6),
        (2, fail(ErrorKind::Closed, 6), ErrorKind::Closed, 6),
        (2, fail(ErrorKind::Compacted, 8), ErrorKind::Compacted, 8),
    ] {
        let fake = Fake::start().await;
        fake.history().set([commit(6, 1), commit(7, 2)]);
        fake.history().end([(after, end.clone())]);
        let client = fake.client().await;
        let mut events = client.watch(everything().after(version(5))).await.unwrap().data;
        assert_eq!(next(&mut events).await.unwrap().version().get(), 6, "{end:?}");
        if matches!(end, End::Hang) {
            fake.cut();
        }
        let error = next(&mut events).await.unwrap_err();
        assert_eq!((error.kind(), error.version()), (kind, Some(version(came))), "{end:?}: {error}");
        assert!(events.next().await.is_none());
        assert_eq!(fake.history().asked(), [Some(5)], "{end:?}");
    }
}

#[tokio::test]
async fn opening_a_watch_is_repeated_and_its_refusals_are_told() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order([Act::Cut, Act::Fail(Error::new(ErrorKind::Unavailable, "busy"))]);
    client.watch(everything()).await.unwrap();
    assert_eq!(fake.arrivals(), 3);
    fake.history().compact(7);
    let error = client.subscribe(everything().after(version(6))).await.err().unwrap();
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(version(7))));
    for kind in [ErrorKind::Exhausted, ErrorKind::InvalidArgument, ErrorKind::Unsupported] {
        fake.order([Act::Fail(Error::new(kind, "no"))]);
        assert_eq!(client.subscribe(everything()).await.err().unwrap().kind(), kind);
    }
}

#[tokio::test]
async fn a_node_that_says_nothing_for_too_long_has_broken_the_watch() {
    let fake = Fake::start().await;
    let client = fake.client().await.with_timeout(SHORT);
    let mut events = client.watch(everything().progress(SHORT)).await.unwrap().data;
    assert!(matches!(next(&mut events).await, Ok(WatchEvent::Progress(_))));
    assert_eq!(next(&mut events).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_subscription_goes_on_after_the_last_version_with_nothing_missed_and_nothing_twice() {
    let fake = Fake::start().await;
    fake.history().set((2..=200).map(|number| commit(number, number % 4 + 1)));
    let unavailable = || End::Fail(Error::new(ErrorKind::Unavailable, "shutting down"));
    let closed = || End::Fail(Error::new(ErrorKind::Closed, "closed"));
    let ends = (0..60).map(|place| {
        let end = match place % 4 {
            0 => End::Cut,
            1 => End::Finish,
            2 => unavailable(),
            _ => closed(),
        };
        // Also before the beginning came, and in the middle of commits.
        (place % 11, end)
    });
    fake.history().end(ends);
    let client = fake.builder().retry(RetryPolicy::default().pauses(SHORT / 100, SHORT / 100));
    let client = client.connect().await.unwrap();
    let view = client.subscribe(everything().after(version(1))).await.unwrap();
    let mut events = view.data;
    for number in 2..=200 {
        // Whole, however the pieces of it came.
        assert_eq!(next(&mut events).await.unwrap(), WatchEvent::Commit(commit(number, number % 4 + 1)));
    }
    assert_eq!(next(&mut events).await.unwrap(), WatchEvent::Progress(version(200)));
    assert!(fake.history().asked().len() > 20);
    drop(events);
    until(|| fake.history().open() == 0).await;
}

#[tokio::test]
async fn a_subscription_that_was_idle_goes_on_after_its_progress() {
    let fake = Fake::start().await;
    fake.history().set([commit(5, 1)]);
    let client = fake.client().await;
    let mut events = client.subscribe(everything()).await.unwrap().data;
    assert_eq!(commits(&mut events).await, Vec::<u64>::new());
    fake.history().compact(5);
    fake.history().set([commit(5, 1), commit(6, 1)]);
    fake.order([Act::Fail(Error::new(ErrorKind::Exhausted, "too many watches")), Act::Cut]);
    fake.cut();
    assert_eq!(commits(&mut events).await, [6]);
    assert_eq!(fake.history().asked(), [None, Some(5)]);
}

#[tokio::test]
async fn a_subscription_ends_where_the_history_is_gone_or_the_reader_fell_behind() {
    let fake = Fake::start().await;
    fake.history().set([commit(5, 1)]);
    let client = fake.client().await;
    let mut events = client.subscribe(everything().after(version(4))).await.unwrap().data;
    assert_eq!(commits(&mut events).await, [5]);
    fake.history().compact(9);
    fake.cut();
    let error = next(&mut events).await.unwrap_err();
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(version(9))));
    assert!(events.next().await.is_none());

    let behind = Error::new(ErrorKind::Exhausted, "too slow");
    fake.history().set([commit(10, 1), commit(11, 1)]);
    fake.history().end([(2, End::Fail(behind))]);
    let mut events = client.subscribe(everything().after(version(9))).await.unwrap().data;
    assert_eq!(next(&mut events).await.unwrap().version(), version(10));
    let error = next(&mut events).await.unwrap_err();
    assert_eq!((error.kind(), error.version()), (ErrorKind::Exhausted, Some(version(10))));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_closed_client_ends_its_watches() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_scan(vec![ScanPart::Start(version(1)), ScanPart::End { entries: 0 }], After::Finish);
    let mut watch = client.watch(everything()).await.unwrap().data;
    let mut subscription = client.subscribe(everything()).await.unwrap().data;
    let mut snapshot = client.watch_from_snapshot(KeyRange::all()).await.unwrap();
    for events in [&mut watch, &mut subscription] {
        assert!(matches!(next(events).await, Ok(WatchEvent::Progress(_))));
    }
    client.close().await.unwrap();
    for events in [&mut watch, &mut subscription] {
        assert_eq!(next(events).await.unwrap_err().kind(), ErrorKind::Closed);
        assert!(events.next().await.is_none());
    }
    let ended: Vec<_> = snapshot.by_ref().collect().await;
    assert_eq!(ended.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::Closed);
}

fn key(name: &'static str) -> Key {
    Key::new(name).unwrap()
}

fn record(number: u64) -> Record {
    Record::new(Bytes::from(number.to_string()), version(number))
}

/// A scan of one view, in chunks of two.
fn scan(number: u64, records: &[(&'static str, u64)]) -> Vec<ScanPart> {
    let entry = |(name, number): &(&'static str, u64)| Entry::new(key(name), Some(record(*number)));
    let chunks = records.chunks(2).map(|chunk| ScanPart::Chunk(chunk.iter().map(entry).collect()));
    let end = ScanPart::End { entries: records.len() as u64 };
    [ScanPart::Start(version(number))].into_iter().chain(chunks).chain([end]).collect()
}

fn change(number: u64, name: &'static str, record: Option<Record>) -> CommittedBatch {
    let op = CommittedOp::new(key(name), record, Previous::NotAsked);
    CommittedBatch::new(version(number), Cause::Write, vec![op])
}

/// The differences until a view is complete, and its version.
async fn difference(stream: &mut SnapshotStream) -> (Vec<(String, Option<u64>)>, u64) {
    let mut changes = Vec::new();
    loop {
        match timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap().unwrap() {
            SnapshotEvent::Difference(part) => {
                assert!(!part.is_empty());
                changes.extend(part.into_iter().map(|Change { key, record, .. }| {
                    (key.to_string(), record.map(|record| record.version.get()))
                }));
            }
            SnapshotEvent::Complete(version) => return (changes, version.get()),
            other => panic!("{other:?}"),
        }
    }
}

async fn event(stream: &mut SnapshotStream) -> SnapshotEvent {
    timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap().unwrap()
}

fn changes(changes: &[(&str, Option<u64>)]) -> Vec<(String, Option<u64>)> {
    changes.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
}

#[tokio::test]
async fn a_snapshot_goes_on_with_the_changes_and_after_compaction_with_the_difference() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_scan(scan(9, &[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]), After::Finish);
    let changed =
        [change(10, "b", None), change(11, "bb", Some(record(11))), change(12, "c", Some(record(12)))];
    fake.history().set(changed.clone());
    let mut events = client.watch_from_snapshot(KeyRange::all()).await.unwrap();
    let all = changes(&[("a", Some(1)), ("b", Some(2)), ("c", Some(3)), ("d", Some(4)), ("e", Some(5))]);
    assert_eq!(difference(&mut events).await, (all, 9));
    for commit in changed {
        assert_eq!(event(&mut events).await, SnapshotEvent::Commit(commit));
    }
    assert_eq!(event(&mut events).await, SnapshotEvent::Progress(version(12)));
    assert_eq!(fake.history().asked(), [Some(9)], "after the version of the view");

    // The node has forgotten what happened: a and d and e are gone, c changed, cc and f came, bb is as it was.
    fake.order_scan(scan(30, &[("bb", 11), ("c", 20), ("cc", 21), ("f", 30)]), After::Finish);
    fake.history().set([]);
    fake.history().compact(30);
    fake.cut();
    let differs = [("a", None), ("c", Some(20)), ("cc", Some(21)), ("d", None), ("e", None), ("f", Some(30))];
    assert_eq!(difference(&mut events).await, (changes(&differs), 30));
    assert_eq!(event(&mut events).await, SnapshotEvent::Progress(version(30)));

    // Nothing is left.
    fake.order_scan(scan(40, &[]), After::Finish);
    fake.history().compact(40);
    fake.cut();
    let gone = [("bb", None), ("c", None), ("cc", None), ("f", None)];
    assert_eq!(difference(&mut events).await, (changes(&gone), 40));
}

#[tokio::test]
async fn a_snapshot_whose_scan_breaks_off_tells_only_what_was_not_told() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let mut short = scan(9, &[("a", 1), ("b", 2), ("c", 3)]);
    short.truncate(2);
    fake.order_scan(short, After::Finish);
    let mut events = client.watch_from_snapshot(KeyRange::all()).await.unwrap();
    let SnapshotEvent::Difference(first) = event(&mut events).await else { panic!("a difference") };
    assert_eq!(first.len(), 2);
    fake.order_scan(scan(12, &[("b", 2), ("c", 11)]), After::Finish);
    assert_eq!(difference(&mut events).await, (changes(&[("a", None), ("c", Some(11))]), 12));
}

#[tokio::test]
async fn a_snapshot_that_fell_behind_scans_again() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_scan(scan(9, &[("a", 1)]), After::Finish);
    fake.history().set([change(10, "b", Some(record(10)))]);
    fake.history().end([(1, End::Fail(Error::new(ErrorKind::Exhausted, "too slow")))]);
    let mut events = client.watch_from_snapshot(KeyRange::all()).await.unwrap();
    assert_eq!(difference(&mut events).await, (changes(&[("a", Some(1))]), 9));
    fake.order_scan(scan(10, &[("a", 1), ("b", 10)]), After::Finish);
    assert_eq!(difference(&mut events).await, (changes(&[("b", Some(10))]), 10));
    assert_eq!(event(&mut events).await, SnapshotEvent::Progress(version(10)));
}

#[tokio::test]
async fn a_scan_that_is_not_in_order_ends_the_snapshot() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.order_scan(scan(9, &[("b", 1), ("c", 2), ("a", 3)]), After::Finish);
    let events = client.watch_from_snapshot(KeyRange::all()).await.unwrap();
    let events: Vec<_> = events.collect().await;
    assert_eq!(events.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::Internal);
}
