//! Sixteen tasks count together: each adds one to the same counter a thousand times, by compare-and-swap.
//!
//! `cargo run -p rdb-client --example counter -- [ENDPOINT]`; the endpoint is 127.0.0.1:7440 unless given.
//! Fails unless exactly 16,000 was added. A debug build of the node takes up to a minute; how far it is goes to
//! standard error meanwhile. Stop and start the node as you like: each write takes effect once, and a write that
//! is unknown at its deadline is asked about. (A node that keeps nothing forgets the counter.)

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdb_client::{
    Client, Condition, Engine, EngineExt, Error, ErrorKind, Key, Outcome, Record, Result, RetryPolicy,
    WriteId,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

const TASKS: u64 = 16;
const INCREMENTS: u64 = 1_000;
/// How long a node may be away.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7440".to_owned());
    match run(&endpoint).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where an outcome is forgotten, nobody can say what the counter ought to be.
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

async fn run(endpoint: &str) -> Result<bool> {
    let patient = RetryPolicy::default().attempts(u32::MAX);
    let client = Client::builder().endpoint(endpoint).timeout(PATIENCE).retry(patient).connect().await?;
    let key = Key::new("counter")?;
    let before = count(client.get(&key).await?.as_ref())?;

    let begun = Instant::now();
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(work(client.clone(), key.clone(), Arc::clone(&done)));
    }
    let mut conflicts = 0;
    let mut seconds = interval_at(begun + SECOND, SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            _ = seconds.tick() => {
                eprintln!("{} of {} added", done.load(Ordering::Relaxed), TASKS * INCREMENTS);
                continue;
            }
        };
        let Some(ended) = ended else { break };
        conflicts += ended.map_err(|error| Error::new(ErrorKind::Internal, "task died").because(error))??;
    }
    let elapsed = begun.elapsed();

    let after = count(client.get(&key).await?.as_ref())?;
    let added = after.saturating_sub(before);
    println!("counter: {after} ({added} added, {conflicts} conflicts, {:.2} s)", elapsed.as_secs_f64());
    Ok(added == TASKS * INCREMENTS)
}

/// One task's share, counted in `done` as it goes; returns how often another was faster.
async fn work(client: Client, key: Key, done: Arc<AtomicU64>) -> Result<u64> {
    let mut conflicts = 0;
    let mut current = client.get(&key).await?;
    for _ in 0..INCREMENTS {
        loop {
            let next = (count(current.as_ref())? + 1).to_string();
            let condition = match &current {
                Some(record) => Condition::Version(record.version),
                None => Condition::Absent,
            };
            let told = client.compare_and_swap(&key, condition, next.clone()).await;
            match outcome(&client, told).await? {
                // It was never executed.
                None => {}
                Some(Outcome::Conflict(conflict)) => {
                    // It brings the record that was in the way: no read is needed to try again (C7).
                    current = conflict.current;
                    conflicts += 1;
                }
                Some(outcome) => {
                    current = Some(Record::new(next.into(), outcome.version()));
                    done.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
    Ok(conflicts)
}

/// What became of a write that may have ended unknown.
async fn outcome(client: &Client, told: Result<Outcome>) -> Result<Option<Outcome>> {
    match told {
        Ok(outcome) => Ok(Some(outcome)),
        Err(error) => match WriteId::of(&error) {
            Some(id) => client.what_became_of(id).await,
            None => Err(error),
        },
    }
}

/// The number in a record; 0 where there is none yet.
fn count(record: Option<&Record>) -> Result<u64> {
    let Some(record) = record else { return Ok(0) };
    let number = std::str::from_utf8(&record.value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "key holds something that is not a number"))
}
