use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, RangedU64ValueParser};
use clap::{ArgAction, Args};
use rdb_engine_api::{Error, ErrorKind};

use super::limits::number;
use super::{Findings, Size, Time};
use crate::arrival::PREFIX_BYTES;
use crate::{NodeConfig, TlsConfig};

/// Where a program listens and what it holds its clients to: all of a [`NodeConfig`].
#[derive(Clone, Debug, Args)]
#[non_exhaustive]
pub struct NodeArgs {
    /// The address to serve gRPC on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value_t = NodeConfig::default().listen, value_parser = address)]
    pub listen: SocketAddr,

    /// The address to serve /livez, /readyz and /metrics on, over HTTP
    #[arg(long, value_name = "ADDRESS", default_value_t = NodeConfig::default().ops_listen)]
    #[arg(value_parser = address)]
    pub ops_listen: SocketAddr,

    /// Allow to listen beyond loopback without TLS: anyone who gets there can read and write everything
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    insecure: bool,

    /// The certificate to show on both addresses, and those behind it up to an authority, as PEM
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, as PEM
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_key: Option<PathBuf>,

    /// The authorities of clients, as PEM: clients without a certificate of theirs are refused
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_client_ca: Option<PathBuf>,

    /// The names of clients that are served, as their certificates give them [default: any]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "TLS")]
    tls_allowed_clients: Vec<String>,

    /// How often to look whether one of these files has changed; connections from then on meet the new ones
    #[arg(long, value_name = "TIME", default_value_t = Time(TlsConfig::new("", "").reload_interval))]
    #[arg(help_heading = "TLS")]
    tls_reload_interval: Time,

    /// The longest message taken [default: what the limits of the engine need]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    max_message_size: Option<Size>,

    /// The most requests at once, scans included
    #[arg(long, value_name = "NUMBER", default_value_t = NodeConfig::default().max_in_flight)]
    #[arg(value_parser = number(), help_heading = "Limits")]
    max_in_flight: usize,

    /// The most bytes of requests at once; no less than the longest message
    #[arg(long, value_name = "SIZE", default_value_t = Size(NodeConfig::default().max_in_flight_bytes))]
    #[arg(help_heading = "Limits")]
    max_in_flight_size: Size,

    /// The most bytes of answers at once that were sent and that clients have not taken
    #[arg(long, value_name = "SIZE", default_value_t = Size(NodeConfig::default().max_unsent_bytes))]
    #[arg(help_heading = "Limits")]
    max_unsent_size: Size,

    /// The most of them in one connection
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    #[arg(default_value_t = Size(NodeConfig::default().max_unsent_bytes_per_connection))]
    max_unsent_size_per_connection: Size,

    /// The most connections at once; fewer where the process may not have so many files open
    #[arg(long, value_name = "NUMBER", default_value_t = NodeConfig::default().max_connections)]
    #[arg(value_parser = number(), help_heading = "Limits")]
    max_connections: usize,

    /// The most connections to the operations address at once
    #[arg(long, value_name = "NUMBER", default_value_t = NodeConfig::default().max_ops_connections)]
    #[arg(value_parser = number(), help_heading = "Limits")]
    max_ops_connections: usize,

    /// The most requests at once of one connection, and commands of one pipeline; more wait
    #[arg(long, value_name = "NUMBER", default_value_t = NodeConfig::default().max_streams_per_connection)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..), help_heading = "Limits")]
    max_streams_per_connection: u32,

    /// How long a request may take that brings no shorter deadline
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().request_timeout))]
    #[arg(help_heading = "Times")]
    request_timeout: Time,

    /// How long a new connection may take to begin
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().handshake_timeout))]
    #[arg(help_heading = "Times")]
    handshake_timeout: Time,

    /// How long a connection may be without a request
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().idle_timeout))]
    #[arg(help_heading = "Times")]
    idle_timeout: Time,

    /// How long a client may take nothing of the answers that wait for it, or for the next message of an upload
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().stall_timeout))]
    #[arg(help_heading = "Times")]
    stall_timeout: Time,

    /// How long a connection may be silent before it is asked for a sign of life
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().keepalive_interval))]
    #[arg(help_heading = "Times")]
    keepalive_interval: Time,

    /// How long to wait for that sign
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().keepalive_timeout))]
    #[arg(help_heading = "Times")]
    keepalive_timeout: Time,

    /// How long shutting down may take, whatever clients do
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().drain_timeout))]
    #[arg(help_heading = "Times")]
    drain_timeout: Time,

    /// The part of it that the last answers may take to reach their clients
    #[arg(long, value_name = "TIME", default_value_t = Time(NodeConfig::default().flush_timeout))]
    #[arg(help_heading = "Times")]
    flush_timeout: Time,
}

