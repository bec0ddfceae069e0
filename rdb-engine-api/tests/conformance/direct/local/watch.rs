//! Watches of `Local`: what is delivered, what is refused, and how a watch ends (C16).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, poll};
use rdb_engine_api::{
    Batch, Cause, CommittedBatch, CommittedOp, Engine, EngineExt as _, Error, ErrorKind, Key, KeyRange,
    Limits, Local, LocalOptions, MetricValue, Outcome, Previous, Result, Scan, Version, Watch, WatchEvent,
    WatchStream, WriteOptions,
};
use tokio::time::timeout;

use super::commit::{Fixture, key, open, open_with};
use crate::double::{Double, Fate};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) type Engined = Local<Double>;

pub(super) fn with_limits(set: impl FnOnce(&mut Limits)) -> Fixture {
    let mut options = LocalOptions::default();
    set(&mut options.limits);
    open_with(options)
}

pub(super) async fn put(engine: &Engined, name: &str, value: impl Into<Bytes> + Send) -> Version {
    engine.put(&key(name), value).await.expect("a put").version
}

/// What the history takes for the put of a key.
pub(super) async fn size_in_history(name: &str, value: impl Into<Bytes> + Send) -> usize {
    let Fixture { engine, .. } = open();
    put(&engine, name, value).await;
    gauge(&engine, "history_size") as usize
}

pub(super) async fn write(engine: &Engined, batch: Batch) -> Version {
    match engine.write(batch, WriteOptions::default()).await.expect("a write") {
        Outcome::Committed(commit) => commit.version,
        other => panic!("a commit was promised, saw {other:?}"),
    }
}

pub(super) async fn watch(engine: &Engined, watch: Watch) -> (Version, WatchStream) {
    let view = engine.watch(watch).await.expect("a watch opens");
    (view.version, view.data)
}

pub(super) async fn refused(engine: &Engined, watch: Watch) -> Error {
    engine.watch(watch).await.map(drop).expect_err("this watch is refused")
}

pub(super) async fn event(stream: &mut WatchStream) -> Result<WatchEvent> {
    timeout(DEADLINE, stream.next())
        .await
        .expect("something comes")
        .expect("a watch ends with an error alone")
}

/// The next commit, past all progress.
pub(super) async fn commit(stream: &mut WatchStream) -> Result<CommittedBatch> {
    let next = async {
        loop {
            if let WatchEvent::Commit(commit) = event(stream).await? {
                return Ok(commit);
            }
        }
    };
    // A watch that tells progress alone is no reason to wait for ever.
    timeout(DEADLINE, next).await.expect("a commit comes in time")
}

/// How a watch ends, past all that it delivers.
pub(super) async fn end(stream: &mut WatchStream) -> Error {
    let end = async {
        loop {
            if let Err(error) = event(stream).await {
                assert!(stream.next().await.is_none(), "nothing comes behind an error");
                return error;
            }
        }
    };
    timeout(DEADLINE, end).await.expect("the watch ends in time")
}

pub(super) fn named(commit: &CommittedBatch) -> Vec<(String, Option<Bytes>)> {
    let name = |key: &Key| String::from_utf8_lossy(key.as_bytes()).into_owned();
    let ops = commit.ops.iter();
    ops.map(|op| (name(&op.key), op.record.as_ref().map(|record| record.value.clone()))).collect()
}

pub(super) fn gauge(engine: &Engined, name: &str) -> f64 {
    let metrics = engine.metrics();
    match metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}")).value {
        MetricValue::Gauge(number) | MetricValue::Counter(number) => number,
        ref other => panic!("{name}: {other:?}"),
    }
}

