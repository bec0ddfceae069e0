//! Starts a node, and lets many watchers follow what writers do, over connections that are cut again and
//! again: each must see every commit of its range once, in order. Then one watcher reads nothing.
//!
//! `cargo build && cargo run -p rdb-client --example watchers -- --help`

#[allow(dead_code)] // not every run needs all of it
#[path = "runs/node.rs"]
mod node;
#[path = "runs/progress.rs"]
mod progress;
#[allow(dead_code)] // not every run needs all of it
#[path = "runs/proxy.rs"]
mod proxy;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use futures::StreamExt as _;
use node::{Node, NodePlan};
use progress::Progress;
use proxy::{Proxy, Trouble};
use rdb_client::{
    Client, Engine as _, EngineExt as _, Error, ErrorKind, Key, KeyRange, Result, Version, Watch, WatchEvent,
};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

/// Starts a node, and lets many watchers follow what writers do, over connections that are cut again and
/// again. Then one watcher reads nothing, while writers go on.
///
/// The result is one JSON object on standard output. Exit code 0: every watcher saw every commit of its range
/// once and in order, with its value, and the one who read nothing was ended with an error.
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
    /// How many watchers there are
    #[arg(long, default_value_t = 1_000)]
    watchers: u64,
    /// How many commits all watchers are delivered together, at least
    #[arg(long, default_value_t = 1_000_000)]
    deliveries: u64,
    /// How many ranges they watch, each watched by equally many
    #[arg(long, default_value_t = 10)]
    ranges: u64,
    /// How many clients, each with a connection, the watchers share
    #[arg(long, default_value_t = 20)]
    clients: u64,
    /// How many writers there are
    #[arg(long, default_value_t = 8)]
    writers: u64,
    /// How often all connections of the watchers are cut, in milliseconds
    #[arg(long, default_value_t = 3_000)]
    cut_every: u64,
    /// How many writes each half of the trial with a watcher who reads nothing takes
    #[arg(long, default_value_t = 20_000)]
    stalled_writes: u64,
    /// How many changes the node keeps for watches, in that trial
    #[arg(long, default_value_t = 2_000)]
    stalled_history: u64,
    /// How long nothing may happen, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
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

async fn run(args: &Args) -> Result<bool> {
    let followed = follow(args).await?;
    let stalled = stall(args).await?;
    let ended = stalled.ended == Some(ErrorKind::Exhausted);
    let result = json!({
        "engine": args.engine,
        "watchers": args.watchers,
        "commits": followed.commits,
        "deliveries": followed.delivered,
        "missed": followed.missed,
        "repeated_or_reordered": followed.disordered,
        "changed": followed.changed,
        "cuts": followed.cuts,
        "seconds": followed.seconds,
        "stalled": {
            "ended_by": stalled.ended.map(|kind| kind.to_string()),
            "delivered_to_version": stalled.version,
            "writes": args.stalled_writes,
            "p50_ms": { "without": stalled.without.p50, "with": stalled.with.p50 },
            "p99_ms": { "without": stalled.without.p99, "with": stalled.with.p99 },
        },
    });
    println!("{result:#}");
    Ok(followed.is_right(args) && ended)
}

/// What the watchers saw.
#[derive(Debug, Default)]
struct Followed {
    commits: u64,
    delivered: u64,
    missed: u64,
    disordered: u64,
    changed: u64,
    cuts: u64,
    seconds: f64,
}

impl Followed {
    const fn is_right(&self, args: &Args) -> bool {
        self.missed == 0 && self.disordered == 0 && self.changed == 0 && self.delivered >= args.deliveries
    }
}

/// A commit of a range: its version, and the number that it put.
type Put = (u64, u64);

