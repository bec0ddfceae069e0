use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::panic;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What is logged, and how; always to standard error.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(super) struct LogArgs {
    /// What to log to standard error: off, error, warn, info, debug, trace, or a filter by module, such as
    /// info,rdb_server=debug. RUST_LOG is heard too
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    log: String,

    /// How to log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl LogArgs {
    /// Starts the logs of the process; panics go there too.
    pub(super) fn start(&self) {
        let logs = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(&self.log))
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        match (self.log_format, is_journal()) {
            (LogFormat::Text, false) => logs.init(),
            (LogFormat::Text, true) => logs.without_time().init(),
            (LogFormat::Json, false) => logs.json().init(),
            (LogFormat::Json, true) => logs.json().without_time().init(),
        }
        log_panics();
    }
}

/// Whether standard error goes to systemd's journal, which notes the time of each line itself.
fn is_journal() -> bool {
    let journal = std::env::var("JOURNAL_STREAM").ok();
    let own = std::fs::metadata("/proc/self/fd/2").ok();
    own.is_some_and(|own| journal == Some(format!("{}:{}", own.dev(), own.ino())))
}

/// Makes a panic an entry of the log, in the log's format. Where errors are not logged, it is told as ever.
fn log_panics() {
    let as_ever = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return as_ever(panic);
        }
        let message = panic.payload_as_str().unwrap_or("(no message)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured)
            .then(|| tracing::field::display(backtrace));
        let thread = std::thread::current();
        tracing::error!(message, place, thread = thread.name(), backtrace, "panic");
    }));
}
