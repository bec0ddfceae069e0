//! The `rdb-check` command: judges histories in files.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rdb_checker::{History, Verdict, version_order, wgl};
use serde_json::json;

const MANUAL: &str = r#"A history is a file of JSON lines: one when a call begins, one when its answer has arrived.
Times are nanoseconds of one clock that all callers share:

  {"event":"call","op":0,"process":0,"at":1000,"request":{"write":{"ops":[["k","v1"]]}}}
  {"event":"return","op":0,"at":2500,"answer":{"committed":{"version":1}}}

A put with a time to live names it, in nanoseconds; a watch is recorded from its start to its end:

  {"event":"call","op":1,"process":0,"at":3000,"request":{"write":{"ops":[["k","v2"]],"ttls":[["k",5000000]]}}}
  {"event":"watch","watch":0,"at":100,"start":"a","end":"z"}
  {"event":"watching","watch":0,"at":200,"version":1}
  {"event":"delivered","watch":0,"at":4000,"what":{"commit":{"version":2,"ops":[["k",{"value":"v2","version":2}]]}}}
  {"event":"delivered","watch":0,"at":9000,"what":{"progress":{"version":7}}}
  {"event":"ended","watch":0,"at":9100,"why":"closed"}

Version order judges watches, and takes the removals they show as writes; WGL judges operations alone, and
lets a record vanish once its time is over.

A call without a return has an unknown outcome. In what is said of a history, operations are numbered
from 0 in the order of their calls. All requests and answers, and how to record them
from any client in any language, are in the README of rdb-checker.

Exit codes:
  0  every history is linearizable
  1  a history is not
  2  the arguments are wrong, or a file is no history, or holds no operation
  3  a checker could not decide: its deadline passed, or the history has no versions

Examples:
  rdb-check run.jsonl
  rdb-check --checker wgl --deadline 5m run-*.jsonl
  rdb-check --format jepsen etcd_000.log
  zcat run.jsonl.gz | rdb-check -o json - | jq .linearizable"#;

/// Histories with at least so many operations are worth a word on what is being done.
const BIG: usize = 20_000;

/// Says whether recorded histories of a key-value store are linearizable: whether one order of all
/// operations explains every answer and respects time.
#[derive(Debug, Parser)]
#[command(name = "rdb-check", version, after_help = MANUAL, max_term_width = 100)]
struct Args {
    /// Who judges [default: both; where no answer has a version, wgl]
    #[arg(long, value_name = "WHICH")]
    checker: Option<Which>,

    /// How long WGL may take for one history: 500ms, 60s, 5m
    #[arg(long, default_value = "60s", value_parser = duration)]
    deadline: Duration,

    /// What the files are
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,

    /// How results are shown
    #[arg(short = 'o', long, value_name = "HOW", default_value = "text")]
    print: Print,

