//! A history that is kept in the store: it agrees with the data over restarts and crashes (C16).
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::TryStreamExt as _;
use rdb_engine_api::{
    Batch, ChangeSet, Durability, Engine as _, EngineExt as _, ErrorKind, History, Key, KeyRange, Limits,
    Local, LocalOptions, ManualClock, Previous, Record, Scan, Snapshot as _, Space, Span, Store as _,
    Version, Watch,
};

use super::commit::key;
use super::watch::{Engined, commit, put, refused, watch, write};
use crate::double::{Double, Fate};

fn open_with(store: &Double, history: History, set: impl FnOnce(&mut Limits)) -> Engined {
    let mut options = LocalOptions::default();
    options.history = history;
    set(&mut options.limits);
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
    Local::open(store.clone(), options, clock).expect("the double opens")
}

fn open(store: &Double, history: History) -> Engined {
    open_with(store, history, |_| {})
}

fn all() -> Watch {
    Watch::new(KeyRange::all())
}

type State = BTreeMap<Key, Record>;

async fn state(engine: &Engined) -> (Version, State) {
    let view = engine.scan(Scan::new(KeyRange::all())).await.expect("a scan opens");
    let entries = view.data.try_concat().await.expect("a scan is whole");
    (view.version, entries.into_iter().map(|entry| (entry.key, entry.record.unwrap())).collect())
}

/// Applies what a watch delivers to the state at its start, up to a version.
async fn replayed(engine: &Engined, (mut at, mut state): (Version, State), until: Version) -> State {
    let (_, mut stream) = watch(engine, all().after(at)).await;
    while at < until {
        let commit = commit(&mut stream).await.unwrap();
        assert!(commit.version > at, "in order");
        at = commit.version;
        for op in commit.ops {
            match op.record {
                Some(record) => state.insert(op.key, record),
                None => state.remove(&op.key),
            };
        }
    }
    assert_eq!(at, until, "what is not there is not delivered");
    state
}

fn history_rows(store: &Double) -> Vec<(Bytes, Bytes)> {
    let span = Span { start: Bytes::from_static(b"h\0"), end: Some(Bytes::from_static(b"h\x01")) };
    let snapshot = store.snapshot().unwrap();
    let rows = snapshot.scan(Space::System, &span, false).unwrap();
    rows.map(|row| row.map(|row| (row.key, row.value)).unwrap()).collect()
}

/// C2, C16: whatever instant a crash comes at, the history leads exactly to the data that are there.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_durable_history_agrees_with_the_data_after_a_crash_at_each_commit() {
    let store = Double::new();
    let engine = open(&store, History::Durable);
    let mut start = state(&engine).await;
    for number in 0..60_u32 {
        let batch = Batch::new().put(key(format!("k{}", number % 7)), vec![b'v'; number as usize]);
        let batch = batch.delete(key(format!("k{}", (number + 3) % 7)));
        let batch = batch.put_for(key("expiring"), "v", Duration::from_secs(3_600));
        if number == 20 {
            start = state(&engine).await;
        }
        store.hold();
        let writing = write(&engine, batch);
        let crashing = async {
            let held = store.clone();
            tokio::task::spawn_blocking(move || held.wait_for_commits(1)).await.unwrap();
            let crashed = store.crashed();
            store.let_one_go(Fate::Succeed);
            store.let_all_go();
            crashed
        };
        let (version, before) = tokio::join!(writing, crashing);
        for (crashed, is_there) in [(before, false), (store.crashed(), true)] {
            let again = open(&crashed, History::Durable);
            let (present, expected) = state(&again).await;
            assert_eq!(present == version, is_there);
            assert_eq!(replayed(&again, start.clone(), present).await, expected, "crash at {number}");
            let next = put(&again, "next", "v").await;
            let (_, expected) = state(&again).await;
            assert_eq!(replayed(&again, start.clone(), next).await, expected, "and goes on");
        }
    }
}

