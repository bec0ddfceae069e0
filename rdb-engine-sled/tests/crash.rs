//! What survives a kill: a prefix of the commits that holds every acknowledged one, each whole (C2, C9).

#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdb_engine_api::{ChangeSet, Durability, Snapshot as _, Space, Span, Store as _};
use rdb_engine_sled::{SledConfig, SledStore};

/// Tells this test's own binary to be the process that is killed.
const VICTIM: &str = "FLAREDB_SLED_CRASH_VICTIM";
/// The keys that commits write to in turn.
const KEYS: u64 = 512;
/// The keys of one commit.
const WIDTH: u64 = 16;
const ROUNDS: u64 = 12;

fn open(path: &Path) -> SledStore {
    let mut config = SledConfig::new(path);
    config.cache_bytes = SledConfig::MIN_CACHE_BYTES;
    SledStore::open(&config).unwrap()
}

/// Commit n writes n under its keys and under `last`; some values are too long for sled's log and go to
/// files of their own.
fn changes(number: u64) -> ChangeSet {
    let mut changes = ChangeSet::new();
    let mut value = number.to_be_bytes().to_vec();
    changes.push(Space::System, Bytes::from("last"), Some(Bytes::from(value.clone())));
    for key in keys(number) {
        let length = if number.is_multiple_of(50) && key.is_multiple_of(WIDTH) {
            200_000
        } else {
            8 + number as usize % 300
        };
        value.resize(length, 0xab);
        // Every seventh commit removes, so that marks of removal are killed half-way too.
        changes.push(
            Space::Data,
            Bytes::copy_from_slice(&key.to_be_bytes()),
            (!number.is_multiple_of(7)).then(|| value.clone().into()),
        );
    }
    changes
}

fn keys(number: u64) -> impl Iterator<Item = u64> {
    (0..WIDTH).map(move |place| (number * WIDTH * 5 + place) % KEYS)
}

/// The number of the last commit, if the store holds exactly the commits up to it.
fn check(store: &SledStore) -> u64 {
    let snapshot = store.snapshot().unwrap();
    let number_in = |value: &[u8]| u64::from_be_bytes(value[..8].try_into().unwrap());
    let last = snapshot.get(Space::System, b"last").unwrap().map_or(0, |value| number_in(&value));
    let mut expected = vec![None; KEYS as usize];
    for number in 1..=last {
        for key in keys(number) {
            expected[key as usize] = (number % 7 != 0).then_some(number);
        }
    }
    let mut found = vec![None; KEYS as usize];
    for row in snapshot.scan(Space::Data, &Span { start: Bytes::new(), end: None }, false).unwrap() {
        let row = row.unwrap();
        let key = u64::from_be_bytes(row.key[..].try_into().unwrap());
        assert!(row.value[8..].iter().all(|byte| *byte == 0xab));
        found[key as usize] = Some(number_in(&row.value));
    }
    assert_eq!(found, expected, "after commit {last}");
    last
}

/// The process that is killed: commits, and says so, until it dies.
fn be_the_victim(path: &Path) {
    let mut stdout = std::io::stdout().lock();
    // On a line of its own, behind what the test runner has begun.
    writeln!(stdout, "\nopening").unwrap();
    let store = open(path);
    let mut number = check(&store);
    loop {
        number += 1;
        assert_eq!(store.commit(changes(number), Durability::Process).unwrap(), Durability::Process);
        writeln!(stdout, "acknowledged {number}").unwrap();
        stdout.flush().unwrap();
    }
}

fn victim(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "kill_keeps_every_acknowledged_commit_and_no_half_one",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn kill_keeps_every_acknowledged_commit_and_no_half_one() {
    if let Some(path) = std::env::var_os(VICTIM) {
        be_the_victim(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(std::process::id().into());
    let mut total = 0;
    for round in 0..ROUNDS {
        let mut child = victim(dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
        assert!(lines.any(|line| line == "opening"), "the victim of round {round} did not begin");
        let number_of =
            |line: String| line.strip_prefix("acknowledged ").and_then(|text| text.parse::<u64>().ok());
        let mut acknowledged = total;
        if round % 3 == 0 {
            // In the middle of its opening, or soon after.
            (0..random.random_range(0..2_000)).for_each(|_| std::thread::yield_now());
        } else {
            let patience = random.random_range(1..150);
            acknowledged = lines.by_ref().filter_map(number_of).take(patience).last().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died.
        acknowledged = lines.filter_map(number_of).last().unwrap_or(acknowledged);
        let store = open(dir.path());
        let last = check(&store);
        assert!(last >= acknowledged, "round {round}: {acknowledged} was acknowledged, {last} is there");
        assert!(
            last <= acknowledged + 1,
            "round {round}: {last} is there, only {acknowledged} was acknowledged"
        );
        total = last;
    }
    assert!(total >= ROUNDS, "only {total} commits in all");
}
