use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rdb_engine_api::{ErrorKind, Result};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::transport::{self, Channel, Error};

use crate::builder::ClientBuilder;
use crate::dialer::Dialer;
use crate::endpoint::Endpoint;
use crate::flight::Flight;
use crate::request;

/// The connection to a server. It is made when first needed, and again after it broke; calls share it.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Channel);

impl Wire {
    /// Prepares the connection. Nothing is sent before the first request. `name` is what the requests call
    /// the server.
    pub(crate) fn new(settings: &ClientBuilder, dialer: &Arc<Dialer>, name: &Endpoint) -> Result<Self> {
        // The scheme by which tonic would dial is always this one: TLS is our own connector's.
        let mut channel = transport::Endpoint::from(name.uri("http")?)
            .user_agent(concat!("flaredb-rust/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| {
                rdb_engine_api::Error::new(ErrorKind::Internal, "cannot name the client").because(error)
            })?
            .http2_keep_alive_interval(settings.keepalive_interval)
            .keep_alive_timeout(settings.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(settings.stream_window_bytes)
            .initial_connection_window_size(settings.connection_window_bytes);
        if dialer.is_secure() {
            channel = channel.origin(name.uri("https")?);
        }
        let dialer = Arc::clone(dialer);
        let connector = tower::service_fn(move |_| {
            let dialer = Arc::clone(&dialer);
            async move { dialer.connect().await.map(TokioIo::new) }
        });
        Ok(Self(channel.connect_with_connector_lazy(connector)))
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(sent) = request.extensions_mut().remove::<request::Request>() {
            sent.calls(request.uri().path());
        }
        if let Some(flight) = request.extensions_mut().remove::<Flight>() {
            request = request.map(|body| flight.watch(body));
        }
        self.0.call(request)
    }
}
