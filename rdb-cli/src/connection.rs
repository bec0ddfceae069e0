use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use rdb_client::{Client, ClientBuilder, Pd, Pem, TlsConfig};

use crate::args::GLOBAL;
use crate::duration;
use crate::failure::{Exit, Failure};

/// How to reach the node and the placement driver.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// The node's addresses, host:port separated by commas, tried in this order
    #[arg(
        long,
        global = true,
        env = "FLAREDB_ENDPOINTS",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_delimiter = ',',
        default_value = "127.0.0.1:7440"
    )]
    pub(crate) endpoints: Vec<String>,

    /// The placement driver's addresses: it is asked where the node is, instead of --endpoints
    #[arg(
        long,
        global = true,
        env = "FLAREDB_PD",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_name = "ADDRESSES",
        value_delimiter = ','
    )]
    pub(crate) pd: Vec<String>,

    /// Whether the placement driver leads to the node.
    #[arg(skip)]
    by_pd: bool,

    /// How long a request may take: 500ms, 5s, 1m
    #[arg(
        long,
        global = true,
        env = "FLAREDB_TIMEOUT",
        hide_env_values = true,
        help_heading = GLOBAL,
        default_value = "5s",
        value_parser = duration::parse
    )]
    pub(crate) timeout: Duration,

    /// How long connecting may take
    #[arg(
        long,
        global = true,
        env = "FLAREDB_CONNECT_TIMEOUT",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_name = "TIMEOUT",
        default_value = "3s",
        value_parser = duration::parse
    )]
    pub(crate) connect_timeout: Duration,

    #[command(flatten)]
    tls: Tls,
}

/// How to encrypt the connections. Whatever is given asks for TLS.
#[derive(Debug, clap::Args)]
struct Tls {
    /// Use TLS, as https:// before an address does, and trust the system's authorities
    #[arg(
        id = "tls",
        long = "tls",
        global = true,
        env = "FLAREDB_CLIENT_TLS",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_parser = FalseyValueParser::new()
    )]
    wanted: bool,

    /// Use TLS, and trust the authorities in this PEM file
    #[arg(
        id = "tls_ca",
        long = "tls-ca",
        global = true,
        env = "FLAREDB_CLIENT_TLS_CA",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_name = "FILE"
    )]
    ca: Option<PathBuf>,

    /// Use TLS, and show this certificate (PEM) to a server that asks for one
    #[arg(
        id = "tls_cert",
        long = "tls-cert",
        global = true,
        env = "FLAREDB_CLIENT_TLS_CERT",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_name = "FILE"
    )]
    cert: Option<PathBuf>,

    /// The key of --tls-cert (PEM)
    #[arg(
        id = "tls_key",
        long = "tls-key",
        global = true,
        env = "FLAREDB_CLIENT_TLS_KEY",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_name = "FILE"
    )]
    key: Option<PathBuf>,

    /// Use TLS, and expect the server's certificate to be for this name instead of the host dialled
    #[arg(
        id = "tls_server_name",
        long = "tls-server-name",
        global = true,
        env = "FLAREDB_CLIENT_TLS_SERVER_NAME",
        hide_env_values = true,
        help_heading = GLOBAL,
        value_name = "NAME"
    )]
    server_name: Option<String>,
}

impl Connection {
    /// Decides whether the endpoints or the placement driver lead to the node: what the command line says
    /// goes before the environment. False where both say it in the same place.
    pub(crate) fn decide(&mut self, matches: &ArgMatches) -> bool {
        let place = |name| match matches.value_source(name) {
            Some(ValueSource::CommandLine) => 2,
            Some(ValueSource::EnvVariable) => 1,
            _ => 0,
        };
        let (endpoints, pd) = (place("endpoints"), place("pd"));
        self.by_pd = pd > endpoints;
        pd == 0 || pd != endpoints
    }

    #[cfg(test)]
    pub(crate) const fn is_by_pd(&self) -> bool {
        self.by_pd
    }

    /// Connects to the node.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        self.client_with(|client| client).await
    }

    /// The same, for a client that is to be special in some way.
    pub(crate) async fn client_with(
        &self,
        special: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Failure> {
        let mut client = Client::builder().timeout(self.timeout).connect_timeout(self.connect_timeout);
        client = match self.by_pd {
            true => client.pd(self.pd.iter().map(String::as_str)),
            false => client.endpoints(self.endpoints.iter().map(String::as_str)),
        };
        if let Some(tls) = self.tls.config()? {
            client = client.tls(tls);
        }
        special(client).connect().await.map_err(Failure::connect)
    }

    /// Connects to the placement driver.
    pub(crate) async fn pd(&self) -> Result<Pd, Failure> {
        if self.pd.is_empty() {
            let message = "which placement driver? give --pd, or set FLAREDB_PD";
            return Err(Failure::new(Exit::Usage, message));
        }
        let mut pd = Pd::builder().timeout(self.timeout).connect_timeout(self.connect_timeout);
        pd = pd.endpoints(self.pd.iter().map(String::as_str));
        if let Some(tls) = self.tls.config()? {
            pd = pd.tls(tls);
        }
        pd.connect().await.map_err(Failure::connect)
    }

    /// The node's addresses as they were given, or the one that the placement driver led to.
    pub(crate) fn reached(&self, client: &Client) -> String {
        match self.by_pd {
            true => client.endpoint(),
            false => self.endpoints.join(","),
        }
    }
}

impl Tls {
    fn config(&self) -> Result<Option<TlsConfig>, Failure> {
        let mut tls = TlsConfig::default();
        if let Some(ca) = &self.ca {
            tls = tls.authorities(Pem::file(ca));
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => tls = tls.identity(Pem::file(cert), Pem::file(key)),
            (None, None) => {}
            _ => {
                let message = "--tls-cert and --tls-key go together: a certificate and its key";
                return Err(Failure::new(Exit::Usage, message));
            }
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        let wanted = self.wanted || self.ca.is_some() || self.cert.is_some() || self.server_name.is_some();
        Ok(wanted.then_some(tls))
    }
}