async fn follow(args: &Args) -> Result<Followed> {
    let directory = place()?;
    let node = Node::start(plan(args, directory.path().to_owned(), Vec::new()))?;
    let proxy = Proxy::start(node.address(), Trouble::NONE).await?;
    let direct = patient(args, node.address()).await?;
    let begin = direct.put(&Key::new("begin")?, "").await?.version;
    let mut clients = Vec::new();
    for _ in 0..args.clients.max(1) {
        clients.push(patient(args, proxy.address()).await?);
    }
    let delivered = Arc::new(AtomicU64::new(0));
    // Told at the end: the last version of each range.
    let (tell, told) = watch::channel(None::<Arc<Vec<u64>>>);
    let mut watchers = JoinSet::new();
    for watcher in 0..args.watchers {
        let client = clients[(watcher % args.clients.max(1)) as usize].clone();
        let (range, told, delivered) = (watcher % args.ranges, told.clone(), Arc::clone(&delivered));
        let patience = Duration::from_secs(args.patience);
        watchers.spawn(async move {
            Ok::<_, Error>((range, see(client, range, begin, told, delivered, patience).await?))
        });
    }
    let begun = Instant::now();
    // So many in each range that all its watchers together have their part.
    let each = args.deliveries.div_ceil(args.watchers.max(1));
    let progress = Progress::new("deliveries", each * args.watchers);
    let write = write_all(args, direct.clone(), each);
    tokio::pin!(write);
    let mut cuts = interval(Duration::from_millis(args.cut_every.max(1)));
    let mut ticks = interval(Duration::from_millis(200));
    let mut written = None;
    let mut seen = Vec::new();
    while seen.len() < args.watchers as usize {
        tokio::select! {
            ended = &mut write, if written.is_none() => {
                let puts: Vec<Vec<Put>> = ended?;
                let last = puts.iter().map(|puts| puts.last().map_or(0, |put| put.0)).collect();
                tell.send_replace(Some(Arc::new(last)));
                written = Some(puts);
            }
            Some(ended) = watchers.join_next() => {
                seen.push(ended.map_err(|error| {
                    Error::new(ErrorKind::Internal, "a watcher panicked").because(error)
                })??);
            }
            _ = cuts.tick() => proxy.cut(),
            _ = ticks.tick() => progress.show(delivered.load(Relaxed)),
        }
    }
    progress.show(delivered.load(Relaxed));
    progress.end();
    let written = written.unwrap_or_default();
    let mut followed = Followed {
        commits: written.iter().map(|puts| puts.len() as u64).sum(),
        delivered: delivered.load(Relaxed),
        cuts: proxy.tally().cuts.load(Relaxed),
        seconds: begun.elapsed().as_secs_f64(),
        ..Followed::default()
    };
    for (range, seen) in seen {
        compare(&written[range as usize], &seen, &mut followed);
    }
    Ok(followed)
}

/// Compares what one watcher saw with what was committed, both in order.
fn compare(written: &[Put], seen: &[Put], followed: &mut Followed) {
    followed.disordered += seen.windows(2).filter(|pair| pair[0].0 >= pair[1].0).count() as u64;
    let mut rest = written.iter().peekable();
    for put in seen {
        while rest.next_if(|due| due.0 < put.0).is_some() {
            followed.missed += 1;
        }
        match rest.next_if(|due| due.0 == put.0) {
            Some(due) if due.1 == put.1 => {}
            _ => followed.changed += 1,
        }
    }
    followed.missed += rest.count() as u64;
}

/// Writers put numbers until there are so many commits in each range; returns those, in order.
async fn write_all(args: &Args, client: Client, each: u64) -> Result<Vec<Vec<Put>>> {
    let total = each * args.ranges;
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..args.writers.max(1) {
        let (client, next, ranges) = (client.clone(), Arc::clone(&next), args.ranges);
        writers.spawn(async move {
            let mut puts = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= total {
                    return Ok::<_, Error>(puts);
                }
                let range = number % ranges;
                let key = Key::new(format!("range/{range}/{}", number % 100))?;
                let commit = client.put(&key, number.to_string()).await?;
                puts.push((range, (commit.version.get(), number)));
            }
        });
    }
    let mut all = vec![Vec::new(); args.ranges as usize];
    while let Some(ended) = writers.join_next().await {
        let puts =
            ended.map_err(|error| Error::new(ErrorKind::Internal, "a writer panicked").because(error))??;
        puts.into_iter().for_each(|(range, put)| all[range as usize].push(put));
    }
    all.iter_mut().for_each(|puts| puts.sort_unstable());
    Ok(all)
}

