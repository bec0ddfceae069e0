//! What a restore into `Local` leaves at each of its commits, and when one of them fails (C11, C19).

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rdb_engine_api::{
    Commit, Durability, Engine, EngineExt as _, Entry, EntryStream, ErrorKind, Key, KeyRange, Local,
    LocalOptions, ManualClock, Record, Result, Scan, Version, View,
};
use tokio::task::JoinHandle;

use crate::double::{Begun, Double, Fate};

const VIEW: Version = Version::new(1_000).unwrap();
/// A restore of three parts, since a part has 4,096 rows at most.
const COUNT: usize = 10_000;
/// The mark, the parts, and the end.
const COMMITS: usize = 5;

fn open(store: Double) -> Arc<Local<Double>> {
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    Arc::new(Local::open(store, LocalOptions::default(), clock).expect("the double opens"))
}

fn entry(number: usize) -> Entry {
    let key = Key::new(format!("k{number:05}")).expect("a key");
    Entry::new(key, Some(Record::new(Bytes::from_static(b"v"), VIEW)))
}

fn whole_view() -> View<EntryStream> {
    let entries: Vec<Entry> = (0..COUNT).map(entry).collect();
    let chunks: Vec<_> = entries.chunks(1_000).map(|chunk| Ok(chunk.to_vec())).collect();
    View { version: VIEW, data: stream::iter(chunks).boxed() }
}

fn restore(engine: &Arc<Local<Double>>, view: View<EntryStream>) -> JoinHandle<Result<Commit>> {
    let engine = Arc::clone(engine);
    tokio::spawn(async move { engine.restore(view).await })
}

async fn count(engine: &Local<Double>) -> usize {
    let view = engine.scan(Scan::new(KeyRange::all())).await.expect("a scan opens");
    view.data.try_concat().await.expect("a scan is whole").len()
}

/// Waits on a thread that may block.
async fn commits(store: &Double, number: usize) -> Vec<Begun> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || store.wait_for_commits(number)).await.expect("commits begin")
}

/// C2, C19: whatever commit a crash comes after, nothing is there before the last, and everything then.
#[tokio::test(flavor = "multi_thread")]
async fn c19_a_crash_after_each_commit_leaves_all_or_nothing() {
    let store = Double::new();
    let engine = open(store.clone());
    store.hold();
    let restore = restore(&engine, whole_view());
    for number in 1..=COMMITS {
        let begun = commits(&store, number).await;
        let crashed = open(store.crashed());
        assert_eq!(count(&crashed).await, 0, "before commit {number}, {begun:?}");
        crashed.restore(whole_view()).await.expect("an engine that is empty again can be restored");
        store.let_one_go(Fate::Succeed);
    }
    let commit = restore.await.unwrap().expect("the restore is whole");
    let crashed = open(store.crashed());
    assert_eq!(count(&crashed).await, COUNT);
    let next = crashed.put(&Key::new("next").unwrap(), "v").await.unwrap();
    assert!(next.version > commit.version && commit.version > VIEW);
    let levels: Vec<_> = store.commits().iter().map(|begun| begun.level).collect();
    let (first, last) = (levels[0], levels[COMMITS - 1]);
    assert_eq!((first, last), (Durability::Synced, Durability::Synced), "the mark and the end are safe");
    assert!(levels[1..COMMITS - 1].iter().all(|level| *level == Durability::Volatile), "{levels:?}");
}