    /// The histories; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// Version order: fast, needs versions in the answers
    Versions,
    /// Wing, Gong and Lowe's search: needs nothing but answers
    Wgl,
    /// One after the other; both have to agree that it is linearizable
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// JSON lines
    Jsonl,
    /// A log of Jepsen's over one register
    Jepsen,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Print {
    /// For people
    Text,
    /// One JSON object a file
    Json,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut worst = Exit::Linearizable;
    for file in &args.files {
        let judged = judge(file, &args);
        match judged {
            Ok(exit) => worst = worst.max(exit),
            // Whoever reads the results has seen enough.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(Failure::Output(error)) => {
                eprintln!("error: cannot write the results: {error}");
                return ExitCode::from(2);
            }
            Err(Failure::Input(problem)) => {
                eprintln!("error: cannot read a history. file=`{file}`, cause=`{problem}`");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(match worst {
        Exit::Linearizable => 0,
        Exit::Undecided => 3,
        Exit::Violation => 1,
    })
}

/// From the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    Linearizable,
    Undecided,
    Violation,
}

#[derive(Debug)]
enum Failure {
    Input(String),
    Output(io::Error),
}

fn judge(file: &str, args: &Args) -> Result<Exit, Failure> {
    let history = read(file, args.format).map_err(Failure::Input)?;
    let extent = wgl::extent(&history);
    let open = history.operations.iter().filter(|operation| operation.outcome.is_none()).count();
    let delivered: usize = history.watches.iter().map(|watch| watch.events.len()).sum();
    let checkers: &[(&str, Checker)] = match args.checker {
        Some(Which::Versions) => &[VERSIONS],
        Some(Which::Wgl) => &[WGL],
        None if history.has_no_versions() => &[WGL],
        Some(Which::Both) | None => &[VERSIONS, WGL],
    };
    let mut judged = Vec::new();
    for (name, check) in checkers {
        if history.operations.len() >= BIG && io::stderr().is_terminal() {
            let sets = extent.sets;
            eprintln!(
                "{file}: judging {} operations on {sets} sets of keys by {name}",
                history.operations.len()
            );
        }
        let start = now();
        let verdict = check(&history, args.deadline);
        judged.push((*name, verdict, start.elapsed()));
    }
    let exit = judged.iter().map(|(_, verdict, _)| exit(verdict)).max().unwrap_or(Exit::Undecided);
    let mut out = io::stdout().lock();
    let written = match args.print {
        Print::Text => {
            let mut text = format!(
                "{file}: {} operations, {open} of unknown outcome; {} keys in {} sets",
                history.operations.len(),
                extent.keys,
                extent.sets
            );
            if !history.watches.is_empty() {
                text.push_str(&format!("; {} watches, {delivered} deliveries", history.watches.len()));
            }
            text.push('\n');
            for (name, verdict, took) in &judged {
                let verdict = match verdict {
                    Verdict::Violation(violation) => {
                        format!("not linearizable: {}", violation.explain(&history))
                    }
                    other => other.to_string(),
                };
                text.push_str(&format!("  {name} ({took:.1?}): {}\n", verdict.replace('\n', "\n  ")));
            }
            out.write_all(text.as_bytes())
        }
        Print::Json => {
            let checkers: Vec<_> =
                judged.iter().map(|(name, verdict, took)| as_json(name, verdict, *took)).collect();
            let result = json!({
                "file": file,
                "operations": history.operations.len(),
                "unknown": open,
                "keys": extent.keys,
                "sets_of_keys": extent.sets,
                "watches": history.watches.len(),
                "deliveries": delivered,
                "linearizable": match exit {
                    Exit::Linearizable => Some(true),
                    Exit::Violation => Some(false),
                    Exit::Undecided => None,
                },
                "checkers": checkers,
            });
            writeln!(out, "{result}")
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(exit)
}

type Checker = fn(&History, Duration) -> Verdict;

const VERSIONS: (&str, Checker) = ("version order", |history, _| version_order::check(history));
const WGL: (&str, Checker) = ("wgl", wgl::check);

const fn exit(verdict: &Verdict) -> Exit {
    match verdict {
        Verdict::Linearizable => Exit::Linearizable,
        Verdict::Undecided(_) => Exit::Undecided,
        Verdict::Violation(_) => Exit::Violation,
    }
}

fn as_json(name: &str, verdict: &Verdict, took: Duration) -> serde_json::Value {
    let (word, reason, operations) = match verdict {
        Verdict::Linearizable => ("linearizable", None, &[][..]),
        Verdict::Undecided(reason) => ("undecided", Some(reason), &[][..]),
        Verdict::Violation(violation) => {
            ("not-linearizable", Some(&violation.message), &violation.operations[..])
        }
    };
    json!({
        "checker": name,
        "verdict": word,
        "reason": reason,
        "operations": operations,
        "seconds": took.as_secs_f64(),
    })
}

fn read(file: &str, format: Format) -> Result<History, String> {
    let from: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).map_err(|error| error.to_string())?),
    };
    let from = BufReader::new(from);
    let history = match format {
        Format::Jsonl => History::read(from),
        Format::Jepsen => History::from_jepsen_log(from),
    }
    .map_err(|error| error.to_string())?;
    // It would be linearizable: that is no news of a store, but of a recording that went wrong.
    if history.operations.is_empty() {
        return Err("no operation is in it".to_owned());
    }
    Ok(history)
}

#[allow(clippy::disallowed_methods)] // the clock of a measurement, not of behaviour
fn now() -> Instant {
    Instant::now()
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| "a number with ms, s or m is wanted".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err("a number with ms, s or m is wanted".to_owned()),
    }
}
