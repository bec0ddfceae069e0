//! What a scan that stays open costs, in a process of its own so that nobody else's memory is counted.
#![cfg(target_os = "linux")]

use futures::{StreamExt as _, TryStreamExt as _};
use rdb_engine_api::{Engine, EngineExt as _, Key, KeyRange, Scan};
use rdb_engine_mem::MemConfig;

const KEYS: usize = 256;
const VALUE_BYTES: usize = 32 << 10;
const WRITES: usize = 10_000;

/// What of this process is in memory.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: usize =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("Linux counts pages");
    pages * 4096
}

fn key(number: usize) -> Key {
    Key::new(format!("k{number:03}")).expect("the name is a key")
}

/// C8, C14: a scan held open across 10,000 writes keeps its one view, not all that was written since.
#[tokio::test(flavor = "multi_thread")]
async fn c08_a_held_scan_keeps_one_view_and_not_every_version() {
    let mut config = MemConfig::default();
    // What the history keeps for watches is not what this is about.
    config.local.limits.max_history_bytes = 1 << 20;
    let engine = rdb_engine_mem::open(&config).unwrap();
    for number in 0..KEYS {
        engine.put(&key(number), vec![b'o'; VALUE_BYTES]).await.unwrap();
    }
    let mut scan = engine.scan(Scan::new(KeyRange::all())).await.unwrap().data;
    let mut delivered = scan.next().await.unwrap().unwrap().len();

    let before = resident_bytes();
    for number in 0..WRITES {
        engine.put(&key(number * 7 % KEYS), vec![b'n'; VALUE_BYTES]).await.unwrap();
    }
    let grown = resident_bytes().saturating_sub(before);
    // 320 MB were written. A second view is 8 MiB; the rest is what the allocator keeps for itself.
    assert!(grown < 64 << 20, "a scan held across {WRITES} writes made memory grow by {grown} bytes");

    while let Some(chunk) = scan.try_next().await.unwrap() {
        delivered += chunk.len();
        let old = chunk.iter().all(|entry| entry.record.as_ref().unwrap().value[0] == b'o');
        assert!(old, "the view does not change");
    }
    assert_eq!(delivered, KEYS);
}