/// C16: a watch goes on over an orderly restart where the history is durable, and is told where it is not.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_watch_goes_on_over_a_restart_with_a_durable_history_alone() {
    for history in [History::Durable, History::Memory] {
        let store = Double::new();
        let engine = open(&store, history);
        let first = put(&engine, "a", "1").await;
        let second = put(&engine, "b", "2").await;
        engine.close().await.unwrap();
        let engine = open(&store, history);
        if history == History::Durable {
            let (_, mut stream) = watch(&engine, all().after(first)).await;
            let third = put(&engine, "c", "3").await;
            assert_eq!(commit(&mut stream).await.unwrap().version, second);
            assert_eq!(commit(&mut stream).await.unwrap().version, third);
        } else {
            let error = refused(&engine, all().after(first)).await;
            assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(second)));
            assert!(history_rows(&store).is_empty());
        }
        drop(watch(&engine, all().after(second)).await);
    }
}

/// C16: a history with a gap is none: an opening without it ends it, also one that does not know of it.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_durable_history_ends_where_somebody_writes_without_it() {
    let mark = || (Space::System, Bytes::from_static(b"kept-history"));
    for knows_of_it in [true, false] {
        let store = Double::new();
        let engine = open(&store, History::Durable);
        let first = put(&engine, "a", "1").await;
        put(&engine, "b", "2").await;
        engine.close().await.unwrap();
        let (space, name) = mark();
        let kept = (store.get(space, &name).unwrap(), history_rows(&store));
        let engine = open(&store, History::Memory);
        assert!(history_rows(&store).is_empty());
        let last = put(&engine, "c", "3").await;
        engine.close().await.unwrap();
        if !knows_of_it {
            let mut changes = ChangeSet::new();
            changes.push(space, name, kept.0);
            kept.1.into_iter().for_each(|(key, row)| changes.push(Space::System, key, Some(row)));
            store.commit(changes, Durability::Synced).unwrap();
        }
        let engine = open(&store, History::Durable);
        let error = refused(&engine, all().after(first)).await;
        assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(last)));
        assert!(history_rows(&store).is_empty());
        let next = put(&engine, "d", "4").await;
        engine.close().await.unwrap();
        let engine = open(&store, History::Durable);
        let (_, mut stream) = watch(&engine, all().after(last)).await;
        assert_eq!(commit(&mut stream).await.unwrap().version, next, "it has begun anew");
    }
}

/// C14, C16: what is compacted leaves the store too, and stays compacted after a crash.
#[tokio::test(flavor = "multi_thread")]
async fn c14_rows_of_a_durable_history_are_removed_when_it_is_compacted() {
    let store = Double::new();
    let engine = open_with(&store, History::Durable, |limits| limits.max_history_ops = 10);
    let mut versions = Vec::new();
    for number in 0..100_u32 {
        versions.push(put(&engine, "k", number.to_string()).await);
        assert!(history_rows(&store).len() <= 12, "{} rows", history_rows(&store).len());
        let again = open(&store.crashed(), History::Durable);
        let (present, expected) = state(&again).await;
        let error = refused(&again, all().after(Version::MIN)).await;
        assert_eq!(error.kind(), ErrorKind::Compacted);
        let oldest = error.version().unwrap();
        assert!(number < 15 || versions[versions.len() - 13] <= oldest, "what is gone is not promised");
        assert_eq!(replayed(&again, (oldest, State::new()), present).await.len(), expected.len());
    }
    engine.close().await.unwrap();
    let engine = open_with(&store, History::Durable, |limits| limits.max_history_ops = 3);
    assert_eq!(history_rows(&store).len(), 3, "an opening reads back, and keeps, what the limits allow");
    let error = refused(&engine, all().after(versions[95])).await;
    assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(versions[96])));
    drop(watch(&engine, all().after(versions[96])).await);
}

