use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};

use crate::TlsConfig;
use crate::arrival::PREFIX_BYTES;

/// The longest time of a node. Instants that far ahead can be computed; ages ahead they cannot.
pub(crate) const MAX_TIME: Duration = Duration::from_hours(24 * 366);

/// How a node listens and what it holds its clients to. The engine has limits of its own
/// ([`Limits`](rdb_engine_api::Limits)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Where to serve gRPC; 127.0.0.1:7440 by default. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to serve operations over HTTP (`/livez`, `/readyz`, `/metrics`); 127.0.0.1:7441 by default.
    pub ops_listen: SocketAddr,
    /// TLS for both addresses; none by default.
    pub tls: Option<TlsConfig>,
    /// Allows to listen beyond loopback without TLS, which is refused otherwise.
    pub insecure: bool,
    /// The longest message taken, in bytes; by default what the engine's limits need
    /// ([`rdb_proto::max_message_bytes`]).
    pub max_message_bytes: Option<usize>,
    /// How long a request may take that brings no shorter deadline of its own; 30 s by default. Scans and watches
    /// are bound by their own deadlines and by their reader's pace alone, and a write that waits for its conditions
    /// (C20) has the time that it asks for beside this one.
    pub request_timeout: Duration,
    /// How long a new connection may take for its TLS handshake and to say that it speaks HTTP/2; 5 s by default.
    pub handshake_timeout: Duration,
    /// How long a connection may be without a request before it is closed; an hour by default.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of the answers that wait for it before its connection is closed, and how
    /// long it may take for the next message of an upload before that ends; two minutes by default.
    pub stall_timeout: Duration,
    /// How long a connection may be silent before it is asked for a sign of life; 30 s by default.
    pub keepalive_interval: Duration,
    /// How long to wait for that sign before the connection is closed; 10 s by default.
    pub keepalive_timeout: Duration,
    /// The most connections at once; 10,000 by default, and in any case no more than the process's limit of open
    /// files has room for, beside the engine's ([`raise_descriptor_limit`](crate::raise_descriptor_limit)). More
    /// are closed as they come.
    pub max_connections: usize,
    /// The most connections to the operations address at once; 64 by default.
    pub max_ops_connections: usize,
    /// The most requests at once of one connection, and of one pipeline; 1,024 by default. More wait on the client's
    /// side.
    pub max_streams_per_connection: u32,
    /// The most requests at once, scans and the commands of pipelines included; 8,192 by default. More are refused as
    /// [`Exhausted`](ErrorKind::Exhausted). Watches and writes that wait for their conditions are bounded by the
    /// engine's limits instead: they must not keep out what they wait for.
    pub max_in_flight: usize,
    /// The most bytes of requests at once, counted as they arrive and until the request ends; 256 MiB by
    /// default, and never below the longest message. Requests beyond are refused as
    /// [`Exhausted`](ErrorKind::Exhausted).
    pub max_in_flight_bytes: usize,
    /// The most bytes of answers at once that were sent and that their clients have not taken; 256 MiB by
    /// default. An answer beyond is [`Exhausted`](ErrorKind::Exhausted), that of a write `Unknown`.
    pub max_unsent_bytes: usize,
    /// The most of them in one connection; 64 MiB by default. Neither is ever below the longest message.
    pub max_unsent_bytes_per_connection: usize,
    /// How long [`Node::shutdown`](crate::Node::shutdown) may take; 10 s by default.
    pub drain_timeout: Duration,
    /// The part of it that the last answers may take to reach their clients, once no request is in flight;
    /// 1 s by default. Only connections with a stream that never ends, such as a health watch, take so long.
    pub flush_timeout: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7440),
            ops_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7441),
            tls: None,
            insecure: false,
            max_message_bytes: None,
            request_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_hours(1),
            stall_timeout: Duration::from_mins(2),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_connections: 10_000,
            max_ops_connections: 64,
            max_streams_per_connection: 1024,
            max_in_flight: 8192,
            max_in_flight_bytes: 256 << 20,
            max_unsent_bytes: 256 << 20,
            max_unsent_bytes_per_connection: 64 << 20,
            drain_timeout: Duration::from_secs(10),
            flush_timeout: Duration::from_secs(1),
        }
    }
}