/// What one watcher sees, until it has come to the end.
async fn see(
    client: Client,
    range: u64,
    begin: Version,
    mut told: watch::Receiver<Option<Arc<Vec<u64>>>>,
    delivered: Arc<AtomicU64>,
    patience: Duration,
) -> Result<Vec<Put>> {
    let watch = Watch::new(KeyRange::prefix(format!("range/{range}/")));
    let watch = watch.after(begin).progress(Duration::from_secs(1));
    let mut events = client.subscribe(watch).await?.data;
    let (mut seen, mut version, mut last) = (Vec::new(), 0, None);
    while last.is_none_or(|last| version < last) {
        let event = tokio::select! {
            event = timeout(patience, events.next()) => event,
            changed = told.changed(), if last.is_none() => {
                changed.map_err(|error| Error::new(ErrorKind::Internal, "writers failed").because(error))?;
                last = told.borrow().as_ref().map(|last| last[range as usize]);
                continue;
            }
        };
        let silent = || Error::new(ErrorKind::Unavailable, "watch says nothing").with("range", range);
        let event = event.map_err(|_| silent())?.ok_or_else(silent)??;
        version = event.version().get();
        if let WatchEvent::Commit(commit) = event {
            for op in &commit.ops {
                let value =
                    op.record.as_ref().map(|record| String::from_utf8_lossy(&record.value).into_owned());
                seen.push((version, value.and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)));
                delivered.fetch_add(1, Relaxed);
            }
        }
    }
    Ok(seen)
}

/// Latencies of writes, in milliseconds.
#[derive(Debug)]
struct Latencies {
    p50: f64,
    p99: f64,
}

/// What became of a watcher who read nothing.
#[derive(Debug)]
struct Stalled {
    ended: Option<ErrorKind>,
    version: Option<u64>,
    without: Latencies,
    with: Latencies,
}

async fn stall(args: &Args) -> Result<Stalled> {
    let directory = place()?;
    let history = ["--max-history-ops".to_owned(), args.stalled_history.to_string()];
    let node = Node::start(plan(args, directory.path().to_owned(), history.to_vec()))?;
    let writer = patient(args, node.address()).await?;
    write_timed(args, &writer).await?; // warms both up
    let without = write_timed(args, &writer).await?;
    // So little is on its way that the node has to keep the rest.
    let reader = Client::builder().endpoint(node.address()).windows(64 << 10, 64 << 10).connect().await?;
    let mut unread = reader.watch(Watch::new(KeyRange::all())).await?.data;
    let with = write_timed(args, &writer).await?;
    let (mut ended, mut version) = (None, None);
    while let Ok(Some(event)) = timeout(Duration::from_secs(args.patience), unread.next()).await {
        match event {
            Ok(event) => version = Some(event.version().get()),
            Err(error) => {
                ended = Some(error.kind());
                version = error.version().map(Version::get).or(version);
                break;
            }
        }
    }
    Ok(Stalled { ended, version, without, with })
}

async fn write_timed(args: &Args, client: &Client) -> Result<Latencies> {
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..args.writers.max(1) {
        let (client, next, total) = (client.clone(), Arc::clone(&next), args.stalled_writes);
        writers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= total {
                    return Ok::<_, Error>(times);
                }
                let key = Key::new(format!("stalled/{}", number % 1_000))?;
                let start = Instant::now();
                client.put(&key, vec![b'x'; 256]).await?;
                times.push(start.elapsed());
            }
        });
    }
    let mut times = Vec::new();
    while let Some(ended) = writers.join_next().await {
        times.extend(
            ended.map_err(|error| Error::new(ErrorKind::Internal, "a writer panicked").because(error))??,
        );
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Ok(Latencies { p50: at(50), p99: at(99) })
}

/// A client that waits for a busy node: it shares the machine with all the watchers.
async fn patient(args: &Args, address: &str) -> Result<Client> {
    let patience = Duration::from_secs(args.patience);
    Client::builder().endpoint(address).timeout(patience).connect().await
}

fn place() -> Result<tempfile::TempDir> {
    tempfile::tempdir()
        .map_err(|error| Error::new(ErrorKind::Internal, "no place for the data").because(error))
}

fn plan(args: &Args, directory: PathBuf, more: Vec<String>) -> NodePlan {
    let flags = args.flags.iter().cloned().chain(more).collect();
    NodePlan { server: args.server.clone(), engine: args.engine.clone(), directory, flags }
}
