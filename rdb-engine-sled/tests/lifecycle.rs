//! Opening, closing and damage: C12, C13 and the limits of what sled can hold.

#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroU64;
use std::path::Path;

use bytes::Bytes;
use rdb_engine_api::{
    Batch, ChangeSet, Condition, DataDirectory, Durability, Engine as _, EngineExt as _, ErrorKind, Key,
    MAX_KEY_BYTES, Result, SessionOptions, Snapshot as _, Space, Span, Store as _, WriteOptions,
};
use rdb_engine_sled::{SledConfig, SledStore};

fn open(path: &Path) -> Result<SledStore> {
    let mut config = SledConfig::new(path);
    config.cache_bytes = SledConfig::MIN_CACHE_BYTES;
    SledStore::open(&config)
}

fn commit(store: &SledStore, rows: &[(&[u8], &[u8])]) {
    let mut changes = ChangeSet::new();
    for (key, value) in rows {
        changes.push(Space::Data, Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
    }
    assert_eq!(store.commit(changes, Durability::Process).unwrap(), Durability::Process);
}

#[test]
fn closed_store_opens_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..50_u32 {
        let store = open(dir.path()).unwrap();
        for step in 0..5_u32 {
            assert_eq!(store.get(Space::Data, b"round").unwrap().is_none(), round == 0 && step == 0);
            commit(&store, &[(b"round", &round.to_be_bytes()), (&step.to_be_bytes(), &[7; 300])]);
        }
        let snapshot = store.snapshot().unwrap();
        let mut rows = snapshot.scan(Space::Data, &Span { start: Bytes::new(), end: None }, true).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().value, round.to_be_bytes()[..]);
    }
}

#[test]
fn second_opener_is_refused_while_the_first_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn directory_of_another_engine_or_format_is_refused() {
    for (engine, format) in [("rocks", 1), ("sled", 99)] {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(dir.path(), engine, format).unwrap());
        assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn lost_store_is_corrupt_and_not_an_empty_one() {
    let losses: [fn(&Path); 4] = [
        |store| fs::remove_file(store.join("db")).unwrap(),
        |store| fs::write(store.join("db"), "").unwrap(),
        |store| fs::remove_dir_all(store).unwrap(),
        |store| {
            let length = fs::metadata(store.join("db")).unwrap().len();
            fs::write(store.join("db"), vec![0; length as usize]).unwrap();
        },
    ];
    for (number, lose) in losses.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        commit(&open(dir.path()).unwrap(), &[(b"k", b"v")]);
        lose(&dir.path().join("store"));
        for _ in 0..2 {
            assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::Corrupt, "loss {number}");
        }
    }
}

#[test]
fn creation_that_was_cut_short_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDirectory::open(dir.path(), "sled", 1).unwrap());
    fs::create_dir_all(dir.path().join("store.new/blobs")).unwrap();
    fs::write(dir.path().join("store.new/db"), "half").unwrap();
    commit(&open(dir.path()).unwrap(), &[(b"k", b"v")]);

    // A crash between the renaming and the note that the store was made.
    fs::remove_file(dir.path().join("sled.made")).unwrap();
    assert_eq!(open(dir.path()).unwrap().get(Space::Data, b"k").unwrap().unwrap(), "v");
    assert!(dir.path().join("sled.made").exists());
}

#[test]
fn snapshot_file_that_a_kill_left_unfinished_is_no_corruption() {
    let dir = tempfile::tempdir().unwrap();
    commit(&open(dir.path()).unwrap(), &[(b"k", b"v")]);
    // sled #1527: sled reads this one instead of the newest whole one.
    fs::write(dir.path().join("store/snap.FFFFFFFFFFFFFFFF.generating"), "half").unwrap();
    assert_eq!(open(dir.path()).unwrap().get(Space::Data, b"k").unwrap().unwrap(), "v");
}

