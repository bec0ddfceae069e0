use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long to wait after a failed accept. Out of descriptors, the next one would fail at once, and the loop
/// would take a processor of its own.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a listening socket; tells the address it got.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed =
        |error| Error::new(ErrorKind::Unavailable, "cannot listen").with("address", address).because(error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Accepts connections until `stop`, no more than `limit` at once. One too many is closed at once: left to
/// wait, its client would wait too.
pub(crate) async fn accept(
    listener: TcpListener,
    limit: usize,
    stop: CancellationToken,
    errors: Counter,
    mut on_connection: impl FnMut(Option<Connection>),
) {
    let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return, // the socket closes with the listener
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Answers are written whole: there is nothing to wait for.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set nodelay");
                }
                let place = Arc::clone(&places).try_acquire_owned().ok();
                on_connection(place.map(|place| Connection { stream, peer, _place: place }));
            }
            Err(error) => {
                errors.inc();
                if is_of_connection(&error) {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                    continue;
                }
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the error is that of one connection, which its client brought about: to pause then would let it hold up
/// the others.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// An accepted connection and its place among them.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) _place: OwnedSemaphorePermit,
}
