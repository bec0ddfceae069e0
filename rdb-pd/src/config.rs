use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::{Clock, Error, ErrorKind, Result, SystemClock};
use rdb_server::NodeConfig;

use crate::OracleOptions;

/// How a placement driver serves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PdConfig {
    /// How it listens, and what it holds its clients to. As a node's, but on 127.0.0.1:7430 and, for operations,
    /// 127.0.0.1:7431 by default.
    pub server: NodeConfig,
    /// How it gives timestamps.
    pub oracle: OracleOptions,
    /// How often stores are to send heartbeats; every second by default. A store that has sent none for five
    /// times as long counts as silent.
    pub heartbeat_interval: Duration,
    /// Where it takes its time from; the operating system by default.
    pub clock: Arc<dyn Clock>,
}

impl Default for PdConfig {
    fn default() -> Self {
        let mut server = NodeConfig::default();
        server.listen.set_port(7430);
        server.ops_listen.set_port(7431);
        Self {
            server,
            oracle: OracleOptions::default(),
            heartbeat_interval: Duration::from_secs(1),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl PdConfig {
    /// The defaults, on free ports of the loopback address: for tests, and for several drivers in a process.
    pub fn on_free_ports() -> Self {
        Self { server: NodeConfig::on_free_ports(), ..Self::default() }
    }

    /// Whether the placement driver's own times can be.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument), naming the one that cannot.
    pub fn check(&self) -> Result<()> {
        check_time("heartbeat_interval", self.heartbeat_interval)?;
        self.oracle.check()
    }
}

/// Refuses a time that is too short to be kept, or too long to be meant.
pub(crate) fn check_time(name: &str, time: Duration) -> Result<()> {
    let (least, most) = (Duration::from_millis(10), Duration::from_hours(1));
    if (least..=most).contains(&time) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, "a time of the placement driver is out of range")
        .with("time", name)
        .with("is", format_args!("{time:?}"))
        .with("least", format_args!("{least:?}"))
        .with("most", format_args!("{most:?}")))
}
