use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Parser, ValueEnum};
use rdb_engine_api::{Durability, Error, ErrorKind, Result};
#[cfg(any(feature = "rocks", feature = "sled", feature = "mem"))]
use rdb_engine_api::{Limits, LocalOptions};
use rdb_server::NodeConfig;
use tracing_subscriber::EnvFilter;

use crate::units;

/// Where data goes where nothing else is said.
#[cfg(any(feature = "rocks", feature = "sled"))]
const DATA_DIR: &str = "flaredb-data";

const EXAMPLES: &str = "\
Examples:
  rdb-server --data-dir /var/lib/flaredb
          serve RocksDB on 127.0.0.1:7440; every answered write is on stable storage
  rdb-server --engine mem --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0
          serve memory on free ports; the first two lines of standard output tell which
  rdb-server --listen 0.0.0.0:7440 --insecure
          serve a network that is trusted as a whole
  curl -s http://127.0.0.1:7441/metrics
          ask a running node for its metrics; /livez and /readyz are there too

Every flag can also be given as an environment variable: FLAREDB_DATA_DIR for --data-dir, and so on. A flag \
wins over its variable. Sizes are in bytes or with KiB, MiB or GiB, times with ms, s or m.

SIGTERM or Ctrl-C finishes what has begun and closes the engine; a second one ends at once, and so does the \
first one where the engine is still being opened.
Exit codes: 0 ended in order, 1 error, 2 wrong usage.";

/// Serves a FlareDB engine over gRPC.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    /// The engine that stores
    #[arg(long, env = "FLAREDB_ENGINE", value_enum, default_value_t = EngineName::Rocks)]
    pub(crate) engine: EngineName,

    /// Where rocks and sled keep their data; made where it is missing [default: flaredb-data]
    #[arg(long, env = "FLAREDB_DATA_DIR", value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,

    /// The address to serve gRPC on; port 0 takes a free one
    #[arg(long, env = "FLAREDB_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7440")]
    listen: SocketAddr,

    /// The address to serve /livez, /readyz and /metrics on, over HTTP
    #[arg(long, env = "FLAREDB_OPS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7441")]
    ops_listen: SocketAddr,

    /// Allow to listen beyond loopback: there is no TLS and no authentication
    #[arg(long, env = "FLAREDB_INSECURE", value_parser = BoolishValueParser::new())]
    insecure: bool,

    /// The durability of writes that ask for none: volatile, process or synced [default: the engine's best]
    #[arg(long, env = "FLAREDB_DEFAULT_DURABILITY", value_name = "LEVEL")]
    default_durability: Option<Durability>,

    /// The memory for cached data, of rocks and sled [default: 256MiB]
    #[arg(long, env = "FLAREDB_CACHE_SIZE", value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) cache_size: Option<usize>,

    /// The longest value [default: 4MiB]
    #[arg(long, env = "FLAREDB_MAX_VALUE_SIZE", value_name = "SIZE", value_parser = units::bytes, help_heading = "Limits")]
    max_value_size: Option<usize>,

    /// The most bytes of a batch, keys and values together [default: 16MiB]
    #[arg(long, env = "FLAREDB_MAX_BATCH_SIZE", value_name = "SIZE", value_parser = units::bytes, help_heading = "Limits")]
    max_batch_size: Option<usize>,

    /// The most conditions and operations of a batch together [default: 10000]
    #[arg(long, env = "FLAREDB_MAX_BATCH_LEN", value_name = "NUMBER", help_heading = "Limits")]
    max_batch_len: Option<usize>,

    /// The most keys of one read of many [default: 1000]
    #[arg(long, env = "FLAREDB_MAX_GET_MANY_KEYS", value_name = "NUMBER", help_heading = "Limits")]
    max_get_many_keys: Option<usize>,

    /// The most writes waiting to be committed [default: 65536]
    #[arg(long, env = "FLAREDB_MAX_QUEUED_WRITES", value_name = "NUMBER", help_heading = "Limits")]
    max_queued_writes: Option<usize>,

    /// The most bytes of writes waiting to be committed [default: 64MiB]
    #[arg(long, env = "FLAREDB_MAX_QUEUED_SIZE", value_name = "SIZE", value_parser = units::bytes, help_heading = "Limits")]
    max_queued_size: Option<usize>,

    /// The most scans open at once [default: 128]
    #[arg(long, env = "FLAREDB_MAX_SCANS", value_name = "NUMBER", help_heading = "Limits")]
    max_scans: Option<usize>,

    /// How long a scan may wait for its reader [default: 60s]
    #[arg(long, env = "FLAREDB_SCAN_IDLE", value_name = "TIME", value_parser = units::time, help_heading = "Limits")]
    scan_idle: Option<Duration>,

    /// The longest message taken [default: what the engine's limits need]
    #[arg(long, env = "FLAREDB_MAX_MESSAGE_SIZE", value_name = "SIZE", value_parser = units::bytes, help_heading = "Limits")]
    max_message_size: Option<usize>,

    /// The most requests at once, scans included [default: 8192]
    #[arg(long, env = "FLAREDB_MAX_IN_FLIGHT", value_name = "NUMBER", help_heading = "Limits")]
    max_in_flight: Option<usize>,

    /// The most bytes of requests at once; no less than the longest message [default: 256MiB]
    #[arg(long, env = "FLAREDB_MAX_IN_FLIGHT_SIZE", value_name = "SIZE", value_parser = units::bytes, help_heading = "Limits")]
    max_in_flight_size: Option<usize>,

    /// The most connections at once [default: 400]
    #[arg(long, env = "FLAREDB_MAX_CONNECTIONS", value_name = "NUMBER", help_heading = "Limits")]
    max_connections: Option<usize>,

    /// The most requests at once of one connection [default: 1024]
    #[arg(long, env = "FLAREDB_MAX_STREAMS_PER_CONNECTION", value_name = "NUMBER", help_heading = "Limits")]
    max_streams_per_connection: Option<u32>,

    /// How long a request may take that brings no shorter deadline [default: 30s]
    #[arg(long, env = "FLAREDB_REQUEST_TIMEOUT", value_name = "TIME", value_parser = units::time, help_heading = "Times")]
    request_timeout: Option<Duration>,

    /// How long a new connection may take to begin [default: 5s]
    #[arg(long, env = "FLAREDB_HANDSHAKE_TIMEOUT", value_name = "TIME", value_parser = units::time, help_heading = "Times")]
    handshake_timeout: Option<Duration>,

    /// How long a connection may be silent before it is asked for a sign of life [default: 30s]
    #[arg(long, env = "FLAREDB_KEEPALIVE_INTERVAL", value_name = "TIME", value_parser = units::time, help_heading = "Times")]
    keepalive_interval: Option<Duration>,

    /// How long to wait for that sign [default: 10s]
    #[arg(long, env = "FLAREDB_KEEPALIVE_TIMEOUT", value_name = "TIME", value_parser = units::time, help_heading = "Times")]
    keepalive_timeout: Option<Duration>,

    /// How long shutting down may take, whatever clients do [default: 10s]
    #[arg(long, env = "FLAREDB_DRAIN_TIMEOUT", value_name = "TIME", value_parser = units::time, help_heading = "Times")]
    drain_timeout: Option<Duration>,

    /// What to log to standard error: off, error, warn, info, debug, trace, or a filter by module [default:
    /// RUST_LOG, else info]
    #[arg(long, env = "FLAREDB_LOG", value_name = "FILTER", value_parser = filter, help_heading = "Logs")]
    log: Option<String>,

    /// How to log
    #[arg(long, env = "FLAREDB_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, help_heading = "Logs")]
    pub(crate) log_format: LogFormat,
}

