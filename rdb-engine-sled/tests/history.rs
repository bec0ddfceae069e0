//! A durable history over reopenings of a directory (C16).

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use rdb_engine_api::{
    Engine as _, EngineExt as _, ErrorKind, History, Key, KeyRange, Version, Watch, WatchEvent,
};
use rdb_engine_sled::{SledConfig, SledEngine};

fn open(path: &Path, history: History) -> SledEngine {
    let mut config = SledConfig::new(path);
    config.local.history = history;
    rdb_engine_sled::open(&config).expect("the engine opens")
}

async fn delivered(engine: &SledEngine, after: Version, count: usize) -> Vec<Version> {
    let view = engine.watch(Watch::new(KeyRange::all()).after(after)).await.expect("a watch opens");
    let commits = view.data.filter_map(|event| async {
        match event.expect("the watch goes on") {
            WatchEvent::Commit(commit) => Some(commit.version),
            _ => None,
        }
    });
    let delivered = commits.take(count).collect();
    tokio::time::timeout(Duration::from_secs(20), delivered).await.expect("they are delivered")
}

#[tokio::test(flavor = "multi_thread")]
async fn c16_a_durable_history_goes_on_over_reopenings() {
    let directory = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    for round in 0..4 {
        let engine = open(directory.path(), History::Durable);
        for number in 0..50 {
            let key = Key::new(format!("k{}", number % 7)).unwrap();
            made.push(engine.put(&key, format!("{round}-{number}")).await.unwrap().version);
        }
        assert_eq!(delivered(&engine, made[0], made.len() - 1).await, made[1..]);
        engine.close().await.unwrap();
    }
    let engine = open(directory.path(), History::Memory);
    let refused = engine.watch(Watch::new(KeyRange::all()).after(made[0])).await.map(drop).unwrap_err();
    assert_eq!((refused.kind(), refused.version()), (ErrorKind::Compacted, made.last().copied()));
    engine.close().await.unwrap();
    let engine = open(directory.path(), History::Durable);
    let refused = engine.watch(Watch::new(KeyRange::all()).after(made[0])).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Compacted, "the gap is not bridged");
}
