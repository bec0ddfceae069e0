//! The FlareDB node as a program: turns flags into an engine and serves it.

mod cli;
mod engines;
mod units;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_server::{Node, serve};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Cli, LogFormat};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logs(&cli);
    if let Err(error) = cli.check() {
        // As clap reports what it finds wrong itself.
        eprintln!("error: {}\n\nFor more information, try '--help'.", error.report());
        return ExitCode::from(2);
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: &Cli) -> Result<()> {
    // First of all, so that no signal is lost on a node that has only just opened its engine.
    let mut signals = Signals::new()?;
    let engine = engines::open(cli)?;
    let node = serve(engine, cli.node_config()).await?;
    announce(&node);
    tracing::info!(engine = cli.engine.name(), version = env!("CARGO_PKG_VERSION"), "serving");
    signals.next().await;
    tracing::info!("shutting down; a second signal ends the process at once");
    tokio::spawn(async move {
        signals.next().await;
        tracing::warn!("ending at once");
        std::process::exit(1);
    });
    let ended = node.shutdown().await;
    if ended.is_ok() {
        tracing::info!("shut down");
    }
    ended
}

/// Tells where the node is, for whoever started it on free ports. Whether anyone reads it does not matter.
fn announce(node: &Node) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "listening on {}\noperations on {}", node.addr(), node.ops_addr());
    let _ = out.flush();
}

fn start_logs(cli: &Cli) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(cli.log_filter())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match cli.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// What asks the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let on = |kind| {
            signal(kind)
                .map_err(|error| Error::new(ErrorKind::Internal, "cannot handle signals").because(error))
        };
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
