//! Sixteen tasks count together: each adds one to the same counter a thousand times, by compare-and-swap.
//!
//! `cargo run -p rdb-client --example counter -- [ENDPOINT]`; the endpoint is 127.0.0.1:7440 unless given.
//! Fails unless exactly 16,000 was added.

use std::process::ExitCode;

use rdb_client::{Client, Condition, Engine, EngineExt, Error, ErrorKind, Key, Outcome, Record, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;

const TASKS: u64 = 16;
const INCREMENTS: u64 = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7440".to_owned());
    match run(&endpoint).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // After an unknown outcome nobody can say what the counter ought to be.
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

async fn run(endpoint: &str) -> Result<bool> {
    let client = Client::connect(endpoint).await?;
    let key = Key::new("counter")?;
    let before = count(client.get(&key).await?.as_ref())?;

    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(work(client.clone(), key.clone()));
    }
    let mut conflicts = 0;
    while let Some(done) = tasks.join_next().await {
        conflicts += done.map_err(|error| Error::new(ErrorKind::Internal, "task died").because(error))??;
    }
    let elapsed = begun.elapsed();

    let after = count(client.get(&key).await?.as_ref())?;
    let added = after.saturating_sub(before);
    println!("counter: {after} ({added} added, {conflicts} conflicts, {:.2} s)", elapsed.as_secs_f64());
    Ok(added == TASKS * INCREMENTS)
}

/// One task's share; returns how often another was faster.
async fn work(client: Client, key: Key) -> Result<u64> {
    let mut conflicts = 0;
    let mut current = client.get(&key).await?;
    for _ in 0..INCREMENTS {
        loop {
            let next = (count(current.as_ref())? + 1).to_string();
            let condition = match &current {
                Some(record) => Condition::Version(record.version),
                None => Condition::Absent,
            };
            match client.compare_and_swap(&key, condition, next.clone()).await? {
                Outcome::Conflict(conflict) => {
                    // It brings the record that was in the way: no read is needed to try again (C7).
                    current = conflict.current;
                    conflicts += 1;
                }
                outcome => {
                    current = Some(Record::new(next.into(), outcome.version()));
                    break;
                }
            }
        }
    }
    Ok(conflicts)
}

/// The number in a record; 0 where there is none yet.
fn count(record: Option<&Record>) -> Result<u64> {
    let Some(record) = record else { return Ok(0) };
    let number = std::str::from_utf8(&record.value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "key holds something that is not a number"))
}
