use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdb_engine_api::{MAX_KEY_BYTES, Row};
use tempfile::TempDir;

use super::*;

type Model = BTreeMap<Bytes, Bytes>;
type Changes = Vec<(Bytes, Option<Bytes>)>;

fn config(dir: &TempDir) -> SledConfig {
    let mut config = SledConfig::new(dir.path());
    config.cache_bytes = 16 << 20;
    config
}

fn open(dir: &TempDir) -> SledStore {
    SledStore::open(&config(dir)).unwrap()
}

fn commit(store: &SledStore, changes: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
    let mut set = ChangeSet::new();
    changes.into_iter().for_each(|(key, value)| set.push(Space::Data, key, value));
    // Nothing here depends on what survives, and unflushed commits are many times faster.
    assert_eq!(store.commit(set, Durability::Volatile).unwrap(), Durability::Volatile);
}

fn put(store: &SledStore, key: &str, value: &str) {
    commit(store, [(Bytes::copy_from_slice(key.as_bytes()), Some(Bytes::copy_from_slice(value.as_bytes())))]);
}

fn apply(model: &mut Model, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn all() -> Span {
    Span { start: Bytes::new(), end: None }
}

fn scan(snapshot: &SledSnapshot<'_>, span: &Span, reverse: bool) -> Vec<(Bytes, Bytes)> {
    let rows = snapshot.scan(Space::Data, span, reverse).unwrap();
    rows.map(|row| row.map(|Row { key, value }| (key, value)).unwrap()).collect()
}

fn expected(model: &Model, span: &Span, reverse: bool) -> Vec<(Bytes, Bytes)> {
    let rows =
        model.iter().filter(|(key, _)| **key >= span.start && span.end.as_ref().is_none_or(|end| *key < end));
    let mut rows: Vec<_> = rows.map(|(key, value)| (key.clone(), value.clone())).collect();
    if reverse {
        rows.reverse();
    }
    rows
}

/// All rows in the tree, of every family.
fn stored_rows(store: &SledStore) -> usize {
    store
        .tree
        .range(vec![0x00], vec![0x10], false)
        .map(|row| row.map(drop))
        .collect::<Result<Vec<_>>>()
        .unwrap()
        .len()
}

/// Few enough keys that most are written again and again; hard ones for order, escapes and sled.
fn key(random: &mut StdRng) -> Bytes {
    let length = if random.random_bool(0.01) { MAX_KEY_BYTES } else { random.random_range(1..7) };
    let mut key = vec![[0x00, 0xff][random.random_range(0..2)]; length];
    for byte in key.iter_mut().take(3) {
        *byte = [0x00, 0x01, 0x61, 0xfe, 0xff][random.random_range(0..5)];
    }
    key.into()
}

fn changes(random: &mut StdRng, most: usize, number: u64) -> Changes {
    let count = random.random_range(1..=most);
    let unique: BTreeMap<_, _> = (0..count)
        .map(|_| {
            let value = random.random_bool(0.6).then(|| {
                let mut value = number.to_string().into_bytes();
                value.resize(random.random_range(0..200), b'.');
                Bytes::from(value)
            });
            (key(random), value)
        })
        .collect();
    unique.into_iter().collect()
}

fn span(random: &mut StdRng) -> Span {
    let start = if random.random_bool(0.3) { Bytes::new() } else { key(random) };
    let end = random.random_bool(0.7).then(|| key(random)).filter(|end| *end > start);
    Span { start, end }
}

#[test]
fn every_view_follows_a_map_over_overwrites_deletes_and_reopens() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(11);
    let mut model = Model::new();
    for round in 0..4 {
        let store = open(&dir);
        let mut held = Vec::new();
        for number in 0..250 {
            let changes = changes(&mut random, 20, number);
            apply(&mut model, &changes);
            commit(&store, changes);
            if random.random_bool(0.05) {
                held.push((store.snapshot().unwrap(), model.clone()));
            }
            if random.random_bool(0.05) && !held.is_empty() {
                held.swap_remove(random.random_range(0..held.len()));
            }
            if number % 25 == 0 {
                held.push((store.snapshot().unwrap(), model.clone()));
                for (snapshot, model) in &held {
                    let (span, reverse) = (span(&mut random), random.random());
                    assert_eq!(
                        scan(snapshot, &span, reverse),
                        expected(model, &span, reverse),
                        "round {round}"
                    );
                    let key = key(&mut random);
                    assert_eq!(snapshot.get(Space::Data, &key).unwrap().as_ref(), model.get(&key));
                }
            }
        }
        for (snapshot, model) in &held {
            assert_eq!(scan(snapshot, &all(), false), expected(model, &all(), false));
            assert_eq!(scan(snapshot, &all(), true), expected(model, &all(), true));
        }
    }
    let store = open(&dir);
    assert_eq!(scan(&store.snapshot().unwrap(), &all(), true), expected(&model, &all(), true));
}

