//! The store alone, below the engine: what it keeps, and what it refuses.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rdb_engine_api::{
    Cached, ChangeSet, Durability, ErrorKind, Key, Row, Snapshot as _, Space, Span, Store as _,
};
use rdb_engine_rocks::{RocksConfig, RocksStore};
use tempfile::TempDir;

fn config(path: &Path) -> RocksConfig {
    let mut config = RocksConfig::new(path);
    config.block_cache_bytes = 8 << 20;
    config
}

fn open(path: &Path) -> RocksStore {
    RocksStore::open(&config(path)).unwrap()
}

fn refusal(path: &Path) -> rdb_engine_api::Error {
    RocksStore::open(&config(path)).map(drop).unwrap_err()
}

fn put(store: &RocksStore, rows: &[(Space, &str, &str)], durability: Durability) -> Durability {
    let mut changes = ChangeSet::new();
    for (space, key, value) in rows {
        changes.push(
            *space,
            Bytes::copy_from_slice(key.as_bytes()),
            Some(Bytes::copy_from_slice(value.as_bytes())),
        );
    }
    store.commit(changes, durability).unwrap()
}

fn remove(store: &RocksStore, space: Space, key: &'static str) {
    let mut changes = ChangeSet::new();
    changes.push(space, Bytes::from_static(key.as_bytes()), None);
    store.commit(changes, Durability::Process).unwrap();
}

fn get(store: &RocksStore, space: Space, key: &str) -> Option<Bytes> {
    store.get(space, key.as_bytes()).unwrap()
}

fn span(start: &[u8], end: Option<&[u8]>) -> Span {
    Span { start: Bytes::copy_from_slice(start), end: end.map(Bytes::copy_from_slice) }
}

fn keys(store: &RocksStore, space: Space, span: &Span, reverse: bool) -> Vec<Bytes> {
    let snapshot = store.snapshot().unwrap();
    snapshot.scan(space, span, reverse).unwrap().map(|row| row.unwrap().key).collect()
}

#[test]
fn reopening_keeps_the_committed_rows_of_both_spaces_apart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    put(&store, &[(Space::Data, "a", "data"), (Space::System, "a", "system")], Durability::Synced);
    put(&store, &[(Space::Data, "gone", "1"), (Space::Data, "empty", "")], Durability::Process);
    remove(&store, Space::Data, "gone");
    drop(store);
    for _ in 0..2 {
        let store = open(dir.path());
        assert_eq!(get(&store, Space::Data, "a").unwrap(), "data");
        assert_eq!(get(&store, Space::System, "a").unwrap(), "system");
        assert_eq!(get(&store, Space::Data, "empty").unwrap(), "");
        assert_eq!(get(&store, Space::Data, "gone"), None);
        assert_eq!(get(&store, Space::System, "empty"), None);
    }
}

#[test]
fn snapshot_stays_as_it_is_across_commits() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    put(
        &store,
        &[(Space::Data, "a", "1"), (Space::Data, "b", "1"), (Space::System, "s", "1")],
        Durability::Process,
    );
    let snapshot = store.snapshot().unwrap();
    put(
        &store,
        &[(Space::Data, "a", "2"), (Space::Data, "c", "2"), (Space::System, "s", "2")],
        Durability::Process,
    );
    remove(&store, Space::Data, "b");

    assert_eq!(snapshot.get(Space::Data, b"a").unwrap().unwrap(), "1");
    assert_eq!(snapshot.get(Space::Data, b"c").unwrap(), None);
    assert_eq!(snapshot.get(Space::System, b"s").unwrap().unwrap(), "1");
    let rows: Vec<Row> =
        snapshot.scan(Space::Data, &span(b"", None), false).unwrap().map(Result::unwrap).collect();
    let row = |key: &'static str| Row { key: key.into(), value: "1".into() };
    assert_eq!(rows, [row("a"), row("b")]);
    let rows: Vec<Row> =
        snapshot.scan(Space::System, &span(b"", None), true).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, [row("s")]);

    assert_eq!(get(&store, Space::Data, "a").unwrap(), "2");
    assert_eq!(keys(&store, Space::Data, &span(b"", None), false), ["a", "c"]);
}

