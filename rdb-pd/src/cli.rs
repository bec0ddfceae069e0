use std::time::Duration;

use clap::Parser;
use rdb_engine_api::{History, Limits};
use rdb_pd::PdConfig;
use rdb_server::settings::{EngineArgs, Findings, NodeArgs, Settings, Time};

/// The longest message that the placement driver needs, in bytes: all of its requests are small.
const MESSAGE_BYTES: usize = 64 << 10;

const EXAMPLES: &str = "\
Examples:
  rdb-pd --data-dir /var/lib/flaredb-pd
          serve 127.0.0.1:7430 and keep the cluster's state in RocksDB
  rdb-pd --engine mem --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0
          a cluster for a test, on free ports; the first two lines of standard output tell which
  rdb-pd --listen 0.0.0.0:7430 --tls-cert pd.pem --tls-key pd.key --tls-client-ca clients.pem
          serve a network, and only clients with a certificate
  rdb-pd --config /etc/flaredb/flaredb-pd.toml --check-config
          tell whether a configuration makes sense
  rdb tso --count 10
          ask a running placement driver for timestamps

State:
  The cluster's id, its stores, and how far timestamps and ids were given. It is as safe as the engine: in memory,
  each start makes another cluster, and nodes of the one before are refused. Heartbeats are not kept.";

/// Serves the placement driver of a FlareDB cluster: timestamps, ids, stores, and where a key is.
#[derive(Debug, Parser)]
#[command(name = "rdb-pd", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    #[command(flatten)]
    node: NodeArgs,

    /// How far ahead of the clock timestamps are claimed; a restart skips at most that much
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(3)))]
    timestamp_window: Time,

    /// How often stores send heartbeats; one that has sent none for five times as long counts as silent
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(1)))]
    heartbeat_interval: Time,
}

impl Cli {
    pub(crate) fn config(&self) -> PdConfig {
        let mut config = PdConfig::default();
        config.server = self.node.config();
        config.oracle.window = self.timestamp_window.0;
        config.heartbeat_interval = self.heartbeat_interval.0;
        config
    }
}

impl Settings for Cli {
    fn check(&self, findings: &mut Findings) {
        self.engine.check(&Limits::default(), History::Memory, findings);
        self.node.check(MESSAGE_BYTES, findings);
        if let Err(error) = self.config().check() {
            findings.refuse(error);
        }
    }

    fn computed(&self) -> Vec<(&'static str, String)> {
        vec![
            ("default-durability", self.engine.default_durability().to_string()),
            ("max-message-size", self.node.max_message_size(MESSAGE_BYTES).to_string()),
        ]
    }
}