/// C16: every commit comes whole, once, in version order; with what it did to each key, in key order.
#[tokio::test(flavor = "multi_thread")]
async fn c16_commits_are_delivered_whole_once_and_in_order() {
    let Fixture { engine, .. } = open();
    let before = put(&engine, "a", "0").await;
    let (start, mut stream) = watch(&engine, Watch::new(KeyRange::all())).await;
    assert_eq!(start, before, "from the present on");
    let batch = Batch::new().put(key("c"), "1").delete(key("a")).put(key("b"), "x").put(key("b"), "2");
    let first = write(&engine, batch.delete(key("absent"))).await;
    let second = put(&engine, "c", "3").await;

    let whole = commit(&mut stream).await.unwrap();
    assert_eq!((whole.version, whole.cause), (first, Cause::Write));
    let expected = [("a", None), ("b", Some("2")), ("c", Some("1"))];
    assert_eq!(named(&whole), expected.map(|(name, value)| (name.to_owned(), value.map(Bytes::from))));
    for op in &whole.ops {
        assert!(op.record.as_ref().is_none_or(|record| record.version == first), "{op:?}");
        assert_eq!(op.previous, Previous::NotAsked);
    }
    assert_eq!(commit(&mut stream).await.unwrap().version, second);
    assert!(stream.next().now_or_never().is_none(), "nothing twice");
}

/// C16: what changed nothing makes no event.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_batch_that_changes_nothing_is_not_delivered() {
    let Fixture { engine, .. } = open();
    let (_, mut stream) = watch(&engine, Watch::new(KeyRange::all())).await;
    let _ = engine.delete(&key("absent")).await.unwrap();
    let _ = engine.put_if_absent(&key("k"), "1").await.unwrap();
    let _ = engine.put_if_absent(&key("k"), "2").await.unwrap();
    let last = put(&engine, "l", "1").await;
    assert_eq!(named(&commit(&mut stream).await.unwrap()), [("k".to_owned(), Some(Bytes::from("1")))]);
    assert_eq!(commit(&mut stream).await.unwrap().version, last);
}

fn bytes(range: (&'static [u8], &'static [u8])) -> (Bytes, Bytes) {
    (Bytes::from_static(range.0), Bytes::from_static(range.1))
}

/// C16: ranges of every sort are delivered what touches them, live and from the past, and no more of a commit.
#[tokio::test(flavor = "multi_thread")]
async fn c16_each_range_is_delivered_exactly_what_touches_it() {
    use Bound::{Excluded, Included, Unbounded};
    let Fixture { engine, .. } = open();
    let start = put(&engine, "start", "v").await;
    let (b, d) = bytes((b"b", b"d"));
    let ranges = [
        KeyRange::all(),
        KeyRange::prefix(""),
        KeyRange::prefix("b"),
        KeyRange::prefix("ba"),
        KeyRange::prefix(vec![0xff]),
        KeyRange::prefix(vec![0xff, 0xff]),
        KeyRange::prefix(vec![b'b', 0xff]),
        KeyRange::new(Included(b.clone()), Included(b.clone())),
        KeyRange::new(Included(b.clone()), Excluded(Bytes::from_static(b"b\0"))),
        KeyRange::new(Included(b.clone()), Included(d.clone())),
        KeyRange::new(Excluded(b.clone()), Included(d.clone())),
        KeyRange::new(Included(b.clone()), Excluded(d.clone())),
        KeyRange::new(Excluded(b.clone()), Excluded(d.clone())),
        KeyRange::new(Included(d.clone()), Excluded(b.clone())),
        KeyRange::new(Unbounded, Excluded(b.clone())),
        KeyRange::new(Excluded(d.clone()), Unbounded),
        KeyRange::new(Included(Bytes::from_static(b"\xff\xff")), Unbounded),
    ];
    let keys: [&[u8]; 12] = [
        b"\0",
        b"a",
        b"b",
        b"b\0",
        b"ba",
        b"bab",
        b"b\xff",
        b"b\xff\xff",
        b"c",
        b"d",
        b"\xff",
        b"\xff\xff\xff",
    ];
    let mut live = Vec::new();
    for range in &ranges {
        live.push(watch(&engine, Watch::new(range.clone())).await.1);
    }
    let mut made = Vec::new();
    for number in 0_usize..300 {
        let chosen = keys.iter().enumerate().filter(|(place, _)| (number * 7 + place * place) % 5 < 2);
        let chosen: Vec<_> = chosen.map(|(_, key)| Key::new(*key).unwrap()).collect();
        let batch = chosen.iter().fold(Batch::new(), |batch, key| batch.put(key.clone(), number.to_string()));
        if !chosen.is_empty() {
            made.push((write(&engine, batch).await, chosen));
        }
    }
    let expected = |range: &KeyRange| -> Vec<(Version, Vec<Key>)> {
        let touched = made.iter().map(|(version, keys)| {
            (*version, keys.iter().filter(|key| range.contains(key.as_bytes())).cloned().collect::<Vec<_>>())
        });
        touched.filter(|(_, keys)| !keys.is_empty()).collect()
    };
    for (range, live) in ranges.iter().zip(&mut live) {
        let (answer, past) = watch(&engine, Watch::new(range.clone()).after(start)).await;
        assert_eq!(answer, start);
        let mut past = past;
        let expected = expected(range);
        for stream in [live, &mut past] {
            let mut seen = Vec::new();
            while seen.len() < expected.len() {
                let commit = commit(stream).await.unwrap();
                seen.push((commit.version, commit.ops.into_iter().map(|op| op.key).collect::<Vec<_>>()));
            }
            assert_eq!(seen, expected, "{range:?}");
            assert!(stream.next().now_or_never().is_none(), "no more: {range:?}");
        }
    }
}