#[test]
fn spaces_are_apart_and_of_one_view() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let both = |value: &'static str| {
        let mut set = ChangeSet::new();
        set.push(Space::Data, Bytes::from("k"), Some(Bytes::from(format!("data {value}"))));
        set.push(Space::System, Bytes::from("k"), Some(Bytes::from(format!("system {value}"))));
        store.commit(set, Durability::Process).unwrap();
    };
    both("old");
    let before = store.snapshot().unwrap();
    both("new");
    assert_eq!(before.get(Space::Data, b"k").unwrap().unwrap(), "data old");
    assert_eq!(before.get(Space::System, b"k").unwrap().unwrap(), "system old");
    assert_eq!(store.get(Space::Data, b"k").unwrap().unwrap(), "data new");
    assert_eq!(store.get(Space::System, b"k").unwrap().unwrap(), "system new");
    assert_eq!(store.get_cached(Space::Data, b"k").unwrap(), Cached::Miss);
    assert_eq!(scan(&before, &all(), false).len(), 1);
}

#[test]
fn overwriting_one_key_does_not_grow_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for number in 0..3_000 {
        put(&store, "counter", &number.to_string());
        // The state, the newest version and the one before, and its place in the queue.
        assert!(number % 500 != 0 || stored_rows(&store) <= 4, "{} rows", stored_rows(&store));
    }
    assert!(stored_rows(&store) <= 4, "{} rows", stored_rows(&store));
}

#[test]
fn removed_keys_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let key = |n: usize| Bytes::from(format!("temporary/{n}"));
    for n in 0..500 {
        commit(&store, [(key(n), Some(Bytes::from("x")))]);
        commit(&store, [(key(n), Some(Bytes::from("y")))]);
        commit(&store, [(key(n), None)]);
        assert!(stored_rows(&store) < 20, "{} rows", stored_rows(&store));
    }
    commit(&store, (0..1_000).map(|n| (key(n), Some(Bytes::new()))));
    commit(&store, (0..1_000).map(|n| (key(n), None)));
    for _ in 0..40 {
        put(&store, "tick", "");
    }
    assert!(stored_rows(&store) <= 4, "{} rows", stored_rows(&store));
}

#[test]
fn removing_what_is_not_there_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, [(Bytes::from("absent"), None)]);
    assert_eq!(stored_rows(&store), 1);
    put(&store, "k", "v");
    commit(&store, [(Bytes::from("k"), None)]);
    let rows = stored_rows(&store);
    commit(&store, [(Bytes::from("k"), None)]);
    assert_eq!(stored_rows(&store), rows);
    assert_eq!(store.get(Space::Data, b"k").unwrap(), None);
}

#[test]
fn held_scan_keeps_what_it_shows_and_nothing_else() {
    const KEYS: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut random = StdRng::seed_from_u64(5);
    let key = |n: usize| Bytes::from(format!("key/{n:04}"));
    let changes: Changes = (0..KEYS).map(|n| (key(n), Some(Bytes::from("first")))).collect();
    let mut model = Model::new();
    apply(&mut model, &changes);
    commit(&store, changes);

    let snapshot = store.snapshot().unwrap();
    let mut rows = snapshot.scan(Space::Data, &all(), false).unwrap();
    let mut seen: Vec<_> = rows.by_ref().take(10).map(|row| row.unwrap()).collect();
    for number in 0..10_000 {
        let value = random.random_bool(0.8).then(|| Bytes::from(number.to_string()));
        // Some keys come and go while the scan is open, and it never sees them.
        commit(&store, [(key(random.random_range(0..KEYS + 100)), value)]);
        // What the scan shows, and of each key the newest; the queue's rows for what is held up.
        assert!(number % 1_000 != 0 || stored_rows(&store) <= 3 * KEYS + 200, "{} rows", stored_rows(&store));
    }
    assert!(stored_rows(&store) <= 3 * KEYS + 200, "{} rows", stored_rows(&store));
    seen.extend(rows.map(|row| row.unwrap()));
    let seen: Vec<_> = seen.into_iter().map(|row| (row.key, row.value)).collect();
    assert_eq!(seen, expected(&model, &all(), false));
    assert_eq!(scan(&snapshot, &all(), true), expected(&model, &all(), true));

    drop(snapshot);
    let live = scan(&store.snapshot().unwrap(), &all(), false).len();
    for _ in 0..40 {
        put(&store, "tick", "");
    }
    // The state and the tick with its last version.
    assert!(stored_rows(&store) <= live + 4, "{} rows for {live} keys", stored_rows(&store));
}