impl NodeConfig {
    /// The defaults, on free ports of the loopback address: for tests, and for several nodes in a process.
    pub fn on_free_ports() -> Self {
        let mut config = Self::default();
        config.listen.set_port(0);
        config.ops_listen.set_port(0);
        config
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message| Error::new(ErrorKind::InvalidArgument, message);
        for address in [self.listen, self.ops_listen] {
            if self.tls.is_none() && !self.insecure && !address.ip().is_loopback() {
                return Err(invalid(
                    "refusing to listen beyond loopback without TLS: whoever reaches the address could read \
                     and change everything; give a certificate, or say insecure",
                )
                .with("address", address));
            }
        }
        if let Some(tls) = &self.tls {
            tls.check_fields()?;
        }
        if let Some((name, _)) = self.numbers().into_iter().find(|(_, number)| *number == 0) {
            return Err(invalid("a limit of the node is 0").with("limit", name));
        }
        let reload = self.tls.as_ref().map(|tls| ("reload_interval", tls.reload_interval));
        for (name, time) in self.times().into_iter().chain(reload) {
            if time.is_zero() {
                return Err(invalid("a time of the node is 0").with("time", name));
            }
            if time > MAX_TIME {
                return Err(invalid("a time of the node is above a year").with("time", name));
            }
        }
        Ok(())
    }

    /// Its limits by name, but for the longest message, which services decide where it is not set.
    pub(crate) fn numbers(&self) -> [(&'static str, usize); 8] {
        [
            ("max_connections", self.max_connections),
            ("max_ops_connections", self.max_ops_connections),
            ("max_streams_per_connection", self.max_streams_per_connection as usize),
            ("max_in_flight", self.max_in_flight),
            ("max_in_flight_bytes", self.max_in_flight_bytes),
            ("max_unsent_bytes", self.max_unsent_bytes),
            ("max_unsent_bytes_per_connection", self.max_unsent_bytes_per_connection),
            ("max_message_bytes", self.max_message_bytes.unwrap_or(1)),
        ]
    }

    /// Its times by name.
    pub(crate) fn times(&self) -> [(&'static str, Duration); 8] {
        [
            ("request_timeout", self.request_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("idle_timeout", self.idle_timeout),
            ("stall_timeout", self.stall_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("drain_timeout", self.drain_timeout),
            ("flush_timeout", self.flush_timeout),
        ]
    }

    /// Refuses a longest message for which there is no room.
    pub(crate) fn check_message(&self, longest: usize) -> Result<()> {
        if self.max_in_flight_bytes >= longest.saturating_add(PREFIX_BYTES) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidArgument, "max_in_flight_bytes is below the longest message")
            .with("max_in_flight_bytes", self.max_in_flight_bytes)
            .with("max_message_bytes", longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_allowed_and_anything_else_wants_to_be_spelled_out() {
        for (address, allowed) in
            [("127.0.0.1:1", true), ("127.3.2.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false)]
        {
            let address: SocketAddr = address.parse().unwrap();
            let listen = NodeConfig { listen: address, ..NodeConfig::default() };
            let ops_listen = NodeConfig { ops_listen: address, ..NodeConfig::default() };
            for mut config in [listen, ops_listen] {
                let kind = config.check().map_err(|error| error.kind());
                assert_eq!(kind, if allowed { Ok(()) } else { Err(ErrorKind::InvalidArgument) });
                config.insecure = true;
                assert_eq!(config.check().map_err(|error| error.kind()), Ok(()));
            }
        }
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let config = NodeConfig { max_in_flight: 0, ..NodeConfig::default() };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "a limit of the node is 0. limit=`max_in_flight`"
        );
        let config = NodeConfig { drain_timeout: Duration::ZERO, ..NodeConfig::default() };
        assert_eq!(config.check().unwrap_err().to_string(), "a time of the node is 0. time=`drain_timeout`");
    }
    #[test]
    fn a_time_that_no_clock_can_hold_is_refused_by_name() {
        for time in [MAX_TIME + Duration::from_millis(1), Duration::MAX] {
            let request = NodeConfig { request_timeout: time, ..NodeConfig::default() };
            let drain = NodeConfig { drain_timeout: time, ..NodeConfig::default() };
            for (config, name) in [(request, "request_timeout"), (drain, "drain_timeout")] {
                let error = config.check().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                assert_eq!(error.to_string(), format!("a time of the node is above a year. time=`{name}`"));
            }
        }
        let config = NodeConfig { drain_timeout: MAX_TIME, ..NodeConfig::default() };
        assert_eq!(config.check().map_err(|error| error.kind()), Ok(()));
    }

    #[test]
    fn the_longest_message_has_room_among_the_bytes_in_flight() {
        let mut config =
            NodeConfig { max_in_flight_bytes: (1 << 20) + PREFIX_BYTES, ..NodeConfig::default() };
        assert_eq!(config.check_message(1 << 20).map_err(|error| error.kind()), Ok(()));
        config.max_in_flight_bytes -= 1;
        let error = config.check_message(1 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().starts_with("max_in_flight_bytes is below the longest message"));
    }
}
