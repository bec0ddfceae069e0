use clap::Parser;
use rdb_server::settings::{EngineArgs, Findings, LimitArgs, NodeArgs, PdArgs, Settings};

const EXAMPLES: &str = "\
Examples:
  rdb-server --data-dir /var/lib/flaredb
          serve RocksDB on 127.0.0.1:7440; every answered write is on stable storage
  rdb-server --engine mem --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0
          serve memory on free ports; the first two lines of standard output tell which
  rdb-server --listen 0.0.0.0:7440 --tls-cert node.pem --tls-key node.key --tls-client-ca clients.pem
          serve a network, and only clients with a certificate
  rdb-server --config /etc/flaredb/flaredb.toml --check-config
          tell whether a configuration makes sense
  curl -s http://127.0.0.1:7441/metrics
          ask a running node for its metrics; /livez and /readyz are there too

Configuration:
  Every setting can be a key of the file that --config names, a variable of the environment, and a flag:
          max-scans = 100        FLAREDB_MAX_SCANS=100        --max-scans 100
  A flag wins over a variable, a variable over the file. Sizes are in bytes or with KiB, MiB or GiB, times with
  ms, s, m or h. --print-config tells what is in force, and why; --print-config=example begins a file.

Signals:
  SIGTERM or Ctrl-C finishes what has begun and closes the engine. A second one ends at once, and so does the
  first where the engine is still being opened.

Exit codes:
  0  ended in order
  1  an error: told on standard error
  2  wrong usage or configuration; nothing was opened or made";

/// Serves a FlareDB engine over gRPC.
#[derive(Debug, Parser)]
#[command(name = "rdb-server", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    #[command(flatten)]
    pub(crate) node: NodeArgs,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) pd: PdArgs,
}

impl Settings for Cli {
    fn check(&self, findings: &mut Findings) {
        self.engine.check(&self.limits.limits(), findings);
        self.node.check(self.limits.max_message_bytes(), findings);
        self.pd.check(self.node.listen, findings);
    }

    fn computed(&self) -> Vec<(&'static str, String)> {
        vec![
            ("default-durability", self.engine.default_durability().to_string()),
            ("max-message-size", self.node.max_message_size(self.limits.max_message_bytes()).to_string()),
        ]
    }
}
