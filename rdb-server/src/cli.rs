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
          ask a running node for its metrics; /livez and /readyz are there too";

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
        self.engine.check(&self.limits.limits(), self.limits.history(), findings);
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
