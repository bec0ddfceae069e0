use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::discovery::Discovery;
use crate::endpoint::{Endpoint, Names};
use crate::handshake;
use crate::stream::Stream;
use crate::tls::Tls;

/// Where a server is.
pub(crate) enum Route {
    /// At one of these addresses, which are all its own.
    Fixed(Vec<Endpoint>),
    /// Where the placement driver says.
    Discovered(Discovery),
}

/// Makes connections to a server.
pub(crate) struct Dialer {
    route: Route,
    tls: Option<Tls>,
    /// How long a connection may take.
    limit: Duration,
    /// Made ahead of the first request.
    ready: Mutex<Option<Stream>>,
    /// Where the last connection leads.
    reached: Mutex<Option<Endpoint>>,
    /// How many connections were handed out.
    connections: AtomicU64,
}

impl Dialer {
    pub(crate) fn new(route: Route, tls: Option<Tls>, limit: Duration) -> Self {
        let (ready, reached) = (Mutex::default(), Mutex::default());
        Self { route, tls, limit, ready, reached, connections: AtomicU64::new(0) }
    }

    pub(crate) const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// How many connections were handed out. A request that goes over another connection than the one before
    /// finds a greater number.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// The address that the last connection leads to.
    pub(crate) fn reached(&self) -> Option<Endpoint> {
        self.reached.lock().clone()
    }

    /// The cluster of the placement driver that says where the node is.
    pub(crate) fn cluster_id(&self) -> Option<u64> {
        match &self.route {
            Route::Fixed(_) => None,
            Route::Discovered(discovery) => Some(discovery.cluster_id()),
        }
    }

    /// Makes the first connection ahead of the first request, so that a failure is known as it is.
    pub(crate) async fn prepare(&self) -> Result<()> {
        let stream = self.dial().await?;
        *self.ready.lock() = Some(stream);
        Ok(())
    }

    /// A connection for requests to come.
    pub(crate) async fn connect(&self) -> Result<Stream> {
        let ready = self.ready.lock().take();
        let stream = match ready {
            Some(stream) => stream,
            None => self.dial().await?,
        };
        self.connections.fetch_add(1, Ordering::AcqRel);
        Ok(stream)
    }

    async fn dial(&self) -> Result<Stream> {
        let started = Instant::now();
        let found;
        let endpoints = match &self.route {
            Route::Fixed(endpoints) => endpoints.as_slice(),
            Route::Discovered(discovery) => {
                // Half of the time, so that there is time to dial where the node was last.
                found = [discovery.find(self.limit / 2).await?];
                found[0].check_scheme(self.is_secure())?;
                &found
            }
        };
        self.first_of(endpoints, self.limit.saturating_sub(started.elapsed())).await
    }

    /// Connects to the first endpoint that answers, in order, all within `limit`. One that does not answer
    /// takes no more than its share of the time, so that those behind it get their turn.
    async fn first_of(&self, endpoints: &[Endpoint], limit: Duration) -> Result<Stream> {
        let started = Instant::now();
        let mut failure = Error::new(ErrorKind::InvalidArgument, "there is no endpoint");
        for (place, endpoint) in endpoints.iter().enumerate() {
            let left = u32::try_from(endpoints.len() - place).unwrap_or(u32::MAX);
            let share = limit.saturating_sub(started.elapsed()) / left;
            let error = match timeout(share, self.one(endpoint)).await {
                Ok(Ok(stream)) => {
                    *self.reached.lock() = Some(endpoint.clone());
                    return Ok(stream);
                }
                Ok(Err(error)) => error,
                Err(_) => Error::new(ErrorKind::Unavailable, "no answer"),
            };
            // One line: the connection keeps no more of an error than its innermost cause.
            failure = Error::new(error.kind(), format!("{endpoint}: {}", error.report()));
        }
        Err(failure)
    }

    async fn one(&self, endpoint: &Endpoint) -> Result<Stream> {
        let stream = plain(endpoint).await?;
        let Some(tls) = &self.tls else {
            return Stream::greet(Box::new(stream), false).await;
        };
        match tls.handshake(stream, endpoint.host()).await? {
            Ok(stream) => Stream::greet(Box::new(stream), true).await,
            // What a server in plain text does with a connection that it does not understand is its own affair.
            Err(error) if handshake::may_be_plain(&error) && speaks_plain(endpoint).await => {
                Err(handshake::no_tls())
            }
            Err(error) => Err(handshake::failed(&error, "connection broke in the TLS handshake")),
        }
    }
}

async fn plain(endpoint: &Endpoint) -> Result<TcpStream> {
    // The text alone says it all.
    endpoint.dial().await.map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))
}

/// Whether a greeting in plain text, which tells nobody anything, is answered.
async fn speaks_plain(endpoint: &Endpoint) -> bool {
    match plain(endpoint).await {
        Ok(stream) => Stream::greet(Box::new(stream), false).await.is_ok(),
        Err(_) => false,
    }
}

/// Where it dials, or whom it asks.
impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Route::Fixed(endpoints) => Names(endpoints).fmt(f),
            Route::Discovered(discovery) => discovery.fmt(f),
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("route", &format_args!("{self}"))
            .field("secure", &self.is_secure())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn endpoint(listener: &TcpListener) -> Endpoint {
        Endpoint::parse(&listener.local_addr().unwrap().to_string(), 7440).unwrap()
    }

    fn dialer(endpoints: Vec<Endpoint>) -> Dialer {
        Dialer::new(Route::Fixed(endpoints), None, Duration::from_millis(500))
    }

    #[tokio::test]
    async fn the_next_endpoint_is_tried_when_one_refuses_or_says_nothing() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let expected = endpoint(&good);
        let dialer = dialer(vec![endpoint(&closed), endpoint(&silent), expected.clone()]);
        drop(closed);
        tokio::spawn(async move {
            let (mut stream, _) = good.accept().await.unwrap();
            stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        dialer.connect().await.unwrap();
        assert_eq!(dialer.reached(), Some(expected));
        assert_eq!(dialer.connections(), 1);
    }

    #[tokio::test]
    async fn a_failed_dial_names_the_endpoint() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&listener);
        drop(listener);
        let error = dialer(vec![endpoint.clone()]).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().starts_with(&format!("{endpoint}: Connection refused")), "{error}");
    }
}
