use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::panic;

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

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

/// A misspelt level would pass as the name of a module, and silence all others.
fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    let levels = text.split(',').filter_map(|part| part.rsplit('=').next());
    if levels.map(str::trim).any(|level| !level.is_empty() && level.parse::<LevelFilter>().is_ok()) {
        return Ok(text.to_owned());
    }
    Err("there is no level in it: off, error, warn, info, debug or trace, such as info,rdb_server=debug"
        .to_owned())
}

impl LogArgs {
    /// Starts the logs of the process; panics go there too.
    pub(super) fn start(&self) {
        self.subscriber(io::stderr, io::stderr().is_terminal(), is_journal()).init();
        log_panics();
    }

    fn subscriber<W>(&self, writer: W, ansi: bool, journal: bool) -> Box<dyn Subscriber + Send + Sync>
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let logs = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(&self.log))
            .with_writer(writer)
            .with_ansi(ansi);
        match (self.log_format, journal) {
            (LogFormat::Text, false) => Box::new(logs.finish()),
            (LogFormat::Text, true) => Box::new(logs.without_time().finish()),
            (LogFormat::Json, false) => Box::new(logs.json().finish()),
            (LogFormat::Json, true) => Box::new(logs.json().without_time().finish()),
        }
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
        let reason = panic.payload_as_str().unwrap_or("(no message)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured)
            .then(|| tracing::field::display(backtrace));
        let thread = std::thread::current();
        tracing::error!(reason, place, thread = thread.name(), backtrace, "panic");
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The entries of the log, of what is done with it.
    fn logged(filter: &str, act: impl FnOnce() + panic::UnwindSafe) -> Vec<serde_json::Value> {
        let text = Arc::new(Mutex::new(Vec::new()));
        let args = LogArgs { log: filter.to_owned(), log_format: LogFormat::Json };
        let writer = {
            let text = Arc::clone(&text);
            move || Copy(Arc::clone(&text))
        };
        let subscriber = args.subscriber(writer, false, false);
        tracing::subscriber::with_default(subscriber, || drop(panic::catch_unwind(act)));
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    struct Copy(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Copy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_filter_that_names_no_level_is_refused() {
        for text in ["info", "OFF", "info,rdb_server=debug", "rdb_server=trace", "warn, rdb_server::run", "3"]
        {
            assert_eq!(filter(text), Ok(text.to_owned()));
        }
        for text in ["debg", "verbose", "rdb_server", "rdb_server,h2"] {
            assert!(filter(text).unwrap_err().starts_with("there is no level in it"), "{text}");
        }
    }

    #[test]
    fn json_carries_the_fields_of_its_spans() {
        let lines = logged("info", || {
            tracing::info_span!("request", request_id = "r-7").in_scope(|| tracing::info!(size = 5, "done"));
        });
        assert_eq!(lines[0]["fields"]["message"], "done");
        assert_eq!(lines[0]["fields"]["size"], 5);
        assert_eq!(lines[0]["span"]["request_id"], "r-7");
    }

    #[test]
    fn a_panic_is_an_entry_of_the_log_with_its_place() {
        log_panics();
        let lines = logged("info", || panic!("lost the thread"));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "ERROR");
        assert_eq!(lines[0]["fields"]["message"], "panic");
        assert_eq!(lines[0]["fields"]["reason"], "lost the thread");
        assert!(lines[0]["fields"]["place"].as_str().unwrap().contains("logs.rs:"), "{lines:?}");
        assert!(logged("off", || panic!("told as ever")).is_empty());
    }
}