#[test]
fn several_keys_are_found_in_memory_and_in_files_as_each_of_them_is() {
    let dir = TempDir::new().unwrap();
    let write = |store: &RocksStore, numbers: std::ops::Range<usize>, value: &str| {
        let mut changes = ChangeSet::new();
        for number in numbers {
            // Lengths of 0 to 90,000 bytes, some of several blocks.
            let value = (number % 7 != 6).then(|| value.repeat(number % 10 * number % 7 * 1_500));
            for space in [Space::Data, Space::System] {
                changes.push(space, format!("{number:03}").into(), value.clone().map(Bytes::from));
            }
        }
        store.commit(changes, Durability::Process).unwrap();
    };
    let store = open(dir.path());
    write(&store, 0..150, "f");
    drop(store);
    // Opening writes what it found in the log to table files.
    let store = open(dir.path());
    write(&store, 100..200, "m");
    let snapshot = store.snapshot().unwrap();
    write(&store, 0..300, "later");
    let keys: Vec<Key> =
        (0..500).map(|place| Key::new(format!("{:03}", place * 89 % 251)).unwrap()).collect();
    for count in [0, 1, 8, 500] {
        for space in [Space::Data, Space::System] {
            let rows = snapshot.get_many(space, &keys[..count]).unwrap();
            let each: Vec<Option<Bytes>> =
                keys[..count].iter().map(|key| snapshot.get(space, key.as_bytes()).unwrap()).collect();
            assert!(rows == each, "{count} keys of {space:?}");
        }
    }
}

#[test]
fn scans_keep_to_their_bounds_in_both_directions() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let all: [&[u8]; 7] = [b"\x00", b"a", b"a\x00", b"b", b"\xff", b"\xff\xff", b"\xff\xff\xff"];
    let mut changes = ChangeSet::new();
    for key in all {
        changes.push(Space::Data, Bytes::from_static(key), Some(Bytes::new()));
        changes.push(Space::System, Bytes::from_static(key), Some(Bytes::new()));
    }
    store.commit(changes, Durability::Process).unwrap();

    let bounds: [(&[u8], Option<&[u8]>); 8] = [
        (b"", None),
        (b"a", None),
        (b"a", Some(b"b")),
        (b"a", Some(b"a\x00")),
        (b"aa", Some(b"\xff\xff")),
        (b"", Some(b"\x00")),
        (b"\xff\xff", None),
        (b"\xff\xff\xff\xff", None),
    ];
    for (start, end) in bounds {
        let expected: Vec<&[u8]> =
            all.into_iter().filter(|key| *key >= start && end.is_none_or(|end| *key < end)).collect();
        let reversed: Vec<&[u8]> = expected.iter().rev().copied().collect();
        for space in [Space::Data, Space::System] {
            assert_eq!(keys(&store, space, &span(start, end), false), expected, "{start:?} {end:?}");
            assert_eq!(keys(&store, space, &span(start, end), true), reversed, "{start:?} {end:?}");
        }
    }
}

#[test]
fn rows_of_a_long_scan_come_whole_whatever_their_lengths() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let lengths = [0, 1, 100, 5_000, 70_000, 0, 65_536, 200];
    let mut rows: Vec<Row> = (0..2_000)
        .map(|number: usize| Row {
            key: format!("{number:06}").into(),
            value: vec![number as u8; lengths[number / 50 % lengths.len()]].into(),
        })
        .collect();
    let mut changes = ChangeSet::new();
    for row in &rows {
        changes.push(Space::Data, row.key.clone(), Some(row.value.clone()));
    }
    store.commit(changes, Durability::Process).unwrap();
    for reverse in [false, true] {
        let snapshot = store.snapshot().unwrap();
        let scan = snapshot.scan(Space::Data, &span(b"", None), reverse).unwrap();
        let read: Vec<Row> = scan.map(Result::unwrap).collect();
        assert!(read == rows, "reverse: {reverse}");
        rows.reverse();
    }
}

