//! FlareDB measured side by side with RocksDB, Redis and etcd: `rdb-bench --help`.

mod chart;
mod cli;
mod compare;
mod contender;
mod date;
mod document;
mod engine;
mod failure;
mod figures;
mod folder;
mod page;
mod peers;
mod performance;
mod place;
mod process;
mod row;
mod rows;
mod run;
mod scale;
mod side;
mod sides;
mod subject;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let (said, code) = tokio::select! {
        ended = Cli::parse().run() => match ended {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), 1),
        },
        // What was started ends as its owners are dropped.
        signal = signalled() => match signal {
            Ok((name, number)) => (name.to_owned(), 128 + number),
            Err(error) => (error.to_string(), 1),
        },
    };
    eprintln!("rdb-bench: {said}");
    ExitCode::from(code)
}

/// What ended it, and its number: Ctrl-C, or the end of the terminal, stops what was started as well.
async fn signalled() -> std::io::Result<(&'static str, u8)> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = hang_up.recv() => ("hung up", 1),
        _ = interrupt.recv() => ("interrupted", 2),
        _ = terminate.recv() => ("terminated", 15),
    })
}
