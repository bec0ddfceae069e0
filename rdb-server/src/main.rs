//! The FlareDB node as a program: turns flags into an engine and serves it.

mod cli;
mod engines;
mod units;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::exit;
use std::sync::Arc;

use clap::Parser as _;
use rdb_engine_api::{Engine, Error, ErrorKind, Result};
use rdb_server::{Node, serve};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::cli::{Cli, LogFormat};

fn main() {
    let cli = Arc::new(Cli::parse());
    start_logs(&cli);
    if let Err(error) = cli.check() {
        // As clap reports what it finds wrong itself.
        eprintln!("error: {}\n\nFor more information, try '--help'.", error.report());
        exit(2);
    }
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(cli.blocking_threads())
        .build()
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot start the runtime").because(error));
    let ended = runtime.and_then(|runtime| {
        let ended = runtime.block_on(run(cli));
        // Dropped, it would wait for work that hangs, such as a read of a disk that does not answer. And to the
        // very end it has to listen for a second signal.
        std::mem::forget(runtime);
        ended
    });
    if let Err(error) = &ended {
        eprintln!("error: {}", error.report());
    }
    exit(i32::from(ended.is_err()));
}

async fn run(cli: Arc<Cli>) -> Result<()> {
    // First of all, so that no signal is lost on a node that has only just opened its engine.
    let mut signals = Signals::new()?;
    let opening = {
        let cli = Arc::clone(&cli);
        spawn_blocking(move || engines::open(&cli))
    };
    let engine = tokio::select! {
        biased;
        opened = opening => {
            opened.map_err(|error| Error::new(ErrorKind::Internal, "opening the engine panicked").because(error))??
        }
        () = signals.next() => {
            // Nobody was served, so to the engine this is a crash after which nothing is missing.
            tracing::info!("ending before the engine was open");
            return Ok(());
        }
    };
    let node = match serve(Arc::clone(&engine), cli.node_config()).await {
        Ok(node) => node,
        Err(error) => {
            end_at_next(signals);
            close(&*engine, &cli).await;
            return Err(error);
        }
    };
    drop(engine);
    announce(&node);
    tracing::info!(engine = cli.engine.name(), version = env!("CARGO_PKG_VERSION"), "serving");
    signals.next().await;
    tracing::info!("shutting down; a second signal ends the process at once");
    end_at_next(signals);
    let ended = node.shutdown().await;
    if ended.is_ok() {
        tracing::info!("shut down");
    }
    ended
}

/// Ends the process at once when the next signal comes.
fn end_at_next(mut signals: Signals) {
    tokio::spawn(async move {
        signals.next().await;
        tracing::warn!("ending at once");
        exit(1);
    });
}

/// Closes an engine that has never been served.
async fn close(engine: &dyn Engine, cli: &Cli) {
    match timeout(cli.node_config().drain_timeout, engine.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = error.report(), "cannot close the engine"),
        Err(_) => tracing::error!("engine did not close in time"),
    }
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
