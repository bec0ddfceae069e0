//! Starts a node, gives it many keys that live for random times, and sees when each is removed: none early;
//! how late; and what of memory and disk is given back.
//!
//! `cargo build && cargo run -p rdb-client --example expiry -- --help`

#[allow(dead_code)] // not every run needs all of it
#[path = "runs/node.rs"]
mod node;
#[path = "runs/progress.rs"]
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use futures::StreamExt as _;
use node::{Metrics, Node, NodePlan};
use progress::Progress;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rdb_client::{
    Batch, Cause, Client, Engine as _, EngineExt as _, Error, ErrorKind, Key, KeyRange, Outcome, Result,
    Scan, Version, Watch, WatchEvent, WriteOptions,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Starts a node, gives it many keys that live for random times, and sees by a watch when each is removed.
///
/// The result is one JSON object on standard output. Exit code 0: each key was removed once, none before its
/// time, counted from before it was put, none is left, and the node holds on to nothing of them: its index of
/// what expires is empty, its history is within its limit, its engine's own account is back. What the process
/// and the directory take is shown and not judged: how much of what was freed an allocator, or a store's files,
/// keep for what comes next is theirs, and has no bound that this run could know.
#[derive(Debug, Parser)]
struct Args {
    /// The program of the node
    #[arg(long, default_value = "target/debug/rdb-server")]
    server: PathBuf,
    /// The engine that stores: mem, sled, rocks
    #[arg(long, default_value = "mem")]
    engine: String,
    /// More flags for the node, behind `--`
    #[arg(last = true)]
    flags: Vec<String>,
    /// How many keys there are
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// The bytes of each value
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// How many keys a batch puts
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// How many writers there are
    #[arg(long, default_value_t = 8)]
    writers: u64,
    /// The shortest time to live, in seconds
    #[arg(long, default_value_t = 30)]
    ttl_least: u64,
    /// The longest
    #[arg(long, default_value_t = 180)]
    ttl_most: u64,
    /// How long nothing may happen beyond the longest time to live, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// How long the node has to give memory and disk back, in seconds
    #[arg(long, default_value_t = 30)]
    rest: u64,
    /// Where the random choices begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

/// When a key was put, and when it was to go.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// Before the put was sent, and when its answer was there, with the time to live: the node's own deadline
    /// is between the two.
    earliest: Duration,
    latest: Duration,
}

/// When a key was seen to be removed.
#[derive(Clone, Copy, Debug, Default)]
struct Gone {
    times: u32,
    at: Duration,
}

async fn run(args: &Args) -> Result<bool> {
    let directory = tempfile::tempdir()
        .map_err(|error| Error::new(ErrorKind::Internal, "no place for the data").because(error))?;
    let node = Node::start(NodePlan {
        server: args.server.clone(),
        engine: args.engine.clone(),
        directory: directory.path().to_owned(),
        flags: args.flags.clone(),
    })?;
    let client = Client::connect(node.address()).await?;
    let begin = client.put(&Key::new("begin")?, "").await?.version;
    let clock = Instant::now();
    let before = Used::by(&node);

    let removed = Arc::new(AtomicU64::new(0));
    let watcher =
        tokio::spawn(see(client.clone(), args.keys, begin, clock, Arc::clone(&removed), patience(args)));
    let progress = Progress::new("keys put", args.keys);
    let lives = write(args, &client, clock, &progress).await?;
    progress.end();
    let put_in = clock.elapsed().as_secs_f64();
    let full = Used::by(&node);

    let progress = Progress::new("keys removed", args.keys);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    while !watcher.is_finished() {
        ticks.tick().await;
        progress.show(removed.load(Relaxed));
    }
    progress.end();
    let seen = watcher.await.map_err(panicked)??;
    let (mut early, mut lateness) = (0_u64, Vec::with_capacity(lives.len()));
    let (mut missed, mut repeated) = (0_u64, 0_u64);
    for (life, gone) in lives.iter().zip(&seen) {
        match gone.times {
            0 => missed += 1,
            1 if gone.at < life.earliest => early += 1,
            1 => lateness.push(gone.at.saturating_sub(life.latest)),
            _ => repeated += 1,
        }
    }
    lateness.sort_unstable();
    let at = |of_a_thousand: usize| {
        let place = (lateness.len() * of_a_thousand / 1000).min(lateness.len().saturating_sub(1));
        lateness.get(place).map_or(0.0, |late| late.as_secs_f64() * 1e3)
    };
    let left = count(&client).await?;
    tokio::time::sleep(Duration::from_secs(args.rest)).await;
    let after = Used::by(&node);
    let held = Held::by(&node.metrics()?);
    let result = json!({
        "engine": args.engine,
        "keys": args.keys,
        "put_in_seconds": put_in,
        "early": early,
        "removed_twice": repeated,
        "removal_not_seen": missed,
        "left": left,
        "late_ms": { "p50": at(500), "p99": at(990), "p99_9": at(999), "most": at(1000) },
        "memory_bytes": { "before": before.memory, "full": full.memory, "after": after.memory },
        "disk_bytes": { "before": before.disk, "full": full.disk, "after": after.disk },
        "held": held.to_json(),
        "seed": args.seed,
    });
    println!("{result:#}");
    Ok(early == 0 && repeated == 0 && missed == 0 && left == 0 && held.is_nothing())
}

/// Bytes that an engine in memory may hold for itself: the line of versions, and a session with its window.
const OWN_BYTES: f64 = 256.0 * 1024.0;

/// What a node says that it holds. What an engine does not tell is none.
#[derive(Debug)]
struct Held {
    /// Whether there are records that expire.
    expiring: Option<f64>,
    history: Option<f64>,
    history_limit: Option<f64>,
    /// Bytes of an engine in memory.
    in_memory: Option<f64>,
    /// Entries of sled's queue of old versions. The last wait for a commit to come: shown, and not judged.
    garbage: Option<f64>,
}

impl Held {
    fn by(metrics: &Metrics) -> Self {
        let value = |name: &str| metrics.value(&format!("flaredb_engine_{name}"));
        Self {
            expiring: value("expiring_records"),
            history: value("history_size_bytes"),
            history_limit: value("history_size_limit_bytes"),
            in_memory: value("mem_size_bytes"),
            garbage: value("sled_garbage"),
        }
    }

    /// Whether that is nothing of what has expired, beyond what the history may keep.
    fn is_nothing(&self) -> bool {
        let within = self.history.zip(self.history_limit).is_some_and(|(size, limit)| size <= limit);
        let is_back = self.in_memory.is_none_or(|bytes| bytes <= OWN_BYTES);
        self.expiring == Some(0.0) && within && is_back
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "expiring_records": self.expiring,
            "history_bytes": self.history,
            "history_bytes_limit": self.history_limit,
            "mem_bytes": self.in_memory,
            "sled_garbage": self.garbage,
        })
    }
}