#[test]
fn damage_anywhere_in_a_closed_file_is_noticed() {
    for place in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        {
            let store = open(dir.path()).unwrap();
            for n in 0..200_u32 {
                commit(&store, &[(&n.to_be_bytes(), &n.to_le_bytes().repeat(20))]);
            }
        }
        let mut file = OpenOptions::new().read(true).write(true).open(dir.path().join("store/db")).unwrap();
        let mut bytes = [0; 8];
        // The log is a little over 80,000 bytes long, and the file padded behind it.
        file.seek(SeekFrom::Start(30 + place * 1_999)).unwrap();
        file.read_exact(&mut bytes).unwrap();
        file.seek_relative(-8).unwrap();
        file.write_all(&bytes.map(|byte| byte ^ 0x55)).unwrap();
        drop(file);

        let read = open(dir.path()).and_then(|store| {
            let snapshot = store.snapshot()?;
            let rows = snapshot.scan(Space::Data, &Span { start: Bytes::new(), end: None }, false)?;
            let rows = rows.collect::<Result<Vec<_>>>()?;
            assert_eq!(rows.len(), 200, "place {place}");
            for (row, n) in rows.iter().zip(0_u32..) {
                assert_eq!(
                    (&row.key[..], &row.value[..]),
                    (&n.to_be_bytes()[..], &n.to_le_bytes().repeat(20)[..])
                );
            }
            Ok(())
        });
        if let Err(error) = read {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "place {place}: {}", error.report());
        } else {
            panic!("damage at place {place} was not noticed");
        }
    }
}

#[test]
fn longest_keys_and_large_values_survive_a_small_cache_and_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let keys: Vec<Vec<u8>> = [0x00, 0x01, 0x61, 0xfe, 0xff]
        .into_iter()
        .flat_map(|fill| (0..6).map(move |less| vec![fill; MAX_KEY_BYTES - less]))
        .collect();
    let value = |n: usize| vec![n as u8; if n.is_multiple_of(10) { 4 << 20 } else { 50_000 * n }];
    for round in 0..2 {
        let store = open(dir.path()).unwrap();
        for (n, key) in keys.iter().enumerate() {
            commit(&store, &[(key, &value(n + round))]);
        }
        for (n, key) in keys.iter().enumerate() {
            assert!(
                store.get(Space::Data, key).unwrap().unwrap() == value(n + round),
                "value {n} of round {round}"
            );
        }
    }
    let store = open(dir.path()).unwrap();
    let snapshot = store.snapshot().unwrap();
    let rows = snapshot.scan(Space::Data, &Span { start: Bytes::new(), end: None }, true).unwrap();
    let mut sorted = keys.clone();
    sorted.sort();
    sorted.reverse();
    assert!(rows.map(|row| row.unwrap().key).eq(sorted));
}

#[test]
fn what_sled_cannot_do_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = SledConfig::new(dir.path());
    config.cache_bytes = SledConfig::MIN_CACHE_BYTES - 1;
    assert_eq!(SledStore::open(&config).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.info().best_durability, Durability::Process);
    let refused = store.commit(ChangeSet::new(), Durability::Synced).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(store.commit(ChangeSet::new(), Durability::Process).unwrap(), Durability::Process);
}

#[tokio::test]
async fn engine_keeps_its_records_over_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let config = SledConfig::new(dir.path());
    let key = Key::new("greeting").unwrap();
    let engine = rdb_engine_sled::open(&config).unwrap();
    assert_eq!(engine.info().default_durability, Durability::Process);
    let version = engine.put(&key, "hello").await.unwrap().version;
    engine.close().await.unwrap();
    drop(engine);
    let engine = rdb_engine_sled::open(&config).unwrap();
    let record = engine.get(&key).await.unwrap().unwrap();
    assert_eq!((record.value, record.version), (Bytes::from("hello"), version));
}

/// C17: what was committed in a session is told again after a reopening, and a late copy does nothing.
#[tokio::test]
async fn session_and_its_outcomes_survive_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = SledConfig::new(dir.path());
    config.cache_bytes = SledConfig::MIN_CACHE_BYTES;
    let key = Key::new("k").unwrap();
    let create = Batch::new().when(key.clone(), Condition::Absent).put(key.clone(), "v");
    let write = |stamp| (create.clone(), WriteOptions::default().stamp(stamp));
    let engine = rdb_engine_sled::open(&config).unwrap();
    let session = engine.open_session(SessionOptions::default()).await.unwrap();
    let stamp = session.stamp(NonZeroU64::MIN, 0);
    let (batch, options) = write(stamp);
    let first = engine.write(batch, options).await.unwrap();
    engine.close().await.unwrap();

    let engine = rdb_engine_sled::open(&config).unwrap();
    let (batch, options) = write(stamp);
    assert_eq!(engine.write(batch, options).await.unwrap_err().kind(), ErrorKind::Stale);
    let session = engine.resume_session(session.id).await.unwrap().unwrap();
    let (batch, options) = write(session.stamp(NonZeroU64::MIN, 0));
    assert_eq!(engine.write(batch, options).await.unwrap().version(), first.version());
    engine.close().await.unwrap();
}
