//! Starts a node, kills it every two seconds, and lets callers increment shared counters through a proxy that
//! drops and delays answers and delivers requests again: the sum must be exact.
//!
//! `cargo build && cargo run -p rdb-client --example exactly_once -- --help`

#[path = "runs/increments.rs"]
mod increments;
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
use std::time::Duration;

use clap::{Parser, ValueEnum};
use increments::{Found, Plan};
use node::NodePlan;
use progress::Progress;
use proxy::Trouble;
use rdb_client::{Error, ErrorKind, Result};
use serde_json::json;

/// Starts a node, kills it again and again, and lets callers increment shared counters through a proxy that
/// drops and delays answers and delivers requests again.
///
/// The result is one JSON object on standard output. Exit code 0: the sum is exact, nobody was refused because
/// of his own write, and nobody was left without knowing what became of one. With `--exactly-once off`, where a
/// write of unknown outcome is simply sent again, 0: a write was seen to take effect twice, or to be refused
/// because of itself.
///
/// mem loses everything when it is killed: there, all connections are cut instead.
#[derive(Debug, Parser)]
struct Args {
    /// The program of the node
    #[arg(long, default_value = "target/debug/rdb-server")]
    server: PathBuf,
    /// The engine that stores: mem, sled, rocks
    #[arg(long, default_value = "sled")]
    engine: String,
    /// More flags for the node, behind `--`
    #[arg(last = true)]
    flags: Vec<String>,
    /// Whether writes are numbered in a session
    #[arg(long, value_enum, default_value = "on")]
    exactly_once: Switch,
    /// How many increments all callers make together
    #[arg(long, default_value_t = 100_000)]
    increments: u64,
    /// How many callers there are
    #[arg(long, default_value_t = 32)]
    callers: u64,
    /// How many clients, each with a connection and a session, they share
    #[arg(long, default_value_t = 4)]
    clients: u64,
    /// How many counters they share
    #[arg(long, default_value_t = 16)]
    counters: u64,
    /// How often the node is killed, in milliseconds
    #[arg(long, default_value_t = 2_000)]
    kill_every: u64,
    /// Of a thousand answers, how many are dropped
    #[arg(long, default_value_t = 20)]
    drop: u32,
    /// Of a thousand answers, how many are delayed
    #[arg(long, default_value_t = 20)]
    delay: u32,
    /// An answer's longest delay, in milliseconds
    #[arg(long, default_value_t = 200)]
    delay_most: u64,
    /// Of a thousand writes, how many are delivered once more
    #[arg(long, default_value_t = 100)]
    repeat: u32,
    /// The latest time of that, in milliseconds: beyond the next kill
    #[arg(long, default_value_t = 5_000)]
    repeat_late: u64,
    /// How long a request may take, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    timeout: u64,
    /// Where the random choices begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<bool> {
    let directory = tempfile::tempdir()
        .map_err(|error| Error::new(ErrorKind::Internal, "no place for the data").because(error))?;
    let plan = Plan {
        increments: args.increments,
        callers: args.callers.max(1),
        clients: args.clients.clamp(1, args.callers.max(1)),
        counters: args.counters.max(1),
        kill_every: Duration::from_millis(args.kill_every.max(1)),
        trouble: Trouble {
            dropped: args.drop,
            delayed: args.delay,
            repeated: args.repeat,
            delay: Duration::from_millis(args.delay_most),
            late: Duration::from_millis(args.repeat_late),
            seed: args.seed,
        },
        timeout: Duration::from_millis(args.timeout),
        exactly_once: args.exactly_once == Switch::On,
    };
    let node = NodePlan {
        server: args.server,
        engine: args.engine.clone(),
        directory: directory.path().to_owned(),
        flags: args.flags,
    };
    let progress = Progress::new("increments", plan.increments);
    let found = increments::run(&plan, node, |done| progress.show(done)).await?;
    progress.end();
    tell(&args.engine, &plan, &found);
    Ok(if plan.exactly_once { found.is_exact(&plan) } else { found.shows_a_write_twice(&plan) })
}

fn tell(engine: &str, plan: &Plan, found: &Found) {
    let [repeated, refused, lost] = found.repeated;
    let result = json!({
        "engine": engine,
        "exactly_once": plan.exactly_once,
        "exact": found.is_exact(plan),
        "increments": plan.increments,
        "sum": found.sum,
        "applied_twice_at_least": found.sum.saturating_sub(plan.increments),
        "false_conflicts": found.false_conflicts,
        "unknown": found.unknown,
        "settled": found.settled,
        "conflicts": found.conflicts,
        "refused_and_tried_again": found.refused,
        "callers": plan.callers,
        "kills": found.kills,
        "cuts": found.cuts,
        "answers_dropped": found.answers_dropped,
        "answers_delayed": found.answers_delayed,
        "requests_repeated": { "answered": repeated, "refused": refused, "lost": lost },
        "seconds": found.seconds,
        "seed": plan.trouble.seed,
    });
    println!("{result:#}");
}