/// C16: a scan at version v and a watch from v miss nothing, whatever is written meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c16_a_scan_and_a_watch_from_its_version_miss_nothing() {
    let Fixture { engine, .. } = open();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (engine, stop) = (Arc::clone(&engine), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (one, other) = (number % 7, number % 3);
                    let batch = Batch::new().put(key(format!("k{one}")), format!("{writer}-{number}"));
                    let batch = batch.delete(key(format!("k{}", 7 + other)));
                    let batch = batch.put(key(format!("k{}", 7 + (other + 1) % 3)), "v");
                    write(&engine, batch).await;
                    number += 1;
                }
            })
        })
        .collect();
    for round in 0..300 {
        let view = engine.scan(Scan::new(KeyRange::all())).await.unwrap();
        let scanned = view.version;
        let (start, mut stream) = watch(&engine, Watch::new(KeyRange::all()).after(scanned)).await;
        assert_eq!(start, scanned, "a view that was shown is not beyond the present");
        let entries = view.data.try_concat().await.unwrap();
        let mut state: BTreeMap<_, _> =
            entries.into_iter().map(|entry| (entry.key, entry.record.unwrap())).collect();
        let view = engine.scan(Scan::new(KeyRange::all())).await.unwrap();
        let until = view.version;
        let mut at = start;
        while at < until {
            let commit = commit(&mut stream).await.unwrap();
            assert!(commit.version > at, "in order, round {round}");
            at = commit.version;
            for op in commit.ops {
                match op.record {
                    Some(record) => state.insert(op.key, record),
                    None => state.remove(&op.key),
                };
            }
        }
        assert_eq!(at, until, "every commit has its event, round {round}");
        let entries = view.data.try_concat().await.unwrap();
        let expected: BTreeMap<_, _> =
            entries.into_iter().map(|entry| (entry.key, entry.record.unwrap())).collect();
        assert_eq!(state, expected, "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

/// C16: a commit whose append is still to come can be seen; a watch after it is not beyond the present.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_start_beyond_the_present_is_refused() {
    let Fixture { engine, .. } = open();
    let present = put(&engine, "k", "v").await;
    for beyond in [present.get() + 1, u64::MAX] {
        let error = refused(&engine, Watch::new(KeyRange::all()).after(Version::new(beyond).unwrap())).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
    }
    let (start, mut stream) = watch(&engine, Watch::new(KeyRange::all()).after(present)).await;
    assert_eq!(start, present);
    let next = put(&engine, "k", "w").await;
    assert_eq!(commit(&mut stream).await.unwrap().version, next);
}

/// C16: each bound of the history compacts it; an older start is refused with the oldest that can be had.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_start_before_the_history_is_refused_with_the_oldest_there_is() {
    let ten = 10 * size_in_history("100", vec![b'v'; 100]).await;
    let by_ops = with_limits(|limits| limits.max_history_ops = 10);
    let by_bytes = with_limits(|limits| limits.max_history_bytes = ten);
    for Fixture { engine, .. } in [by_ops, by_bytes] {
        let mut versions = Vec::new();
        for number in 100..150 {
            versions.push(put(&engine, &number.to_string(), vec![b'v'; 100]).await);
        }
        let oldest = versions[versions.len() - 11];
        for older in [Version::MIN, versions[0], versions[versions.len() - 12]] {
            let error = refused(&engine, Watch::new(KeyRange::all()).after(older)).await;
            assert_eq!(error.kind(), ErrorKind::Compacted, "{}", error.report());
            assert_eq!(error.version(), Some(oldest));
        }
        let (_, mut stream) = watch(&engine, Watch::new(KeyRange::all()).after(oldest)).await;
        for version in &versions[versions.len() - 10..] {
            assert_eq!(commit(&mut stream).await.unwrap().version, *version);
        }
        assert_eq!(gauge(&engine, "history_ops"), 10.0);
        assert_eq!(gauge(&engine, "history_size"), ten as f64);
    }
}