#[test]
fn log_is_synced_for_each_synced_commit_and_for_no_other() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let statistics = store.statistics().clone();
    let row = [(Space::Data, "a", "1")];
    let syncs = statistics.wal_syncs();
    for asked in [Durability::Volatile, Durability::Process] {
        assert_eq!(put(&store, &row, asked), Durability::Process);
    }
    assert_eq!(statistics.wal_syncs(), syncs);
    assert!(statistics.wal_bytes() > 0);
    assert_eq!(put(&store, &row, Durability::Synced), Durability::Synced);
    assert_eq!(statistics.wal_syncs(), syncs + 1);
    // Nothing to write is still a promise about all that was written before.
    assert_eq!(put(&store, &[], Durability::Synced), Durability::Synced);
    assert_eq!(statistics.wal_syncs(), syncs + 2);
    assert_eq!(get(&store, Space::Data, "a").unwrap(), "1");
}

#[test]
fn read_that_may_not_wait_misses_what_is_on_disk_alone() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    put(&store, &[(Space::Data, "a", "1"), (Space::System, "s", "1")], Durability::Process);
    assert_eq!(store.get_cached(Space::Data, b"a").unwrap(), Cached::Hit(Some("1".into())));
    assert_eq!(store.get_cached(Space::Data, b"b").unwrap(), Cached::Hit(None));
    drop(store);
    // Opening writes what it found in the log to table files.
    let store = open(dir.path());
    for (space, key) in [(Space::Data, "a"), (Space::System, "s")] {
        assert_eq!(store.get_cached(space, key.as_bytes()).unwrap(), Cached::Miss);
        assert_eq!(get(&store, space, key).unwrap(), "1");
        assert_eq!(store.get_cached(space, key.as_bytes()).unwrap(), Cached::Hit(Some("1".into())));
    }
}

#[test]
fn second_opener_is_refused_and_told_who_holds_the_directory() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let error = refusal(dir.path());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    assert!(error.to_string().contains(&format!("holder_pid=`{}`", std::process::id())), "{error}");
    drop(store);
    open(dir.path());
}

#[test]
fn sizes_that_make_no_sense_are_refused_before_anything_is_made() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data");
    let wrong: [fn(&mut RocksConfig); 3] = [
        |config| config.block_cache_bytes = 0,
        |config| config.write_buffer_count = 1,
        |config| config.bloom_bits_per_key = f64::NAN,
    ];
    for wrong in wrong {
        let mut config = config(&path);
        wrong(&mut config);
        let error = RocksStore::open(&config).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert!(!path.exists());
}