/// C11, C19: an engine whose store fails in the middle stops, and is empty when it is opened again.
#[tokio::test(flavor = "multi_thread")]
async fn c19_a_commit_that_fails_on_the_way_stops_the_engine_and_nothing_is_restored() {
    for fate in [Fate::Fail, Fate::FailLate, Fate::Panic, Fate::FallShort] {
        for failing in 1..COMMITS {
            if (fate, failing > 1) == (Fate::FallShort, true) {
                continue; // asked for the lowest level, the store cannot reach less
            }
            let store = Double::new();
            let engine = open(store.clone());
            store.hold();
            let restore = restore(&engine, whole_view());
            for _ in 1..failing {
                store.let_one_go(Fate::Succeed);
            }
            commits(&store, failing).await;
            // The permits before this one are used up.
            store.let_one_go(fate);
            let error = restore.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{fate:?} at {failing}: {}", error.report());
            let key = Key::new("k00000").unwrap();
            assert_eq!(engine.get(&key).await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(engine.put(&key, "v").await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(engine.restore(whole_view()).await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(count(&open(store.crashed())).await, 0, "{fate:?} at {failing}");
        }
    }
}

/// C10, C19: where the last commit fails nobody knows; the next opening shows all or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn c19_a_last_commit_that_fails_is_unknown() {
    for (fate, expected) in
        [(Fate::Fail, 0), (Fate::FailLate, COUNT), (Fate::Panic, 0), (Fate::FallShort, COUNT)]
    {
        let store = Double::new();
        let engine = open(store.clone());
        store.hold();
        let restore = restore(&engine, whole_view());
        for number in 1..COMMITS {
            commits(&store, number).await;
            store.let_one_go(Fate::Succeed);
        }
        commits(&store, COMMITS).await;
        store.let_one_go(fate);
        let error = restore.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{fate:?}: {}", error.report());
        let read = engine.get(&Key::new("k00000").unwrap()).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Closed, "what nobody knows is not shown");
        assert_eq!(count(&open(store.crashed())).await, expected, "{fate:?}");
    }
}

/// C14, C19: however long the stream, a restore holds few parts in memory.
#[tokio::test(flavor = "multi_thread")]
async fn c14_a_restore_reads_no_further_ahead_than_a_few_parts() {
    let store = Double::new();
    let engine = open(store.clone());
    store.hold();
    let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let chunks = stream::iter((0..100).map(move |chunk| {
        counter.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
        Ok((chunk * 1_000..(chunk + 1) * 1_000).map(entry).collect())
    }));
    let restore = restore(&engine, View { version: VIEW, data: chunks.boxed() });
    for number in 1..=5 {
        let begun = commits(&store, number).await;
        let written: usize = begun.iter().map(|begun| begun.records).sum();
        let ahead = taken.load(std::sync::atomic::Ordering::SeqCst).saturating_sub(written);
        assert!(ahead <= 3 * 4_096 + 1_000, "{ahead} records ahead of the store");
        store.let_one_go(Fate::Succeed);
    }
    restore.abort();
    store.let_all_go();
}

/// C12, C19: a stream that is always ready, and holds nothing, does not keep an engine from closing.
#[tokio::test]
async fn c12_a_close_ends_a_restore_whose_stream_is_ready_without_end_and_empty() {
    let store = Double::new();
    let engine = open(store.clone());
    store.hold();
    let endless = stream::repeat_with(|| Ok(Vec::new())).boxed();
    let restore = restore(&engine, View { version: VIEW, data: endless });
    commits(&store, 1).await;
    store.let_all_go();
    engine.close().await.expect("a close ends a restore");
    let error = restore.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
}

/// C19: a write that comes during a restore is refused at once, and never applied.
#[tokio::test(flavor = "multi_thread")]
async fn c19_a_write_during_a_restore_is_refused_at_once_and_never_applied() {
    let store = Double::new();
    let engine = open(store.clone());
    store.hold();
    let restore = restore(&engine, whole_view());
    let begun = commits(&store, 1).await;
    assert_eq!(begun[0].records, 0, "the mark comes before any record: {begun:?}");
    let key = Key::new("during").unwrap();
    let during = engine.put(&key, "v");
    let during = tokio::time::timeout(Duration::from_secs(20), during).await.expect("it does not wait");
    let error = during.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    store.let_all_go();
    restore.await.unwrap().expect("the restore is whole");
    assert_eq!(count(&engine).await, COUNT, "what was refused is not there");
}

/// C13, C19: a damaged mark is an error; no record is removed for its sake.
#[tokio::test(flavor = "multi_thread")]
async fn c13_a_damaged_mark_of_a_restore_removes_nothing() {
    use rdb_engine_api::{ChangeSet, Space, Store as _};
    let store = Double::new();
    let engine = open(store.clone());
    engine.put(&Key::new("kept").unwrap(), "v").await.unwrap();
    engine.close().await.unwrap();
    let mut changes = ChangeSet::new();
    changes.push(Space::System, Bytes::from_static(b"restore"), Some(Bytes::from_static(b"damaged")));
    store.commit(changes, Durability::Synced).unwrap();
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
    let error = Local::open(store.clone(), LocalOptions::default(), clock).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.report());
    assert!(store.get(Space::Data, b"kept").unwrap().is_some());
}