/// C14: what holds keys and values counts too, so that many short commits stay within the bound.
#[tokio::test(flavor = "multi_thread")]
async fn c14_history_counts_what_holds_its_keys_and_values() {
    const BOUND: usize = 64 << 10;
    let holder = size_of::<CommittedBatch>() + size_of::<CommittedOp>();
    assert!(size_in_history("k", "v").await > holder, "{holder}");
    let Fixture { engine, .. } = with_limits(|limits| limits.max_history_bytes = BOUND);
    for _ in 0..1_000 {
        put(&engine, "k", "v").await;
    }
    let kept = gauge(&engine, "history_ops");
    assert!((1.0..=(BOUND / holder) as f64).contains(&kept), "{kept} commits are kept");
}

/// C14, C16: a commit is forgotten when it has reached the history's age, also where nobody writes.
#[tokio::test(flavor = "multi_thread")]
async fn c16_history_is_compacted_by_its_age() {
    let Fixture { engine, clock, .. } = with_limits(|limits| limits.history_age = Duration::from_secs(60));
    let before = engine.get_many(&[]).await.unwrap().version;
    let first = put(&engine, "a", "v").await;
    clock.advance(Duration::from_secs(30));
    let second = put(&engine, "b", "v").await;
    clock.advance(Duration::from_secs(29));
    assert_eq!(gauge(&engine, "history_age"), 59.0);
    let (_, mut stream) = watch(&engine, Watch::new(KeyRange::all()).after(before)).await;
    assert_eq!(commit(&mut stream).await.unwrap().version, first);
    clock.advance(Duration::from_secs(1));
    let error = refused(&engine, Watch::new(KeyRange::all()).after(before)).await;
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(first)));
    clock.advance(Duration::from_secs(30));
    assert_eq!(gauge(&engine, "history_ops"), 0.0);
    assert_eq!(gauge(&engine, "history_age"), 0.0);
    let error = refused(&engine, Watch::new(KeyRange::all()).after(first)).await;
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(second)));
    drop(watch(&engine, Watch::new(KeyRange::all()).after(second)).await);
}

/// C16: a watch that is not read from is ended when its commits are compacted; writers and other watches go on.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_stalled_watch_is_ended_and_nobody_else_is() {
    let Fixture { engine, .. } = with_limits(|limits| limits.max_history_ops = 200);
    let (_, mut stalled) = watch(&engine, Watch::new(KeyRange::prefix("k"))).await;
    let (_, mut idle) =
        watch(&engine, Watch::new(KeyRange::prefix("idle")).progress(Duration::from_millis(1))).await;
    let first = put(&engine, "k", "0").await;
    assert_eq!(commit(&mut stalled).await.unwrap().version, first);
    let mut last = first;
    for number in 0..5_000 {
        last = put(&engine, "k", number.to_string()).await;
    }
    let error = end(&mut stalled).await;
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.report());
    assert_eq!(error.version(), Some(first), "the last version that it delivered everything up to");
    assert_eq!(gauge(&engine, "watches_overtaken"), 1.0);
    // What concerned others does not overtake who has nothing to read.
    let told =
        async { while event(&mut idle).await.expect("an idle watch is not ended").version() < last {} };
    timeout(DEADLINE, told).await.expect("an idle watch is told of the head");
    let (_, mut resumed) = watch(&engine, Watch::new(KeyRange::all()).after(last)).await;
    let next = put(&engine, "idle", "v").await;
    assert_eq!(commit(&mut idle).await.unwrap().version, next);
    assert_eq!(commit(&mut resumed).await.unwrap().version, next);
}

