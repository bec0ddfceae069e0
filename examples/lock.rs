//! A lock that outlives its holders: it is a record with a time to live, and who wants it waits in line.
//!
//! `cargo run -p rdb-client --example lock -- [ENDPOINT]`; the endpoint is 127.0.0.1:7440 unless given. Eight
//! workers take the lock in turn; one of them dies with it, and the next has it when the lease is over. Fails
//! if two ever held it at once.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdb_client::{
    Batch, Client, Condition, Engine, EngineExt, Error, ErrorKind, Key, Outcome, Result, Version,
    WriteOptions,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

const WORKERS: usize = 8;
const LEASE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);
const WORK: Duration = Duration::from_millis(100);

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
    let client = Client::connect(endpoint).await?;
    let (holders, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let (client, holders, most) = (client.clone(), Arc::clone(&holders), Arc::clone(&most));
        workers.spawn(async move {
            let mut lock = Lock::take(client, Key::new("lock")?, format!("worker {number}")).await?;
            most.fetch_max(holders.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            println!("worker {number} has the lock, version {}", lock.version);
            sleep(WORK).await;
            holders.fetch_sub(1, Ordering::SeqCst);
            if number == 0 {
                println!("worker {number} dies with it");
                return Ok(());
            }
            lock.renew().await?;
            lock.release().await
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| Error::new(ErrorKind::Internal, "worker died").because(error))??;
    }
    client.close().await?;
    let most = most.load(Ordering::SeqCst);
    println!("{WORKERS} workers had the lock, {most} at most at once");
    Ok(most == 1)
}

/// A lock that is held until its lease is over.
///
/// Nobody can be sure to stop in time: a holder may sleep through the end of its lease. So whatever the lock
/// guards should refuse a version below the greatest it has seen: `version` grows with each holder (C5).
struct Lock {
    client: Client,
    key: Key,
    owner: String,
    version: Version,
}

impl Lock {
    /// Waits in line for the lock: first come, first served (C20).
    async fn take(client: Client, key: Key, owner: String) -> Result<Self> {
        let batch = Batch::new().when(key.clone(), Condition::Absent);
        let batch = batch.put_for(key.clone(), owner.clone(), LEASE);
        match client.write(batch, WriteOptions::default().wait(PATIENCE)).await? {
            Outcome::Conflict(conflict) => Err(taken(&conflict.key)),
            outcome => Ok(Self { client, key, owner, version: outcome.version() }),
        }
    }

    /// Begins the lease anew: a put of the same value is a change, and its life begins with it (C15).
    async fn renew(&mut self) -> Result<()> {
        let batch = Batch::new().when(self.key.clone(), Condition::Version(self.version));
        let batch = batch.put_for(self.key.clone(), self.owner.clone(), LEASE);
        match self.client.write(batch, WriteOptions::default()).await? {
            Outcome::Conflict(conflict) => Err(taken(&conflict.key)),
            outcome => {
                self.version = outcome.version();
                Ok(())
            }
        }
    }

    /// Gives the lock back, if it is still held: who took it after the lease was over keeps it.
    async fn release(self) -> Result<()> {
        let condition = Condition::Version(self.version);
        self.client.compare_and_delete(&self.key, condition).await.map(drop)
    }
}

fn taken(key: &Key) -> Error {
    Error::new(ErrorKind::Unavailable, "another has the lock").with("key", key)
}
