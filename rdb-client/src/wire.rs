use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Channel, Error};

use crate::flight::Flight;

/// The connection to the node. It is made when first needed, and again after it broke; calls share it.
#[derive(Clone, Debug)]
pub(crate) struct Wire(pub(crate) Channel);

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(flight) = request.extensions_mut().remove::<Flight>() {
            request = request.map(|body| flight.watch(body));
        }
        self.0.call(request)
    }
}
