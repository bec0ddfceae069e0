use std::time::Duration;

use rdb_engine_api::Result;

use super::Pd;
use crate::builder::ClientBuilder;
use crate::retry::RetryPolicy;
use crate::tls::TlsConfig;

/// Where a placement driver listens that was not told otherwise.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:7430";

/// How to reach a placement driver, and how to treat it. Made by [`Pd::builder`].
#[derive(Clone, Debug)]
pub struct PdBuilder(ClientBuilder);

impl PdBuilder {
    pub(super) fn new() -> Self {
        Self(ClientBuilder::new())
    }

    /// Adds an address of the placement driver: `host:port`, `http://host:port`, `https://host:port`, or
    /// `host` alone for port 7430. Several are its own, tried in this order. Without any, `127.0.0.1:7430`.
    #[must_use]
    pub fn endpoint(self, endpoint: impl Into<String>) -> Self {
        Self(self.0.endpoint(endpoint))
    }

    /// Adds several addresses of the placement driver.
    #[must_use]
    pub fn endpoints<S: Into<String>>(self, endpoints: impl IntoIterator<Item = S>) -> Self {
        Self(self.0.endpoints(endpoints))
    }

    /// Encrypts the connection.
    #[must_use]
    pub fn tls(self, tls: TlsConfig) -> Self {
        Self(self.0.tls(tls))
    }

    /// How long a request may take, repetitions included (5 s).
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }

    /// How long connecting may take, all endpoints together (3 s); never longer than a request may.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.connect_timeout = timeout;
        self
    }

    /// How requests are repeated.
    #[must_use]
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self(self.0.retry(policy))
    }

    /// Connects, and asks which cluster it is.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(mut self) -> Result<Pd> {
        if self.0.endpoints.is_empty() {
            self.0.endpoints.push(DEFAULT_ENDPOINT.to_owned());
        }
        Pd::open(self.0).await
    }
}