impl NodeArgs {
    /// The configuration to serve with.
    pub fn config(&self) -> NodeConfig {
        // Spelled out, so that a field without a setting is found by the compiler.
        NodeConfig {
            listen: self.listen,
            ops_listen: self.ops_listen,
            tls: self.tls(),
            insecure: self.insecure,
            max_message_bytes: self.max_message_size.map(|size| size.0),
            request_timeout: self.request_timeout.0,
            handshake_timeout: self.handshake_timeout.0,
            idle_timeout: self.idle_timeout.0,
            stall_timeout: self.stall_timeout.0,
            keepalive_interval: self.keepalive_interval.0,
            keepalive_timeout: self.keepalive_timeout.0,
            max_connections: self.max_connections,
            max_ops_connections: self.max_ops_connections,
            max_streams_per_connection: self.max_streams_per_connection,
            max_in_flight: self.max_in_flight,
            max_in_flight_bytes: self.max_in_flight_size.0,
            max_unsent_bytes: self.max_unsent_size.0,
            max_unsent_bytes_per_connection: self.max_unsent_size_per_connection.0,
            drain_timeout: self.drain_timeout.0,
            flush_timeout: self.flush_timeout.0,
        }
    }

    fn tls(&self) -> Option<TlsConfig> {
        let mut tls = TlsConfig::new(self.tls_cert.as_ref()?, self.tls_key.as_ref()?);
        tls.client_authorities = self.tls_client_ca.clone();
        tls.allowed_clients = self.tls_allowed_clients.clone();
        tls.reload_interval = self.tls_reload_interval.0;
        Some(tls)
    }

    /// Refuses what contradicts itself, and what serving would refuse before it listens. `needed` is the longest
    /// message that the services need, in bytes: [`LimitArgs::max_message_bytes`](super::LimitArgs) of a node.
    pub fn check(&self, needed: usize, findings: &mut Findings) {
        let invalid = |message| Error::new(ErrorKind::InvalidArgument, message);
        needs(findings, ("tls-cert", self.tls_cert.is_some()), ("tls-key", self.tls_key.is_some()));
        needs(findings, ("tls-key", self.tls_key.is_some()), ("tls-cert", self.tls_cert.is_some()));
        needs(
            findings,
            ("tls-client-ca", self.tls_client_ca.is_some()),
            ("tls-cert", self.tls_cert.is_some()),
        );
        needs(
            findings,
            ("tls-allowed-clients", !self.tls_allowed_clients.is_empty()),
            ("tls-client-ca", self.tls_client_ca.is_some()),
        );
        for (setting, address) in [("listen", self.listen), ("ops-listen", self.ops_listen)] {
            if self.tls_cert.is_none() && !self.insecure && !address.ip().is_loopback() {
                findings.refuse(
                    invalid(
                        "refusing to listen beyond loopback without TLS: give --tls-cert and --tls-key, \
                         or add --insecure to let anyone read and write everything",
                    )
                    .with("setting", setting)
                    .with("address", address)
                    .with("from", findings.origin(setting)),
                );
            }
        }
        // Whoever empties the list wants nobody in, and would let everybody in.
        let is_emptied = self.tls_allowed_clients.is_empty() && findings.is_given("tls-allowed-clients");
        if is_emptied && self.tls_client_ca.is_some() {
            findings.refuse(
                invalid("tls-allowed-clients is empty: leave it out to serve clients of any name")
                    .with("from", findings.origin("tls-allowed-clients")),
            );
        }
        if self.tls_allowed_clients.iter().any(String::is_empty) {
            findings.refuse(invalid("a name of tls-allowed-clients is empty"));
        }
        // A start would meet them too, but later, and there they may yet come right.
        if findings.is_check()
            && let Some(Err(error)) = self.tls().map(|tls| tls.check())
        {
            findings.refuse(error);
        }
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            findings.refuse(invalid("listen and ops-listen are the same").with("address", self.listen));
        }
        let longest = self.max_message_size(needed);
        if self.max_in_flight_size.0 < longest.0.saturating_add(PREFIX_BYTES) {
            findings.refuse(
                invalid("max-in-flight-size is below the longest message")
                    .with("max-in-flight-size", self.max_in_flight_size)
                    .with("max-message-size", longest),
            );
        }
    }

    /// The longest message taken, where that is not set: the one that is needed, in bytes.
    pub fn max_message_size(&self, needed: usize) -> Size {
        self.max_message_size.unwrap_or(Size(needed))
    }
}

/// Where to listen. A name is none: it may stand for several addresses.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an address to listen on is an IP address and a port, such as 127.0.0.1:7440 or [::]:7440".to_owned()
    })
}

/// Refuses one setting without another.
pub(super) fn needs(findings: &mut Findings, one: (&str, bool), other: (&str, bool)) {
    if one.1 && !other.1 {
        let message = format!("{} needs {}", one.0, other.0);
        let from = findings.origin(one.0).to_string();
        findings.refuse(Error::new(ErrorKind::InvalidArgument, message).with("from", from));
    }
}
