//! A client follows its node to other ports, and what it wrote meanwhile is exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt as _;
use rdb_client::Client;
use rdb_engine_api::{
    Batch, Condition, Engine, EngineExt as _, ErrorKind, Key, KeyRange, Outcome, Record, Result, Scan,
    WriteOptions,
};
use rdb_server::Serving as _;
use tokio::time::Instant;

use crate::harness::{PATIENCE, client, driver, key, mem, node, sled, stores, until};

const CLIENTS: u64 = 8;
const INCREMENTS: u64 = 300;
const MOVES: u64 = 12;
/// Who adds to one counter.
const RIVALS: u64 = 2;

/// How often what became of increments.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicU64,
    not_applied: AtomicU64,
    unknown: AtomicU64,
    unknown_but_applied: AtomicU64,
}

/// Adds one, once: a mark of its own goes with it, so that an unknown outcome can be looked up.
async fn increment(client: &Client, counter: &Key, mark: &Key, tally: &Tally) {
    let mut in_doubt = false;
    loop {
        let view = until_read(client, &[counter.clone(), mark.clone()]).await;
        let (current, marked) = (view[0].clone(), view[1].is_some());
        if marked {
            assert!(in_doubt, "applied, and said not to be (C10)");
            tally.unknown_but_applied.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (number, condition) = match &current {
            None => (0, Condition::Absent),
            Some(record) => {
                let number = u64::from_be_bytes((&*record.value).try_into().unwrap());
                (number, Condition::Version(record.version))
            }
        };
        let batch = Batch::new()
            .when(mark.clone(), Condition::Absent)
            .when(counter.clone(), condition)
            .put(counter.clone(), (number + 1).to_be_bytes().to_vec())
            .put(mark.clone(), "");
        match client.write(batch, WriteOptions::default()).await {
            Ok(Outcome::Committed(_)) => return,
            Ok(Outcome::Unchanged(_)) => panic!("a put is a change (C4)"),
            Ok(Outcome::Conflict(conflict)) => {
                assert!(conflict.index == 1 || in_doubt, "in conflict with itself (C10)");
            }
            Err(error) if error.kind() == ErrorKind::Unknown => {
                tally.unknown.fetch_add(1, Ordering::Relaxed);
                in_doubt = true;
            }
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Closed),
                    "{}",
                    error.report()
                );
                tally.not_applied.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn until_read(client: &Client, keys: &[Key]) -> Vec<Option<Record>> {
    let start = Instant::now();
    loop {
        match client.get_many(keys).await {
            Ok(view) => return view.data,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
                assert!(start.elapsed() < PATIENCE, "not in time: {}", error.report());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_end_exact_while_their_node_moves_from_port_to_port() {
    let directory = tempfile::tempdir().unwrap();
    let pd = driver(mem()).await;
    let mut engine = sled(directory.path());
    let mut member = node(&engine, pd.addr(), Some(directory.path())).await.unwrap();
    let tally = Arc::new(Tally::default());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let (client, tally) = (client(pd.addr()).await.unwrap(), Arc::clone(&tally));
        clients.push(tokio::spawn(async move {
            let counter = key(&format!("counter/{}", number / RIVALS));
            for place in 0..INCREMENTS {
                increment(&client, &counter, &key(&format!("mark/{number}/{place:04}")), &tally).await;
                tally.done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let mut ports = Vec::new();
    for moved in 0..MOVES {
        let enough = CLIENTS * INCREMENTS * (moved + 1) / (MOVES + 2);
        until("increments", async || tally.done.load(Ordering::Relaxed) >= enough).await;
        ports.push(member.addr().port());
        if moved % 2 == 0 {
            member.shutdown().await.unwrap();
        } else {
            drop(member); // as if cut off: answers on their way are lost
            engine.close().await.unwrap();
        }
        engine = sled(directory.path());
        member = node(&engine, pd.addr(), Some(directory.path())).await.unwrap();
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(stores(&pd).await.len(), 1, "one store all along");
    let found = client(pd.addr()).await.unwrap();
    println!("{tally:?} over ports {ports:?}");
    for counter in 0..CLIENTS / RIVALS {
        let record = found.get(&key(&format!("counter/{counter}"))).await.unwrap().unwrap();
        assert_eq!(u64::from_be_bytes((&*record.value).try_into().unwrap()), RIVALS * INCREMENTS);
    }
    assert_eq!(marks(&found).await.unwrap(), CLIENTS * INCREMENTS);
    member.shutdown().await.unwrap();
}

async fn marks(engine: &dyn Engine) -> Result<u64> {
    let view = engine.scan(Scan::new(KeyRange::prefix("mark/")).keys_only()).await?;
    view.data.try_fold(0, async |sum, chunk| Ok(sum + chunk.len() as u64)).await
}

#[tokio::test]
async fn a_client_that_waits_finds_the_node_on_its_new_port() {
    let directory = tempfile::tempdir().unwrap();
    let pd = driver(mem()).await;
    let member = node(&sled(directory.path()), pd.addr(), Some(directory.path())).await.unwrap();
    let client = client(pd.addr()).await.unwrap();
    let put = client.put(&key("k"), "v").await.unwrap();
    let before = member.addr();
    member.shutdown().await.unwrap();
    let error = client.get(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    let member = node(&sled(directory.path()), pd.addr(), Some(directory.path())).await.unwrap();
    let found = client.get(&key("k")).await.unwrap().unwrap();
    assert_eq!(found.version, put.version);
    assert_eq!(client.endpoint().to_string(), member.addr().to_string());
    assert_ne!(before, member.addr());
    assert!(client.put(&key("k"), "w").await.unwrap().version > put.version, "one line of versions (C5)");
    member.shutdown().await.unwrap();
}