/// C16: more matches than a watcher keeps are found again in the history.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_watch_that_rests_for_thousands_of_commits_is_delivered_them_all() {
    let Fixture { engine, .. } = open();
    let (_, mut stream) = watch(&engine, Watch::new(KeyRange::prefix("k"))).await;
    let mut expected = vec![put(&engine, "k", "first").await];
    assert_eq!(commit(&mut stream).await.unwrap().version, expected[0]);
    assert!(stream.next().now_or_never().is_none(), "it has caught up");
    for number in 0..6_000 {
        put(&engine, "other", number.to_string()).await;
        expected.push(put(&engine, "k", number.to_string()).await);
    }
    for version in &expected[1..] {
        assert_eq!(commit(&mut stream).await.unwrap().version, *version);
    }
    assert!(stream.next().now_or_never().is_none());
}

/// C16: progress is told as often as asked, with the version up to which everything was delivered.
#[tokio::test(flavor = "multi_thread")]
async fn c16_progress_follows_commits_that_concern_others() {
    let Fixture { engine, .. } = open();
    let every = Duration::from_millis(2);
    let (start, mut stream) = watch(&engine, Watch::new(KeyRange::prefix("k")).progress(every)).await;
    assert_eq!(event(&mut stream).await.unwrap(), WatchEvent::Progress(start), "told where nothing happens");
    let others = put(&engine, "other", "v").await;
    let mut told = start;
    while told < others {
        match event(&mut stream).await.unwrap() {
            WatchEvent::Progress(version) => told = version,
            other => panic!("nothing touches the range: {other:?}"),
        }
    }
    let ours = put(&engine, "k", "v").await;
    assert_eq!(commit(&mut stream).await.unwrap().version, ours);
    let WatchEvent::Progress(version) = event(&mut stream).await.unwrap() else { panic!("nothing twice") };
    assert_eq!(version, ours);
}

/// C14: what a watch asks for has bounds.
#[tokio::test(flavor = "multi_thread")]
async fn c14_progress_out_of_bounds_is_refused() {
    let Fixture { engine, .. } = open();
    let day = Duration::from_secs(24 * 60 * 60);
    for every in [Duration::ZERO, Duration::from_micros(999), day + Duration::from_millis(1), Duration::MAX] {
        let error = refused(&engine, Watch::new(KeyRange::all()).progress(every)).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{every:?}: {}", error.report());
    }
    for every in [Duration::from_millis(1), day] {
        drop(watch(&engine, Watch::new(KeyRange::all()).progress(every)).await);
    }
    let long = KeyRange::prefix(vec![b'k'; 4_097]);
    let error = refused(&engine, Watch::new(long)).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
}

/// C14: watches have a bound; who goes away makes room, however it goes.
#[tokio::test(flavor = "multi_thread")]
async fn c14_too_many_watches_are_refused_until_one_has_gone() {
    let Fixture { engine, .. } = with_limits(|limits| limits.max_watches = 3);
    let ranges = [KeyRange::all(), KeyRange::prefix("k"), KeyRange::prefix("k")];
    for _ in 0..3 {
        let mut streams = Vec::new();
        for range in &ranges {
            streams.push(watch(&engine, Watch::new(range.clone())).await.1);
        }
        let error = refused(&engine, Watch::new(KeyRange::all())).await;
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.report());
        assert_eq!(gauge(&engine, "watches_open"), 3.0);
        streams.pop();
        let (_, stream) = watch(&engine, Watch::new(KeyRange::all())).await;
        drop((streams, stream));
        assert_eq!(gauge(&engine, "watches_open"), 0.0);
    }
    assert_eq!(gauge(&engine, "watches_refused"), 3.0);
}

