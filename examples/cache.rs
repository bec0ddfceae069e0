//! A cache that is always right: it is filled from a snapshot, and follows every change after it.
//!
//! `cargo run -p rdb-client --example cache -- [ENDPOINT]`; the endpoint is 127.0.0.1:7440 unless given. Writes a
//! thousand times under `cache/` while the cache follows, and fails unless it then holds what the node does. Stop
//! and start the node meanwhile if you like, if it keeps its data.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rdb_client::{
    Batch, Client, Engine, Error, ErrorKind, Key, KeyRange, Record, Result, RetryPolicy, Scan, SnapshotEvent,
    SnapshotStream, Version, WriteOptions,
};

const WRITES: u64 = 1_000;
const PREFIX: &str = "cache/";

#[tokio::main]
async fn main() -> ExitCode {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7440".to_owned());
    match run(&endpoint).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

async fn run(endpoint: &str) -> Result<bool> {
    let patient = RetryPolicy::default().attempts(u32::MAX);
    let client = Client::builder().endpoint(endpoint).timeout(Duration::from_secs(60)).retry(patient);
    let client = client.connect().await?;

    let mut cache = Cache::new(client.watch_from_snapshot(KeyRange::prefix(PREFIX)).await?);
    let (last, ()) = tokio::try_join!(write(&client), cache.follow_until_complete())?;
    cache.follow_until(last).await?;

    let stored = stored(&client).await?;
    println!("cache: {} records at version {}, the node has {}", cache.records.len(), last, stored.len());
    client.close().await?;
    Ok(cache.records == stored)
}

/// Puts and deletes in turn; returns the version of the last commit.
async fn write(client: &Client) -> Result<Version> {
    let mut last = Version::MIN;
    for number in 0..WRITES {
        let key = Key::new(format!("{PREFIX}{}", number * 7 % 100))?;
        let batch = match number % 3 {
            0 => Batch::new().delete(key),
            _ => Batch::new().put(key, number.to_string()),
        };
        last = client.write(batch, WriteOptions::default()).await?.version();
    }
    Ok(last)
}

/// What the node holds now.
async fn stored(client: &Client) -> Result<BTreeMap<Key, Record>> {
    let chunks = client.scan(Scan::new(KeyRange::prefix(PREFIX))).await?.data;
    let chunks: Vec<_> = chunks.try_collect().await?;
    Ok(chunks.into_iter().flatten().filter_map(|entry| Some((entry.key, entry.record?))).collect())
}

/// The records of a range, as they are at some version.
struct Cache {
    records: BTreeMap<Key, Record>,
    /// None before the first view is complete.
    version: Option<Version>,
    events: SnapshotStream,
}

impl Cache {
    const fn new(events: SnapshotStream) -> Self {
        Self { records: BTreeMap::new(), version: None, events }
    }

    async fn follow_until_complete(&mut self) -> Result<()> {
        self.follow_until(Version::MIN).await
    }

    /// Takes changes in until it holds everything up to a version.
    async fn follow_until(&mut self, version: Version) -> Result<()> {
        while self.version.is_none_or(|reached| reached < version) {
            let event = self.events.next().await.transpose()?;
            self.apply(
                event.ok_or_else(|| Error::new(ErrorKind::Internal, "the watch ended without an error"))?,
            );
        }
        Ok(())
    }

    fn apply(&mut self, event: SnapshotEvent) {
        match event {
            SnapshotEvent::Difference(changes) => {
                // After a restart too: the node tells what changed while nobody looked.
                changes.into_iter().for_each(|change| self.set(change.key, change.record));
            }
            SnapshotEvent::Commit(commit) => {
                self.version = Some(commit.version);
                commit.ops.into_iter().for_each(|op| self.set(op.key, op.record));
            }
            SnapshotEvent::Complete(version) | SnapshotEvent::Progress(version) => {
                self.version = Some(version)
            }
            _ => {}
        }
    }

    fn set(&mut self, key: Key, record: Option<Record>) {
        match record {
            Some(record) => self.records.insert(key, record),
            None => self.records.remove(&key),
        };
    }
}