/// The engines, compiled in or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// RocksDB: production; writes are on stable storage before they are answered
    Rocks,
    /// sled: writes survive the process, not a power cut
    Sled,
    /// Memory: everything is gone with the process
    Mem,
}

#[cfg(not(all(feature = "rocks", feature = "sled", feature = "mem")))]
impl EngineName {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rocks => "rocks",
            Self::Sled => "sled",
            Self::Mem => "mem",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl Cli {
    /// Refuses what no single flag shows: flags that contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message| Error::new(ErrorKind::InvalidArgument, message);
        if self.engine == EngineName::Mem {
            if let Some(path) = &self.data_dir {
                return Err(invalid(
                    "--data-dir and --engine mem contradict each other: mem stores nothing on disk",
                )
                .with("data-dir", path.display()));
            }
            if self.cache_size.is_some() {
                return Err(invalid("--cache-size and --engine mem contradict each other: mem has no cache"));
            }
        }
        for (flag, address) in [("--listen", self.listen), ("--ops-listen", self.ops_listen)] {
            if !self.insecure && !address.ip().is_loopback() {
                return Err(invalid(
                    "refusing to listen beyond loopback: there is no TLS and no authentication; \
                     to do it all the same, add --insecure",
                )
                .with("flag", flag)
                .with("address", address));
            }
        }
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            return Err(invalid("--listen and --ops-listen are the same").with("address", self.listen));
        }
        Ok(())
    }

    #[cfg(any(feature = "rocks", feature = "sled"))]
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| DATA_DIR.into())
    }

    /// What all local engines have in common.
    #[cfg(any(feature = "rocks", feature = "sled", feature = "mem"))]
    pub(crate) fn local_options(&self) -> LocalOptions {
        let mut options = LocalOptions::default();
        options.default_durability = self.default_durability;
        let Limits {
            max_value_bytes,
            max_batch_bytes,
            max_batch_len,
            max_get_many_keys,
            max_queued_writes,
            max_queued_bytes,
            max_scans,
            scan_idle,
            ..
        } = &mut options.limits;
        set(max_value_bytes, self.max_value_size);
        set(max_batch_bytes, self.max_batch_size);
        set(max_batch_len, self.max_batch_len);
        set(max_get_many_keys, self.max_get_many_keys);
        set(max_queued_writes, self.max_queued_writes);
        set(max_queued_bytes, self.max_queued_size);
        set(max_scans, self.max_scans);
        set(scan_idle, self.scan_idle);
        options
    }

    pub(crate) fn node_config(&self) -> NodeConfig {
        let mut config = NodeConfig::default();
        config.listen = self.listen;
        config.ops_listen = self.ops_listen;
        config.insecure = self.insecure;
        config.max_message_bytes = self.max_message_size;
        set(&mut config.max_in_flight, self.max_in_flight);
        set(&mut config.max_in_flight_bytes, self.max_in_flight_size);
        set(&mut config.max_connections, self.max_connections);
        set(&mut config.max_streams_per_connection, self.max_streams_per_connection);
        set(&mut config.request_timeout, self.request_timeout);
        set(&mut config.handshake_timeout, self.handshake_timeout);
        set(&mut config.keepalive_interval, self.keepalive_interval);
        set(&mut config.keepalive_timeout, self.keepalive_timeout);
        set(&mut config.drain_timeout, self.drain_timeout);
        config
    }

    pub(crate) fn log_filter(&self) -> EnvFilter {
        match &self.log {
            Some(filter) => EnvFilter::new(filter),
            None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