/// C12: a close ends every watch, whether it waits, rests, or has just been opened.
#[tokio::test(flavor = "multi_thread")]
async fn c12_a_close_ends_every_watch() {
    let Fixture { engine, .. } = open();
    let (_, mut resting) = watch(&engine, Watch::new(KeyRange::all())).await;
    let (_, mut waiting) = watch(&engine, Watch::new(KeyRange::prefix("w"))).await;
    let waiting = tokio::spawn(async move { end(&mut waiting).await });
    put(&engine, "k", "v").await;
    timeout(DEADLINE, engine.close()).await.expect("a close does not wait for watches").unwrap();
    assert_eq!(end(&mut resting).await.kind(), ErrorKind::Closed);
    assert_eq!(waiting.await.unwrap().kind(), ErrorKind::Closed);
    assert_eq!(refused(&engine, Watch::new(KeyRange::all())).await.kind(), ErrorKind::Closed);
}

/// C12: so does dropping the engine.
#[tokio::test(flavor = "multi_thread")]
async fn c12_a_dropped_engine_ends_its_watches() {
    let Fixture { engine, .. } = open();
    let (_, mut stream) = watch(&engine, Watch::new(KeyRange::all())).await;
    drop(engine);
    assert_eq!(end(&mut stream).await.kind(), ErrorKind::Closed);
}

/// C11: a failed commit ends every watch; nobody is delivered what nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn c11_a_failed_commit_ends_every_watch_and_is_not_delivered() {
    for fate in [Fate::Fail, Fate::FailLate, Fate::Panic] {
        let fixture = open();
        let (_, mut stream) = watch(&fixture.engine, Watch::new(KeyRange::all())).await;
        let write = fixture.hold_a_commit().await;
        assert!(poll!(stream.next()).is_pending(), "nothing is delivered before its commit returned (C9)");
        fixture.store.let_one_go(fate);
        assert_eq!(write.await.unwrap_err().kind(), ErrorKind::Unknown);
        let error = event(&mut stream).await.expect_err("no commit comes");
        assert_eq!(error.kind(), ErrorKind::Closed, "{fate:?}: {}", error.report());
        let error = refused(&fixture.engine, Watch::new(KeyRange::all())).await;
        assert_eq!(error.kind(), ErrorKind::Closed, "{fate:?}: {}", error.report());
    }
}

/// C9, C16: a commit that a scan shows can be watched from, however long its append takes; nothing is delivered
/// before the commit returned.
#[tokio::test(flavor = "multi_thread")]
async fn c09_commits_of_a_group_are_delivered_when_its_commit_has_returned() {
    let fixture = open();
    let (_, mut stream) = watch(&fixture.engine, Watch::new(KeyRange::all())).await;
    let first = fixture.hold_a_commit().await;
    let mut waiting = Vec::new();
    for number in 0..10 {
        waiting.push(fixture.queue_put(format!("k{number}")).await);
    }
    assert!(stream.next().now_or_never().is_none());
    fixture.store.let_all_go();
    let mut versions = vec![first.await.unwrap()];
    for write in waiting {
        versions.push(write.await.unwrap());
    }
    for outcome in versions {
        let Outcome::Committed(done) = outcome else { panic!("a put commits") };
        assert_eq!(
            commit(&mut stream).await.unwrap().version,
            done.version,
            "one event for each of the group"
        );
    }
}

