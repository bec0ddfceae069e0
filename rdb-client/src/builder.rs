use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};

use crate::Client;
use crate::dialer::{Dialer, Route};
use crate::discovery::Discovery;
use crate::endpoint::{DEFAULT_PORT, Endpoint, parse_all};
use crate::pd::Pd;
use crate::retry::RetryPolicy;
use crate::tls::{Tls, TlsConfig};

/// Where a node listens that was not told otherwise.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:7440";

/// How to reach a node, and how to treat it. Made by [`Client::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use rdb_client::{Client, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> rdb_client::Result<()> {
/// let client = Client::builder()
///     .endpoint("http://127.0.0.1:7440")
///     .timeout(Duration::from_secs(2))
///     .retry(RetryPolicy::default().attempts(3))
///     .connect()
///     .await?;
/// let patient = client.with_timeout(Duration::from_secs(60));
/// # drop(patient);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    pub(crate) endpoints: Vec<String>,
    pub(crate) tls: Option<TlsConfig>,
    pd: Vec<String>,
    pd_tls: Option<TlsConfig>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) exactly_once: bool,
    pub(crate) pipelines: usize,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) stream_window_bytes: u32,
    pub(crate) connection_window_bytes: u32,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            tls: None,
            pd: Vec::new(),
            pd_tls: None,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            retry: RetryPolicy::default(),
            exactly_once: true,
            pipelines: 2,
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            stream_window_bytes: 4 << 20,
            connection_window_bytes: 32 << 20,
        }
    }

    /// Adds an address of the node: `host:port`, `http://host:port`, `https://host:port`, or `host` alone for
    /// port 7440. Several are addresses of the SAME node, tried in this order whenever a connection is made.
    /// Without any, `127.0.0.1:7440`. `https://` is by TLS with the system's authorities, unless
    /// [`tls`](Self::tls) says more.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Adds several addresses of the node.
    #[must_use]
    pub fn endpoints<S: Into<String>>(mut self, endpoints: impl IntoIterator<Item = S>) -> Self {
        self.endpoints.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// Encrypts the connection.
    #[must_use]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Finds the node by asking the placement driver at these addresses, which are all its own and tried in
    /// this order; instead of endpoints. It is asked whenever a connection to the node is made, so that the
    /// client follows a node that comes back at another address. While it is gone, the node is looked for
    /// where it was last; one of another cluster than the first is refused.
    ///
    /// `https://` holds for the node too, unless [`pd_tls`](Self::pd_tls) says what is the driver's alone.
    #[must_use]
    pub fn pd<S: Into<String>>(mut self, addresses: impl IntoIterator<Item = S>) -> Self {
        self.pd.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// Encrypts the connection to the placement driver; as [`tls`](Self::tls) says, where this does not.
    #[must_use]
    pub fn pd_tls(mut self, tls: TlsConfig) -> Self {
        self.pd_tls = Some(tls);
        self
    }

    /// How long a request may take, repetitions included (5 s). In a scan it bounds the opening and the
    /// wait for each chunk.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take, all endpoints together (3 s); never longer than a request may. The first
    /// time, a placement driver may take as long again.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How requests are repeated that were certainly not applied.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Whether writes are numbered in a session, so that they take effect once however often they are sent
    /// (C17). They are unless this says otherwise, or the node declares no sessions. Without numbers, a write
    /// whose answer is lost is [`Unknown`](crate::ErrorKind::Unknown), and sending it again may apply it twice.
    #[must_use]
    pub const fn exactly_once(mut self, exactly_once: bool) -> Self {
        self.exactly_once = exactly_once;
        self
    }

    /// Over how many streams requests share messages (2), each on a connection of its own: while the node works on
    /// the commands of one, the client takes the answers of the other. More are of use to a client that keeps many
    /// cores busy. With 0, every request is one of its own, as it is towards a node that
    /// has no pipelines.
    #[must_use]
    pub const fn pipelines(mut self, pipelines: usize) -> Self {
        self.pipelines = pipelines;
        self
    }

    /// How often a sign of life is asked of the node (10 s), and how long its answer may take (5 s) before
    /// the connection counts as broken.
    #[must_use]
    pub const fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keepalive_interval = interval;
        self.keepalive_timeout = timeout;
        self
    }

    /// How many bytes the node may send ahead of the reader: in one answer or scan (4 MiB), and over the
    /// whole connection (32 MiB).
    #[must_use]
    pub const fn windows(mut self, stream_bytes: u32, connection_bytes: u32) -> Self {
        self.stream_window_bytes = stream_bytes;
        self.connection_window_bytes = connection_bytes;
        self
    }

    /// How long connecting may really take.
    pub(crate) fn dial_limit(&self) -> Duration {
        self.connect_timeout.min(self.timeout)
    }

    /// What makes the connections to the node. All files are read before anything is dialled.
    pub(crate) async fn dialer(&self) -> Result<Dialer> {
        if self.pd.is_empty() {
            return self.fixed(DEFAULT_PORT);
        }
        if !self.endpoints.is_empty() {
            let message = "either endpoints or a placement driver leads to the node, not both";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let tls = self.tls_found_by_pd().map(Tls::load).transpose()?;
        let mut pd = Self { endpoints: self.pd.clone(), pd: Vec::new(), ..self.clone() };
        pd.tls = self.pd_tls.clone().or(pd.tls);
        let discovery = Discovery::new(Pd::open(pd).await?);
        Ok(Dialer::new(Route::Discovered(discovery), tls, self.dial_limit()))
    }

    /// How the node is reached that a placement driver finds. Its address has no scheme, so what was said of the
    /// driver's holds: `https://` is not an invitation to send all data on in plain text.
    fn tls_found_by_pd(&self) -> Option<TlsConfig> {
        let is_https = |text: &String| Endpoint::parse(text, DEFAULT_PORT).is_ok_and(|pd| pd.is_https());
        let by_scheme = self.pd_tls.is_none() && self.pd.iter().any(is_https);
        self.tls.clone().or_else(|| by_scheme.then(TlsConfig::default))
    }

    /// What makes the connections to the server at these endpoints.
    pub(crate) fn fixed(&self, default_port: u16) -> Result<Dialer> {
        let (endpoints, tls) = parse_all(&self.endpoints, default_port, self.tls.clone())?;
        let tls = tls.map(Tls::load).transpose()?;
        Ok(Dialer::new(Route::Fixed(endpoints), tls, self.dial_limit()))
    }

    /// Connects, and asks the node what it is.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where no endpoint answers within the connect timeout;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for what is no endpoint, files that cannot be
    /// used, and a server that speaks TLS where the client does not, or the other way round;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where something else than a FlareDB node answers.
    pub async fn connect(mut self) -> Result<Client> {
        if self.endpoints.is_empty() && self.pd.is_empty() {
            self.endpoints.push(DEFAULT_ENDPOINT.to_owned());
        }
        Client::open(self).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_driver_by_https_leads_to_no_node_in_plain_text() {
        let builder = || ClientBuilder::new().pd(["a", "https://b"]);
        assert!(builder().tls_found_by_pd().is_some());
        // Whoever tells the two apart has said it.
        assert!(builder().pd_tls(TlsConfig::default()).tls_found_by_pd().is_none());
        assert!(ClientBuilder::new().pd(["a", "http://b"]).tls_found_by_pd().is_none());
        assert!(ClientBuilder::new().pd(["a"]).tls(TlsConfig::default()).tls_found_by_pd().is_some());
    }
}
