use std::time::Duration;

use rdb_engine_api::Result;

use crate::Client;
use crate::retry::RetryPolicy;

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
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) stream_window_bytes: u32,
    pub(crate) connection_window_bytes: u32,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            retry: RetryPolicy::default(),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            stream_window_bytes: 4 << 20,
            connection_window_bytes: 32 << 20,
        }
    }

    /// Adds an address of the node: `host:port`, `http://host:port`, or `host` alone for port 7440. Several
    /// are addresses of the SAME node, tried in this order whenever a connection is made. Without any,
    /// `127.0.0.1:7440`.
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

    /// How long a request may take, repetitions included (5 s). In a scan it bounds the opening and the
    /// wait for each chunk.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting may take, all endpoints together (3 s); never longer than a request may.
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

    /// Connects, and asks the node what it is.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where no endpoint answers within the connect timeout;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for what is no endpoint;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where something else than a FlareDB node answers.
    pub async fn connect(mut self) -> Result<Client> {
        if self.endpoints.is_empty() {
            self.endpoints.push(DEFAULT_ENDPOINT.to_owned());
        }
        Client::open(self).await
    }
}