/// C16, C19: a restore cuts the history, since what it brings is not in commits.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_restore_ends_watches_with_a_history_that_was_cut() {
    let Fixture { engine: source, .. } = open();
    put(&source, "k", "v").await;
    let Fixture { engine, .. } = open();
    let gone = put(&engine, "gone", "v").await;
    let _ = engine.delete(&key("gone")).await.unwrap();
    let (_, mut past) = watch(&engine, Watch::new(KeyRange::all()).after(gone)).await;
    let (_, mut idle) = watch(&engine, Watch::new(KeyRange::prefix("k"))).await;
    assert!(idle.next().now_or_never().is_none());
    let restored = engine.restore(source.scan(Scan::new(KeyRange::all())).await.unwrap()).await.unwrap();
    for stream in [&mut past, &mut idle] {
        let error = event(stream).await.expect_err("nothing is delivered across a restore");
        assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(restored.version)));
    }
    let error = refused(&engine, Watch::new(KeyRange::all()).after(gone)).await;
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(restored.version)));
    let (_, mut stream) = watch(&engine, Watch::new(KeyRange::all()).after(restored.version)).await;
    let next = put(&engine, "k", "w").await;
    assert_eq!(commit(&mut stream).await.unwrap().version, next);
}

/// C16: 1,000 watches of every sort, 100 commits each, and nobody misses one.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_thousand_watches_are_delivered_a_hundred_commits_each() {
    let Fixture { engine, .. } = open();
    let mut tasks = Vec::new();
    for number in 0..1_000_u32 {
        let range = match number % 4 {
            0 => KeyRange::all(),
            1 => KeyRange::prefix("shared/"),
            2 => {
                let own = Bytes::from("shared/key");
                KeyRange::new(Bound::Included(own.clone()), Bound::Included(own))
            }
            _ => KeyRange::new(Bound::Included(Bytes::from("s")), Bound::Excluded(Bytes::from("t"))),
        };
        let (_, mut stream) = watch(&engine, Watch::new(range)).await;
        tasks.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 100 {
                seen.push(commit(&mut stream).await.unwrap().version);
            }
            seen
        }));
    }
    let mut made = Vec::new();
    for number in 0..100 {
        made.push(put(&engine, "shared/key", number.to_string()).await);
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), made);
    }
    assert_eq!(gauge(&engine, "watch_commits"), 100_000.0);
    assert_eq!(gauge(&engine, "watches_open"), 0.0);
}

/// C14: what the history forgets, and what it held when the engine is closed, is freed.
#[tokio::test(flavor = "multi_thread")]
async fn c14_memory_of_what_is_compacted_is_freed() {
    let Fixture { engine, .. } = with_limits(|limits| limits.max_history_ops = 2);
    let (_, mut stream) = watch(&engine, Watch::new(KeyRange::all())).await;
    put(&engine, "k", vec![1; 1_000]).await;
    let value = {
        let commit = commit(&mut stream).await.unwrap();
        commit.ops[0].record.clone().unwrap().value
    };
    assert!(!value.is_unique(), "the store and the history share the value");
    for _ in 0..3 {
        put(&engine, "k", "short").await;
        commit(&mut stream).await.unwrap();
    }
    let freed = async {
        while !value.is_unique() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, freed).await.expect("nobody holds what was compacted");
    put(&engine, "last", vec![2; 1_000]).await;
    let value = commit(&mut stream).await.unwrap().ops[0].record.clone().unwrap().value;
    engine.close().await.unwrap();
    assert_eq!(gauge(&engine, "history_ops"), 0.0);
    assert_eq!(gauge(&engine, "history_size"), 0.0);
    assert_eq!(value.len(), 1_000);
}

/// C14, C16: what has reached the history's age is freed though nobody writes, watches or asks.
#[tokio::test(flavor = "multi_thread")]
async fn c14_memory_of_what_is_old_is_freed_though_nothing_happens() {
    let age = Duration::from_secs(60);
    let Fixture { engine, clock, .. } = with_limits(|limits| limits.history_age = age);
    let (_, mut stream) = watch(&engine, Watch::new(KeyRange::all())).await;
    put(&engine, "k", vec![1; 1_000]).await;
    let value = commit(&mut stream).await.unwrap().ops[0].record.clone().unwrap().value;
    drop(stream);
    // The store lets go of it.
    put(&engine, "k", "short").await;
    clock.advance(age);
    let freed = async {
        while !value.is_unique() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, freed).await.expect("nobody holds what is old");
}
