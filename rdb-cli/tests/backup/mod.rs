//! Backups of a node that is written to, and what becomes of them in another.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rdb_client::backup::{Meta, write};
use rdb_client::{
    Batch, Bytes, Engine, EngineExt, Entry, ErrorKind, Key, KeyRange, Record, Scan, Version, View,
    WriteOptions,
};
use rdb_engine_sled::SledConfig;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::key;
use crate::shell::{Ran, Shell, serve_engine, start, start_through};

const PATIENCE: Duration = Duration::from_secs(30);

async fn rdb(shell: &Shell, command: &str, file: &Path) -> Ran {
    shell.rdb([OsStr::new(command), file.as_os_str(), OsStr::new("-o"), OsStr::new("json")]).await
}

fn json(ran: &Ran) -> serde_json::Value {
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_slice(&ran.out).unwrap()
}

async fn all(engine: &dyn Engine) -> View<Vec<Entry>> {
    let view = engine.scan(Scan::new(KeyRange::all())).await.unwrap();
    View { version: view.version, data: view.data.try_concat().await.unwrap() }
}

/// Waits until the engine has removed what a restore left behind.
async fn assert_empty(engine: &dyn Engine) {
    let wait = async {
        loop {
            match engine.scan(Scan::new(KeyRange::all())).await {
                Ok(view) => return view.data.try_concat().await.unwrap(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found: Vec<Entry> = timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(found.len(), 0, "nothing is left of a restore that did not come to its end");
}

/// A file with so many records, made without a node.
async fn file_of(directory: &TempDir, records: usize, bytes: usize) -> PathBuf {
    let path = directory.path().join("made");
    let version = Version::new(1_000).unwrap();
    let value = Bytes::from(vec![7; bytes]);
    let entry = |number| {
        let record = Record::new(value.clone(), version);
        Entry::new(Key::new(format!("k{number:06}")).unwrap(), Some(record))
    };
    let entries: Vec<Entry> = (0..records).map(entry).collect();
    let chunks: Vec<_> = entries.chunks(100).map(|chunk| Ok(chunk.to_vec())).collect();
    let view = View { version, data: stream::iter(chunks).boxed() };
    let mut file = tokio::fs::File::create(&path).await.unwrap();
    write(view, &Meta::new("made", std::time::UNIX_EPOCH), &mut file, |_| {}).await.unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_writers_is_the_view_that_it_names_in_every_engine_it_is_restored_to() {
    let shell = Shell::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("all.backup");
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (engine, stop) = (Arc::clone(&shell.engine), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut commits = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = key(&format!("{writer}/{:03}", (number * 7) % 300));
                    if number % 5 == 4 {
                        let outcome = engine.delete(&key).await.unwrap();
                        commits.push((outcome.version(), key, None));
                    } else {
                        let value = format!("{writer} {number}");
                        let commit = engine.put(&key, value.clone()).await.unwrap();
                        commits.push((commit.version, key, Some(value)));
                    }
                }
                commits
            })
        })
        .collect();
    timeout(PATIENCE, async {
        while all(&*shell.engine).await.data.len() < 1_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let backed_up = json(&rdb(&shell, "backup", &file).await);
    stop.store(true, Ordering::Relaxed);
    let mut commits = Vec::new();
    for writer in writers {
        commits.extend(writer.await.unwrap());
    }
    let version = backed_up["version"].as_u64().unwrap();
    commits.retain(|(committed, ..)| committed.get() <= version);
    commits.sort_by_key(|(committed, ..)| *committed);
    let mut expected = BTreeMap::new();
    for (committed, key, value) in commits {
        match value {
            Some(value) => drop(expected.insert(key, Record::new(value.into(), committed))),
            None => drop(expected.remove(&key)),
        }
    }
    let expected: Vec<Entry> =
        expected.into_iter().map(|(key, record)| Entry::new(key, Some(record))).collect();
    assert_eq!(backed_up["records"], expected.len());

    let verified = json(&rdb(&shell, "verify", &file).await);
    assert_eq!(verified, backed_up, "a file says of itself what was said when it was made");

    let mem = Shell::new().await;
    let restored = json(&rdb(&mem, "restore", &file).await);
    let view = all(&*mem.engine).await;
    assert!(view.data == expected, "{} of {} records", view.data.len(), expected.len());
    assert_eq!(
        (restored["version"].as_u64(), restored["from_version"].as_u64()),
        (Some(view.version.get()), Some(version))
    );
    let put = mem.engine.put(&key("new"), "v").await.unwrap();
    assert!(put.version > view.version && view.version.get() > version);

    let sled_directory = directory.path().join("sled");
    let sled = Arc::new(rdb_engine_sled::open(&SledConfig::new(&sled_directory)).unwrap());
    let node = serve_engine(Arc::clone(&sled)).await;
    let child = start(&node.addr().to_string(), [OsStr::new("restore"), file.as_os_str()]);
    let ran: Ran = child.wait_with_output().await.unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(all(&*sled).await.data == expected);
    node.shutdown().await.unwrap();
    drop(sled);
    let sled = rdb_engine_sled::open(&SledConfig::new(&sled_directory)).unwrap();
    assert!(all(&sled).await.data == expected, "the node's restart changes nothing");
    // And back, by way of a second file.
    let node = serve_engine(Arc::new(sled)).await;
    let again = directory.path().join("again.backup");
    let ran: Ran = start(&node.addr().to_string(), [OsStr::new("backup"), again.as_os_str()])
        .wait_with_output()
        .await
        .unwrap()
        .into();
    assert_eq!(ran.code, 0, "{}", ran.err);
    let back = Shell::new().await;
    json(&rdb(&back, "restore", &again).await);
    assert!(all(&*back.engine).await.data == expected, "there and back");
}

/// Numbers that look drawn by lot, and are the same each time (xorshift).
fn drawn(seed: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(seed), |last| {
        let mut next = last ^ (last << 13);
        next ^= next >> 7;
        Some(next ^ (next << 17))
    })
    .skip(1)
    .map(|number| (number >> 16) as usize)
}

#[tokio::test]
async fn a_damaged_backup_is_refused_before_the_node_is_touched() {
    const EACH: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let (source, file) = (Shell::new().await, directory.path().join("good.backup"));
    for number in 0..200 {
        let batch = (0..10).fold(Batch::new(), |batch, place| {
            batch.put(key(&format!("{number:03}/{place}")), vec![number as u8; 400])
        });
        assert!(source.engine.write(batch, WriteOptions::default()).await.unwrap().succeeded());
    }
    json(&rdb(&source, "backup", &file).await);
    let good = std::fs::read(&file).unwrap();
    let cuts = drawn(0x5eed).map(|place| good[..place % good.len()].to_vec()).take(EACH);
    let flips = drawn(0xb17).map(|bit| {
        let (mut bytes, bit) = (good.clone(), bit % (good.len() * 8));
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });

    let shell = Shell::new().await;
    let before = all(&*shell.engine).await.version;
    let path = directory.path().join("bad.backup");
    for (round, bad) in cuts.chain(flips.take(EACH)).enumerate() {
        std::fs::write(&path, &bad).unwrap();
        let ran = rdb(&shell, "restore", &path).await;
        assert_eq!(ran.code, 1, "round {round}, {} bytes: {}", bad.len(), ran.err);
        assert!(ran.err.contains("bad.backup: corrupt: "), "round {round}: {}", ran.err);
        if round % 20 == 0 {
            let ran = rdb(&shell, "verify", &path).await;
            assert!(ran.code == 1 && ran.err.contains("bad.backup: corrupt: "), "{}", ran.err);
        }
        let view = all(&*shell.engine).await;
        assert_eq!((view.version, view.data.len()), (before, 0), "round {round}");
    }
    let text = directory.path().join("text");
    std::fs::write(&text, "this is no backup at all").unwrap();
    let ran = rdb(&shell, "restore", &text).await;
    assert!(ran.code == 1 && ran.err.contains("file is no FlareDB backup"), "{}", ran.err);

    // And it is as good as new.
    json(&rdb(&shell, "restore", &file).await);
    assert_eq!(all(&*shell.engine).await.data, all(&*source.engine).await.data);
}

#[tokio::test]
async fn a_restore_into_a_node_that_is_not_empty_is_refused() {
    let shell = Shell::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = file_of(&directory, 10, 10).await;
    let put = shell.engine.put(&key("there"), "v").await.unwrap();
    let ran = rdb(&shell, "restore", &file).await;
    assert!(ran.code == 1 && ran.err.contains("not empty"), "{}", ran.err);
    let view = all(&*shell.engine).await;
    assert_eq!((view.version, view.data.len()), (put.version, 1));
}

#[tokio::test]
async fn a_backup_without_room_says_so_and_leaves_no_file() {
    let shell = Shell::new().await;
    for number in 0..200 {
        shell.engine.put(&key(&format!("{number:03}")), vec![7; 10_000]).await.unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("all.backup");
    std::fs::write(&file, "the backup of yesterday").unwrap();
    // In 512-byte blocks; without the signal, writing beyond it is an error like a full disk's.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh"];
    let child = start_through(&limited, &shell.endpoint, [OsStr::new("backup"), file.as_os_str()]);
    let ran: Ran = child.wait_with_output().await.unwrap().into();
    assert!(ran.code == 1 && ran.err.contains("exhausted: cannot write backup: "), "{}", ran.err);
    assert_eq!(std::fs::read(&file).unwrap(), b"the backup of yesterday");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
}

#[tokio::test]
async fn a_backup_goes_to_standard_output_too() {
    let shell = Shell::new().await;
    shell.engine.put(&key("k"), "v").await.unwrap();
    let ran = shell.rdb(["backup", "-"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("all.backup");
    std::fs::write(&file, ran.out).unwrap();
    let other = Shell::new().await;
    json(&rdb(&other, "restore", &file).await);
    assert_eq!(all(&*other.engine).await.data, all(&*shell.engine).await.data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_client_is_killed_leaves_nothing_and_the_next_is_whole() {
    let shell = Shell::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = file_of(&directory, 8_000, 4_000).await;
    for signal in ["KILL", "TERM"] {
        let child = start(&shell.endpoint, [OsStr::new("restore"), file.as_os_str()]);
        let restoring = async {
            while shell.engine.get(&key("k000000")).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, restoring).await.unwrap();
        let id = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().await.unwrap().success());
        let ended = child.wait_with_output().await.unwrap();
        if signal == "TERM" {
            let ran: Ran = ended.into();
            assert!(ran.code == 143 && ran.err.contains("nothing was restored"), "{} {}", ran.code, ran.err);
        }
        assert_empty(&*shell.engine).await;
    }
    json(&rdb(&shell, "restore", &file).await);
    assert_eq!(all(&*shell.engine).await.data.len(), 8_000);
}
