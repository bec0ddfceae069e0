//! Lets many callers do everything to a fresh node, records what they see, and judges it.
//!
//! `cargo run --release -p rdb-client --example linearizable -- --help`

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use rdb_checker::{History, Lie, Recorder, Verdict, version_order, wgl};
use rdb_client::{Client, Engine, Error, ErrorKind, KeyRange, Result, Scan};
use rdb_engine_api::conformance::{Recorded, Workload};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::StreamExt as _;

/// Lets many callers do everything to a fresh node, records what they see, and judges it by version order
/// and by WGL.
///
/// The node must be empty. Exit codes: 0 linearizable and every lie caught, 1 not, or not decided.
#[derive(Debug, Parser)]
struct Args {
    /// The node
    #[arg(default_value = "127.0.0.1:7440")]
    endpoint: String,
    /// How many callers there are
    #[arg(long, default_value_t = 32)]
    callers: usize,
    /// How many operations they do together
    #[arg(long, default_value_t = 100_000)]
    operations: usize,
    /// Let scans cross the groups of keys that batches stay in; WGL, which works by connected keys, is then
    /// left out
    #[arg(long)]
    wide_scans: bool,
    /// One in how many writes is given up by its caller; 0 for none
    #[arg(long, default_value_t = 0)]
    given_up: usize,
    /// Where the random choices begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long WGL may take, in seconds
    #[arg(long, default_value_t = 600)]
    deadline: u64,
    /// Then plant so many lies of each kind in the history, one at a time, and see each checker catch it
    #[arg(long, default_value_t = 0)]
    lies: usize,
    /// Keep the history in this file, for `rdb-check`
    #[arg(long)]
    keep: Option<PathBuf>,
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
    let client = Client::connect(&args.endpoint).await?;
    // The checkers take a store to be empty at first, and would call every read of what was there a violation.
    let mut there = client.scan(Scan::new(KeyRange::all()).limit(1).keys_only()).await?.data;
    while let Some(entries) = there.next().await {
        if let Some(entry) = entries?.first() {
            return Err(
                Error::new(ErrorKind::InvalidArgument, "the node is not empty").with("key", &entry.key)
            );
        }
    }
    drop(there);
    let recorder = Recorder::new();
    let engine: Arc<dyn Engine> = Arc::new(Recorded::new(Arc::new(client), recorder.clone()));
    let mut workload = Workload::new(args.callers, args.operations);
    workload.wide_scans = args.wide_scans;
    workload.given_up = args.given_up;
    workload.seed = args.seed;

    let begun = Instant::now();
    work(&workload, engine).await?;
    let elapsed = begun.elapsed().as_secs_f64();
    let history = recorder.history();
    let unknown = history.operations.iter().filter(|operation| operation.outcome.is_none()).count();
    let callers = args.callers;
    println!(
        "{} operations of {callers} callers in {elapsed:.1} s, {unknown} unknown",
        history.operations.len()
    );

    if let Some(path) = &args.keep {
        let written = File::create(path).and_then(|file| history.write(BufWriter::new(file)));
        written.map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot keep the history")
                .with("path", path.display())
                .because(error)
        })?;
    }
    let checkers = checkers(args);
    let mut sound = true;
    for (name, check) in &checkers {
        let (verdict, seconds) = timed(check, &history);
        match &verdict {
            Verdict::Violation(violation) => {
                println!("{name} ({seconds:.2} s): not linearizable: {}", violation.explain(&history));
            }
            _ => println!("{name} ({seconds:.2} s): {verdict}"),
        }
        sound &= verdict.is_linearizable();
    }
    for lie in Lie::ALL {
        for number in 0..args.lies {
            sound &= caught(lie, number, &history, &checkers);
        }
    }
    Ok(sound)
}

async fn work(workload: &Workload, engine: Arc<dyn Engine>) -> Result<()> {
    let done = Arc::new(AtomicU64::new(0));
    let work = workload.run(engine, Arc::clone(&done));
    tokio::pin!(work);
    let mut ticks = interval(Duration::from_secs(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            ended = &mut work => return ended,
            _ = ticks.tick() => {
                eprintln!("{} of {} done", done.load(Ordering::Relaxed), workload.operations);
            }
        }
    }
}

type Check = Box<dyn Fn(&History) -> Verdict>;

fn checkers(args: &Args) -> Vec<(&'static str, Check)> {
    let deadline = Duration::from_secs(args.deadline);
    let mut checkers: Vec<(&'static str, Check)> = vec![("version order", Box::new(version_order::check))];
    if !args.wide_scans {
        checkers.push(("WGL", Box::new(move |history| wgl::check(history, deadline))));
    }
    checkers
}

fn timed(check: &Check, history: &History) -> (Verdict, f64) {
    let begun = Instant::now();
    let verdict = check(history);
    (verdict, begun.elapsed().as_secs_f64())
}

/// Whether every checker sees a lie that is planted in the history.
fn caught(lie: Lie, number: usize, history: &History, checkers: &[(&str, Check)]) -> bool {
    let mut told = history.clone();
    let Some(place) = lie.plant(&mut told, number * 7919) else {
        println!("{lie:?}: the history has no room for one");
        return false;
    };
    checkers.iter().all(|(name, check)| {
        let (verdict, seconds) = timed(check, &told);
        let caught = matches!(verdict, Verdict::Violation(_));
        let word = if caught { "caught" } else { "NOT CAUGHT" };
        println!("{lie:?} planted at operation {place}: {word} by {name} ({seconds:.2} s)");
        caught
    })
}