/// What a node takes.
#[derive(Clone, Copy, Debug)]
struct Used {
    memory: u64,
    disk: u64,
}

impl Used {
    fn by(node: &Node) -> Self {
        Self { memory: node.memory(), disk: node.disk() }
    }
}

fn key(number: u64) -> Result<Key> {
    Key::new(format!("key/{number:010}"))
}

/// Writers put every key, each with a time to live of its own.
async fn write(args: &Args, client: &Client, clock: Instant, progress: &Progress) -> Result<Vec<Life>> {
    let next = Arc::new(AtomicU64::new(0));
    let (batch, total, bytes) = (args.batch.max(1), args.keys, args.value_bytes);
    let (least, most) = (args.ttl_least.max(1) * 1000, args.ttl_most.max(args.ttl_least).max(1) * 1000);
    let mut writers = JoinSet::new();
    for writer in 0..args.writers.max(1) {
        let (client, next) = (client.clone(), Arc::clone(&next));
        let mut random = SmallRng::seed_from_u64(args.seed.wrapping_add(writer));
        writers.spawn(async move {
            let mut lives = Vec::new();
            loop {
                let first = next.fetch_add(batch, Relaxed);
                if first >= total {
                    return Ok::<_, Error>(lives);
                }
                let numbers = first..total.min(first + batch);
                let (mut puts, mut ttls) = (Batch::new(), Vec::new());
                for number in numbers.clone() {
                    let ttl = Duration::from_millis(random.random_range(least..=most));
                    puts = puts.put_for(key(number)?, vec![b'x'; bytes], ttl);
                    ttls.push(ttl);
                }
                let sent = clock.elapsed();
                let outcome = client.write(puts, WriteOptions::default()).await?;
                let answered = clock.elapsed();
                if !matches!(outcome, Outcome::Committed(_)) {
                    return Err(Error::new(ErrorKind::Internal, "node did not commit a put"));
                }
                for (number, ttl) in numbers.zip(ttls) {
                    lives.push((number, Life { earliest: sent + ttl, latest: answered + ttl }));
                }
            }
        });
    }
    let mut lives = vec![Life::default(); total as usize];
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            ended = writers.join_next() => {
                let Some(ended) = ended else { return Ok(lives) };
                for (number, life) in ended.map_err(panicked)?? {
                    lives[number as usize] = life;
                }
            }
            _ = ticks.tick() => progress.show(next.load(Relaxed).min(total)),
        }
    }
}

/// Watches until every key was removed, or nothing comes for long.
async fn see(
    client: Client,
    keys: u64,
    begin: Version,
    clock: Instant,
    removed: Arc<AtomicU64>,
    patience: Duration,
) -> Result<Vec<Gone>> {
    let mut seen = vec![Gone::default(); keys as usize];
    let mut events = client.subscribe(Watch::new(KeyRange::prefix("key/")).after(begin)).await?.data;
    let mut last = Instant::now();
    while removed.load(Relaxed) < keys {
        let Ok(event) = timeout(patience, events.next()).await else { break };
        let silent = || Error::new(ErrorKind::Internal, "watch ended without an error");
        let at = clock.elapsed();
        match event.ok_or_else(silent)?? {
            WatchEvent::Commit(commit) if commit.cause == Cause::Expiry => {
                last = Instant::now();
                for op in &commit.ops {
                    let number = std::str::from_utf8(&op.key.as_bytes()[4..]).ok();
                    let number: Option<usize> = number.and_then(|text| text.parse().ok());
                    if let Some(gone) = number.and_then(|number| seen.get_mut(number)) {
                        *gone = Gone { times: gone.times + 1, at };
                        removed.fetch_add(1, Relaxed);
                    }
                }
            }
            // Progress comes for ever.
            _ if last.elapsed() > patience => break,
            _ => {}
        }
    }
    Ok(seen)
}

fn patience(args: &Args) -> Duration {
    Duration::from_secs(args.ttl_most + args.patience)
}

/// How many keys are left.
async fn count(client: &Client) -> Result<usize> {
    let mut chunks = client.scan(Scan::new(KeyRange::prefix("key/")).keys_only()).await?.data;
    let mut left = 0;
    while let Some(chunk) = chunks.next().await {
        left += chunk?.len();
    }
    Ok(left)
}

fn panicked(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a task panicked").because(error)
}
