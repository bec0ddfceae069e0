use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::{Engine, Error, ErrorKind, Result};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

use crate::service::{Bound, Server};
use crate::{Node, NodeConfig, raise_descriptor_limit, serve_on, systemd};

/// Is the whole of a node's program: opens an engine, serves it, and ends in order at SIGTERM or Ctrl-C. What it
/// returns is for `main` to return at once.
///
/// - Once clients can connect, it prints `listening on ADDRESS` and `operations on ADDRESS` to standard output.
/// - A signal finishes what has begun and closes the engine ([`Node::shutdown`]). A second one ends the process
///   with exit code 1, and a first one while the engine is still being opened ends it in order: nobody was served.
/// - An error goes to standard error and makes the exit code 1.
/// - systemd, where it waits to be told (`Type=notify`), is told when clients can connect and when the end begins,
///   and gets the signs of life that it asks for (`WatchdogSec=`).
/// - The process may open as many files as its hard limit has room for ([`raise_descriptor_limit`]).
/// - Logs go to the process's tracing subscriber; where none is set, to standard error, as `RUST_LOG` says, else
///   from `info` on.
///
/// It starts a runtime of its own and must not be called on one. `open` may block.
///
/// ```no_run
/// use std::sync::Arc;
///
/// fn main() -> std::process::ExitCode {
///     rdb_server::run(Default::default(), || Ok(Arc::new(rdb_engine_mem::open(&Default::default())?)))
/// }
/// ```
pub fn run(config: NodeConfig, open: impl FnOnce() -> Result<Arc<dyn Engine>> + Send + 'static) -> ExitCode {
    run_with(config, open, serve_on)
}

/// What a program serves, as [`run_with`] has to know it.
pub trait Serving {
    /// The server that clients reach it by.
    fn server(&self) -> &Server;

    /// Ends in order within [`NodeConfig::drain_timeout`], and closes the engine.
    fn shutdown(self) -> impl Future<Output = Result<()>>;
}

impl Serving for Node {
    fn server(&self) -> &Server {
        &self.server
    }

    fn shutdown(self) -> impl Future<Output = Result<()>> {
        self.shutdown()
    }
}

impl Serving for Server {
    fn server(&self) -> &Server {
        self
    }

    fn shutdown(self) -> impl Future<Output = Result<()>> {
        self.shutdown()
    }
}

/// Is [`run`] for a program that does not serve a node, or not a node alone. `serve` brings an engine to its
/// clients, on addresses that are known before the engine is opened; where it fails, or a signal comes before it
/// is done, the engine is closed.
pub fn run_with<S: Serving>(
    config: NodeConfig,
    open: impl FnOnce() -> Result<Arc<dyn Engine>> + Send + 'static,
    serve: impl AsyncFnOnce(Bound, Arc<dyn Engine>) -> Result<S>,
) -> ExitCode {
    // Refused where the caller has set one: that one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(error = error.report(), "going on with the limit as it is");
    }
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot start the runtime").because(error));
    let ended = runtime.and_then(|runtime| {
        let ended = runtime.block_on(run_here(config, open, serve));
        // Dropped, it would wait for work that hangs, such as a read of a disk that does not answer. And to the
        // very end it has to listen for a second signal.
        std::mem::forget(runtime);
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let report = error.report();
            systemd::failed(&report);
            eprintln!("error: {report}");
            ExitCode::FAILURE
        }
    }
}

async fn run_here<S: Serving>(
    config: NodeConfig,
    open: impl FnOnce() -> Result<Arc<dyn Engine>> + Send + 'static,
    serve: impl AsyncFnOnce(Bound, Arc<dyn Engine>) -> Result<S>,
) -> Result<()> {
    // First of all, so that no signal is lost on a node that has only just opened its engine.
    let mut signals = Signals::new()?;
    systemd::beat();
    systemd::starting();
    // A busy address is found before a new data directory is made.
    let drain_timeout = config.drain_timeout;
    let bound = Bound::new(config).await?;
    let engine = tokio::select! {
        biased;
        opened = spawn_blocking(open) => {
            opened.map_err(|error| Error::new(ErrorKind::Internal, "opening the engine panicked").because(error))??
        }
        () = signals.next() => {
            // Nobody was served, so to the engine this is a crash after which nothing is missing.
            tracing::info!("ending before the engine was open");
            return Ok(());
        }
    };
    let served = tokio::select! {
        biased;
        served = serve(bound, Arc::clone(&engine)) => served.map(Some),
        () = signals.next() => {
            tracing::info!("ending before clients could connect");
            Ok(None)
        }
    };
    let Ok(Some(serving)) = served else {
        end_at_next(signals);
        close(&*engine, drain_timeout).await;
        return served.map(drop);
    };
    announce(&serving);
    let name = engine.info().name.clone();
    tracing::info!(engine = name, version = env!("CARGO_PKG_VERSION"), "serving");
    systemd::ready(&name, serving.server().addr());
    drop(engine);
    signals.next().await;
    tracing::info!("shutting down; a second signal ends the process at once");
    systemd::stopping();
    end_at_next(signals);
    let ended = serving.shutdown().await;
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
async fn close(engine: &dyn Engine, patience: Duration) {
    match timeout(patience, engine.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = error.report(), "cannot close the engine"),
        Err(_) => tracing::error!("engine did not close in time"),
    }
}

/// Tells where the node is, for whoever started it on free ports. Whether anyone reads it does not matter.
fn announce(serving: &impl Serving) {
    let mut out = io::stdout().lock();
    let server = serving.server();
    let _ = writeln!(out, "listening on {}\noperations on {}", server.addr(), server.ops_addr());
    let _ = out.flush();
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
