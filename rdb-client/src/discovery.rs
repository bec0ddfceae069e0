use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use rdb_engine_api::{Error, ErrorKind, Result};

use crate::endpoint::{DEFAULT_PORT, Endpoint};
use crate::pd::Pd;

/// Finds the node by asking the placement driver, for every connection anew.
pub(crate) struct Discovery {
    pd: Pd,
    /// Where the node was when the placement driver was last there to say it.
    last: Mutex<Option<Endpoint>>,
}

impl Discovery {
    pub(crate) fn new(pd: Pd) -> Self {
        Self { pd, last: Mutex::default() }
    }

    /// The cluster that the node is looked for in.
    pub(crate) fn cluster_id(&self) -> u64 {
        self.pd.cluster_id()
    }

    /// Where the node is. A placement driver that is gone, or has trouble of its own, does not matter to a client
    /// that knows it already; one of another cluster is refused.
    pub(crate) async fn find(&self, limit: Duration) -> Result<Endpoint> {
        let error = match self.pd.with_timeout(limit).locate_once(&[]).await {
            Ok(location) => {
                let endpoint = Endpoint::parse(&location.store.info.address, DEFAULT_PORT)?;
                *self.last.lock() = Some(endpoint.clone());
                return Ok(endpoint);
            }
            Err(error) => error,
        };
        match self.last.lock().clone() {
            Some(last) if !matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::Unsupported) => {
                tracing::debug!(error = error.report(), "the node is looked for where it was last");
                Ok(last)
            }
            _ => {
                let message = format!("cannot find the node: {}", error.report());
                Err(Error::new(error.kind(), message))
            }
        }
    }
}

/// Whom it asks.
impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by placement driver {}", self.pd.endpoints())
    }
}
