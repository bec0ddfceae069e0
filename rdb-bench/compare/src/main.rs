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
mod peers;
mod performance;
mod place;
mod process;
mod row;
mod rows;
mod scale;
mod side;
mod sides;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let ended = tokio::select! {
        ended = Cli::parse().run() => ended,
        // What was started ends as its owners are dropped.
        signal = interrupted() => Err(signal.map_or_else(Into::into, Into::into)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rdb-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
    })
}
