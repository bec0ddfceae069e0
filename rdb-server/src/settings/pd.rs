use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use rdb_engine_api::{Error, ErrorKind};

use super::Findings;
use super::node::needs;

/// The placement driver that a node belongs to, if it belongs to one.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Placement driver")]
#[non_exhaustive]
pub struct PdArgs {
    /// The placement driver's addresses: the node registers there [default: the node stands alone]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub pd: Vec<HostPort>,

    /// The address that clients are told to dial [default: the one that is listened on]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<HostPort>,

    // Variables of their own: with the usual names they would be those of the placement driver's own flags.
    /// The authorities of the placement driver, as PEM: it is talked to over TLS [default: plain text]
    #[arg(long, value_name = "FILE", env = "FLAREDB_PD_CA")]
    pub pd_tls_ca: Option<PathBuf>,

    /// The certificate to show to the placement driver, as PEM
    #[arg(long, value_name = "FILE", env = "FLAREDB_PD_CERT")]
    pub pd_tls_cert: Option<PathBuf>,

    /// The private key of that certificate, as PEM
    #[arg(long, value_name = "FILE", env = "FLAREDB_PD_KEY")]
    pub pd_tls_key: Option<PathBuf>,
}

/// Where to find a placement driver, and what to tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PdConfig {
    /// Its addresses, in the order to try.
    pub endpoints: Vec<HostPort>,
    /// What clients are told to dial; the address that is listened on where this is none.
    pub advertise: Option<HostPort>,
    /// How to talk TLS to it; plain text where this is none.
    pub tls: Option<PdTls>,
}

impl PdConfig {
    /// The placement driver at these addresses, in plain text.
    pub fn new(endpoints: impl IntoIterator<Item = HostPort>) -> Self {
        Self { endpoints: endpoints.into_iter().collect(), advertise: None, tls: None }
    }
}

/// How to talk TLS to a placement driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PdTls {
    /// The authorities that its certificate has to come from, as PEM.
    pub authorities: PathBuf,
    /// The certificate to show and its private key, as PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl PdTls {
    /// Its certificate has to come from these authorities; it is shown none.
    pub fn new(authorities: impl Into<PathBuf>) -> Self {
        Self { authorities: authorities.into(), identity: None }
    }
}

impl PdArgs {
    /// The placement driver; none where the node stands alone.
    pub fn config(&self) -> Option<PdConfig> {
        let identity = || Some((self.pd_tls_cert.clone()?, self.pd_tls_key.clone()?));
        let tls = self.pd_tls_ca.clone().map(|authorities| PdTls { authorities, identity: identity() });
        let config = PdConfig { endpoints: self.pd.clone(), advertise: self.advertise.clone(), tls };
        (!config.endpoints.is_empty()).then_some(config)
    }

    /// Refuses one setting without another, and an address that no client could dial.
    pub fn check(&self, listen: SocketAddr, findings: &mut Findings) {
        let pd = ("pd", !self.pd.is_empty());
        let ca = ("pd-tls-ca", self.pd_tls_ca.is_some());
        let cert = ("pd-tls-cert", self.pd_tls_cert.is_some());
        let key = ("pd-tls-key", self.pd_tls_key.is_some());
        for (one, other) in
            [(("advertise", self.advertise.is_some()), pd), (ca, pd), (cert, ca), (cert, key), (key, cert)]
        {
            needs(findings, one, other);
        }
        if pd.1 && self.advertise.is_none() && listen.ip().is_unspecified() {
            let message = "nobody can dial the address that is listened on: give --advertise HOST:PORT too";
            let from = findings.origin("listen").to_string();
            findings.refuse(
                Error::new(ErrorKind::InvalidArgument, message).with("listen", listen).with("from", from),
            );
        }
        if let Some(address) = self.advertise.as_ref().filter(|address| address.is_unspecified()) {
            let message = "nobody can dial the address that is advertised";
            findings.refuse(Error::new(ErrorKind::InvalidArgument, message).with("advertise", address));
        }
    }
}

/// An address to dial: a name or a number, and a port above 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort(String);

impl HostPort {
    /// The address as text: `host:port`, and `[host]:port` for a host of IPv6.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_unspecified(&self) -> bool {
        self.0.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified())
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':');
        let is_name = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let is_host = |host: &str| match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(number) => number.parse::<IpAddr>().is_ok_and(|number| number.is_ipv6()),
            None => is_name(host),
        };
        parts
            .filter(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
            .map(|_| Self(text.to_owned()))
            .ok_or_else(|| {
                "an address to dial is a host and a port, such as pd.example:7430 or [::1]:7430".to_owned()
            })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_dial_has_a_host_and_a_port() {
        for text in ["pd.example:7430", "10.0.0.1:1", "[::1]:65535", "node_1-a:7440"] {
            assert_eq!(text.parse::<HostPort>().unwrap().as_str(), text);
        }
        for text in
            ["", "pd", "pd:", ":7430", "pd:0", "pd:65536", "::1:7430", "[pd]:1", "http://pd:7430", "a b:1"]
        {
            assert!(text.parse::<HostPort>().unwrap_err().contains("such as pd.example:7430"), "{text}");
        }
    }
}