/// C13: a damaged row of the history is an error, and never a wrong event; without the history, the data open.
#[tokio::test(flavor = "multi_thread")]
async fn c13_a_damaged_history_is_corrupt() {
    let store = Double::new();
    let engine = open(&store, History::Durable);
    write(&engine, Batch::new().put(key("k"), "value").put_for(key("l"), "v", Duration::from_secs(9))).await;
    engine.close().await.unwrap();
    let mark = Bytes::from_static(b"kept-history");
    let mut rows = history_rows(&store);
    assert_eq!(rows.len(), 1);
    rows.push((mark.clone(), store.get(Space::System, &mark).unwrap().unwrap()));
    for (name, good) in rows {
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let damaged = store.crashed();
            let mut changes = ChangeSet::new();
            changes.push(Space::System, name.clone(), Some(bad.into()));
            damaged.commit(changes, Durability::Synced).unwrap();
            let mut options = LocalOptions::default();
            options.history = History::Durable;
            let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
            let error = Local::open(damaged.clone(), options, clock).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {}", error.report());
            assert!(open(&damaged, History::Memory).get(&key("k")).await.unwrap().is_some());
        }
    }
}

/// C16, C19: what was before a restore is not the history of what is after it.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_restore_cuts_a_durable_history() {
    let source = open(&Double::new(), History::Memory);
    put(&source, "k", "v").await;
    let store = Double::new();
    let engine = open(&store, History::Durable);
    let gone = put(&engine, "gone", "v").await;
    let _ = engine.delete(&key("gone")).await.unwrap();
    let view = source.scan(Scan::new(KeyRange::all())).await.unwrap();
    let restored = engine.restore(view).await.unwrap().version;
    for store in [store.crashed(), store.clone()] {
        let engine = open(&store, History::Durable);
        let error = refused(&engine, all().after(gone)).await;
        assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(restored)));
        let (_, mut stream) = watch(&engine, all().after(restored)).await;
        let next = put(&engine, "k", "w").await;
        assert_eq!(commit(&mut stream).await.unwrap().version, next);
        assert_eq!(history_rows(&store).len(), 1, "nothing of before is left");
    }
}

/// C16: previous records are kept too, and a watch of them goes on over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_watch_of_previous_records_goes_on_over_a_restart() {
    let store = Double::new();
    let engine = open(&store, History::Durable);
    let first = put(&engine, "k", "1").await;
    let (_, stream) = watch(&engine, all().previous()).await;
    let second = write(&engine, Batch::new().put(key("k"), "2").put(key("new"), "v")).await;
    drop(stream);
    engine.close().await.unwrap();
    let engine = open(&store, History::Durable);
    let third = put(&engine, "k", "3").await;
    let (_, mut stream) = watch(&engine, all().after(first).previous()).await;
    let seen = commit(&mut stream).await.unwrap();
    assert_eq!((seen.version, &seen.ops[1].previous), (second, &Previous::Absent));
    assert!(matches!(&seen.ops[0].previous, Previous::Record(record) if record.version == first));
    let seen = commit(&mut stream).await.unwrap();
    assert_eq!(seen.version, third);
    assert!(matches!(&seen.ops[0].previous, Previous::Record(record) if record.version == second));
}

/// C5, C16: a watch from a commit that a power cut took away does not go on as if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn c16_a_watch_from_a_commit_that_is_gone_is_refused() {
    let store = Double::new();
    let engine = open(&store, History::Memory);
    let kept = put(&engine, "k", "1").await;
    let cut = store.crashed();
    let gone = put(&engine, "k", "2").await;
    for history in [History::Memory, History::Durable] {
        let engine = open(&cut.crashed(), history);
        let next = put(&engine, "k", "3").await;
        assert!(next > gone);
        let error = refused(&engine, all().after(gone)).await;
        assert_eq!((error.kind(), error.version()), (ErrorKind::Compacted, Some(kept)));
        let (_, mut stream) = watch(&engine, all().after(kept)).await;
        assert_eq!(commit(&mut stream).await.unwrap().version, next);
    }
}