#[test]
fn garbage_that_a_view_held_up_is_found_again_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let key = |n: usize| Bytes::from(format!("key/{n:04}"));
    commit(&store, (0..300).map(|n| (key(n), Some(Bytes::from("first")))));
    let snapshot = store.snapshot().unwrap();
    for n in 0..300 {
        commit(&store, [(key(n), (n % 3 != 0).then(|| Bytes::from("second")))]);
    }
    drop(snapshot);
    assert!(stored_rows(&store) >= 800, "{} rows", stored_rows(&store));
    drop(store);

    let store = open(&dir);
    for _ in 0..40 {
        put(&store, "tick", "");
    }
    assert!(stored_rows(&store) <= 204, "{} rows", stored_rows(&store));
    assert_eq!(scan(&store.snapshot().unwrap(), &all(), false).len(), 201);
}

/// Long runs of 0xff between few bytes, which sled 0.34 cannot walk backward over.
#[test]
fn keys_full_of_0xff_are_scanned_backward() {
    let mut random = StdRng::seed_from_u64(8);
    for _ in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let mut model = Model::new();
        for step in 0..400 {
            let mut key = vec![random.random_range(1..4_u8)];
            if random.random() {
                key.resize(1 + random.random_range(0..14), 0xff);
            }
            (0..random.random_range(0..3)).for_each(|_| key.push(random.random_range(0..4)));
            let change = (Bytes::from(key), random.random_bool(0.7).then(|| Bytes::from("x")));
            apply(&mut model, &vec![change.clone()]);
            commit(&store, [change]);
            if step % 20 == 19 {
                let snapshot = store.snapshot().unwrap();
                assert_eq!(scan(&snapshot, &all(), true), expected(&model, &all(), true));
            }
        }
    }
}

#[test]
fn scans_match_their_view_while_the_tree_splits_and_merges_under_them() {
    const COMMITS: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    // What commit n did is at n - 1, written down before it is made.
    let history: Mutex<Vec<Changes>> = Mutex::new(Vec::new());
    let is_done = AtomicBool::new(false);

    let scanner = |seed: u64| {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut model, mut known, mut scans) = (Model::new(), 0, 0);
        while !is_done.load(Ordering::Acquire) {
            let snapshot = store.snapshot().unwrap();
            let watermark = snapshot.view.sequence() as usize;
            let news: Vec<_> = history.lock()[known..watermark].to_vec();
            news.iter().for_each(|changes| apply(&mut model, changes));
            known = watermark;
            let (span, reverse) = (span(&mut random), random.random());
            assert_eq!(scan(&snapshot, &span, reverse), expected(&model, &span, reverse), "view {watermark}");
            let key = key(&mut random);
            assert_eq!(
                snapshot.get(Space::Data, &key).unwrap().as_ref(),
                model.get(&key),
                "view {watermark}"
            );
            scans += 1;
        }
        scans
    };
    let writer = || {
        let mut random = StdRng::seed_from_u64(21);
        let mut is_present = Model::new();
        for number in 0..COMMITS {
            // Waves that fill the tree and empty it, so that its nodes split and merge.
            let mut changes = changes(&mut random, 4, number as u64);
            if number / 1_000 % 2 == 1 {
                changes.iter_mut().for_each(|change| change.1 = None);
            }
            changes.retain(|(key, value)| value.is_some() || is_present.contains_key(key));
            // A commit that changes nothing has no number.
            if changes.is_empty() {
                changes.push((key(&mut random), Some(Bytes::from("filler"))));
            }
            apply(&mut is_present, &changes);
            history.lock().push(changes.clone());
            commit(&store, changes);
        }
        is_done.store(true, Ordering::Release);
        is_present
    };
    thread::scope(|scope| {
        let scanners = [
            thread::Builder::new().spawn_scoped(scope, || scanner(1)),
            thread::Builder::new().spawn_scoped(scope, || scanner(2)),
        ];
        let writing = scope.spawn(writer);
        let model = writing.join().unwrap_or_else(|_| panic!("the writer failed"));
        for scanner in scanners {
            let scans = scanner.unwrap().join().unwrap();
            assert!(scans >= 20, "only {scans} scans");
        }
        assert_eq!(scan(&store.snapshot().unwrap(), &all(), true), expected(&model, &all(), true));
    });
    let live = scan(&store.snapshot().unwrap(), &all(), false).len();
    for _ in 0..100 {
        put(&store, "tick", "");
    }
    assert!(stored_rows(&store) <= live + 4, "{} rows for {live} keys", stored_rows(&store));
}