#[test]
fn lost_files_are_corrupt_and_never_an_empty_store() {
    let losses: [fn(&Path); 4] = [
        |store| fs::remove_file(store.join("CURRENT")).unwrap(),
        |store| fs::remove_file(only(store, |name| name.starts_with("MANIFEST"))).unwrap(),
        |store| fs::remove_dir_all(store).unwrap(),
        |store| {
            files(store, |name| name.ends_with(".sst")).iter().for_each(|file| fs::remove_file(file).unwrap())
        },
    ];
    for lose in losses {
        let dir = TempDir::new().unwrap();
        put(&open(dir.path()), &[(Space::Data, "a", "1"), (Space::System, "s", "1")], Durability::Synced);
        drop(open(dir.path())); // from the log to a table file
        lose(&dir.path().join("store"));
        assert_eq!(refusal(dir.path()).kind(), ErrorKind::Corrupt);
        assert_eq!(refusal(dir.path()).kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn crash_at_any_step_of_the_first_opening_leaves_a_directory_that_opens() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let store = dir.path().join("store");
    let draft = dir.path().join("store.new");
    let made = dir.path().join("store.made");

    // Renamed, but not yet marked as made.
    fs::remove_file(&made).unwrap();
    drop(open(dir.path()));
    assert!(made.exists());
    // Not yet renamed, whole or in part.
    for loss in ["LOG", "CURRENT"] {
        fs::remove_file(&made).unwrap();
        crashed(dir.path());
        fs::rename(&store, &draft).unwrap();
        fs::remove_file(draft.join(loss)).unwrap();
        put(&open(dir.path()), &[(Space::Data, "a", "1")], Durability::Synced);
        assert!(!draft.exists());
    }
    assert_eq!(get(&open(dir.path()), Space::Data, "a").unwrap(), "1");
}

/// Makes a store of several commits, the last ones still in the log; `settled` of them in table files.
fn history(path: &Path, settled: usize, commits: usize) {
    let mut store = open(path);
    for number in 1..=commits {
        let (key, number_text) = (format!("key{number:03}"), number.to_string());
        let rows = [(Space::Data, key.as_str(), "value"), (Space::System, "commits", number_text.as_str())];
        put(&store, &rows, Durability::Synced);
        if number == settled {
            drop(store);
            store = open(path);
        }
    }
}

/// The number of commits of [`history`] that the store has, checked to be exactly the first ones; the kind
/// of the error where there is one.
fn surviving(path: &Path, commits: usize) -> Result<usize, ErrorKind> {
    let kind = |error: rdb_engine_api::Error| error.kind();
    let store = RocksStore::open(&config(path)).map_err(kind)?;
    let count = match store.get(Space::System, b"commits").map_err(kind)? {
        Some(text) => std::str::from_utf8(&text).unwrap().parse().unwrap(),
        None => 0,
    };
    let expected: Vec<Row> = (1..=count)
        .map(|number: usize| Row { key: format!("key{number:03}").into(), value: "value".into() })
        .collect();
    let snapshot = store.snapshot().unwrap();
    let rows = snapshot.scan(Space::Data, &span(b"", None), false).map_err(kind)?;
    assert_eq!(rows.collect::<Result<Vec<_>, _>>().map_err(kind)?, expected);
    let keys: Vec<Key> = (1..=commits).map(|number| Key::new(format!("key{number:03}")).unwrap()).collect();
    let many = snapshot.get_many(Space::Data, &keys).map_err(kind)?;
    assert_eq!(many.iter().flatten().count(), count);
    assert!(many.iter().take(count).all(|value| value.as_deref() == Some(b"value")));
    for number in 1..=commits {
        let found = store.get(Space::Data, format!("key{number:03}").as_bytes()).map_err(kind)?;
        assert_eq!(found, (number <= count).then(|| "value".into()));
    }
    Ok(count)
}

/// Takes back what an orderly close noted, if there was a commit to note: a crash comes before it.
fn crashed(path: &Path) {
    let note = path.join("store.closed");
    if note.exists() {
        fs::remove_file(note).unwrap();
    }
}

fn files(store: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| wanted(file.file_name().unwrap().to_str().unwrap()));
    files.sort();
    files
}

fn only(store: &Path, wanted: impl Fn(&str) -> bool) -> PathBuf {
    let files = files(store, wanted);
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

/// A copy of a closed data directory, in which a file was changed.
fn altered(original: &Path, file: &Path, alter: impl Fn(&mut Vec<u8>)) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::create_dir(copy.path().join("store")).unwrap();
    for folder in [PathBuf::new(), "store".into()] {
        for entry in fs::read_dir(original.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(&folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let file = copy.path().join(file.strip_prefix(original).unwrap());
    let mut bytes = fs::read(&file).unwrap();
    alter(&mut bytes);
    fs::write(&file, bytes).unwrap();
    copy
}

#[test]
fn log_torn_at_its_end_keeps_a_prefix_of_the_commits() {
    let dir = TempDir::new().unwrap();
    history(dir.path(), 2, 6);
    assert_eq!(surviving(altered(dir.path(), &dir.path().join("FLAREDB"), |_| ()).path(), 6), Ok(6));
    let log = only(&dir.path().join("store"), |name| name.ends_with(".log"));
    let length = fs::metadata(&log).unwrap().len() as usize;
    let mut last = 6;
    for length in (0..length).rev().step_by(3) {
        let copy = altered(dir.path(), &log, |bytes| bytes.truncate(length));
        assert_eq!(
            surviving(copy.path(), 6),
            Err(ErrorKind::Corrupt),
            "no crash came before an orderly close"
        );
        let copy = altered(dir.path(), &log, |bytes| bytes.truncate(length));
        crashed(copy.path());
        let left = surviving(copy.path(), 6).unwrap();
        assert!((2..=last).contains(&left), "{left} after {last}");
        last = left;
    }
    assert_eq!(last, 2);
}

/// Opening and reading gives an error of kind `Corrupt`, or everything.
fn assert_refused_or_whole(original: &Path, file: &Path, at: usize, mask: u8) {
    let copy = altered(original, file, |bytes| bytes[at] ^= mask);
    match surviving(copy.path(), 8) {
        Ok(count) => assert_eq!(count, 8, "{} at {at} ^ {mask}", file.display()),
        Err(kind) => assert_eq!(kind, ErrorKind::Corrupt, "{} at {at} ^ {mask}", file.display()),
    }
}

#[test]
fn damaged_table_or_pointer_is_refused_or_harmless_and_never_a_wrong_value() {
    let dir = TempDir::new().unwrap();
    history(dir.path(), 4, 8);
    for file in files(&dir.path().join("store"), |name| name == "CURRENT" || name.ends_with(".sst")) {
        let length = fs::metadata(&file).unwrap().len() as usize;
        for at in (0..length).step_by(41) {
            assert_refused_or_whole(dir.path(), &file, at, 0x04);
        }
    }
}

#[test]
fn damaged_log_or_manifest_is_refused_and_never_takes_commits_away() {
    let dir = TempDir::new().unwrap();
    history(dir.path(), 4, 8);
    let store = dir.path().join("store");
    for file in files(&store, |name| name.starts_with("MANIFEST") || name.ends_with(".log")) {
        let bytes = fs::read(&file).unwrap();
        for at in (0..bytes.len()).step_by(23) {
            assert_refused_or_whole(dir.path(), &file, at, 0x10);
        }
        // The length and the type in the first, the second and the last header: see `logs.rs`.
        let mut headers = vec![0];
        while let Some(length) = bytes.get(headers[headers.len() - 1] + 4..) {
            let next =
                headers[headers.len() - 1] + 7 + usize::from(u16::from_le_bytes([length[0], length[1]]));
            if next + 7 > bytes.len() {
                break;
            }
            headers.push(next);
        }
        for header in [headers[0], headers[1], headers[headers.len() - 1]] {
            for (at, mask) in [(4, 0x01), (4, 0x80), (5, 0x04), (6, 0x01), (6, 0x04), (6, 0x80)] {
                assert_refused_or_whole(dir.path(), &file, header + at, mask);
            }
        }
    }
}

/// The number of the newest write-ahead log.
fn newest_log(path: &Path) -> u64 {
    let names = fs::read_dir(path.join("store")).unwrap().map(|entry| entry.unwrap().file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(".log")?.parse().ok());
    numbers.max().unwrap()
}

#[test]
fn log_is_synced_before_the_next_one_is_begun() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.write_buffer_bytes = 64 << 10;
    let store = RocksStore::open(&config).unwrap();
    let (mut log, mut begun, mut syncs) = (newest_log(dir.path()), 0, store.statistics().wal_syncs());
    let value = "v".repeat(1000);
    for number in 0..1000 {
        put(&store, &[(Space::Data, &format!("key {number}"), &value)], Durability::Process);
        let (newest, synced) = (newest_log(dir.path()), store.statistics().wal_syncs());
        // The other way round need not be: RocksDB syncs a closed log once more before it writes tables.
        assert!(newest == log || synced > syncs, "log {newest} was begun without a sync of log {log}");
        begun += u32::from(newest > log);
        (log, syncs) = (newest, synced);
    }
    assert!((5..=30).contains(&begun), "{begun} logs begun for 1 MB in buffers of 64 KiB");
    drop(store);
    let store = RocksStore::open(&config).unwrap();
    assert_eq!(keys(&store, Space::Data, &span(b"", None), false).len(), 1000);
}
