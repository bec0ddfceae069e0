use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::accept::Connection;
use crate::exposition;
use crate::handshake::{Failure, begin};
use crate::reload::Tls;
use crate::state::{Readiness, State};

/// How long a client may take to send a request.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last: scrapers come back, and a client that does not read an answer goes.
const LIFETIME: Duration = Duration::from_secs(300);

/// Serves one connection to the operations address.
pub(crate) async fn serve_connection(connection: Connection, state: Arc<State>, stop: CancellationToken) {
    let Connection { stream, peer, _place } = connection;
    let tls = state.tls.as_ref().map(Tls::ops);
    let begun = tokio::select! {
        begun = timeout(state.config.handshake_timeout, begin(stream, tls)) => begun,
        () = stop.cancelled() => return,
    };
    let io = match begun.unwrap_or(Err(Failure::TimedOut)) {
        Ok(transport) => TokioIo::new(transport),
        Err(failure) => return state.refuse(&failure, peer),
    };
    let service = service_fn(move |request| {
        let response = answer(&request, &state);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(io, service);
    tokio::select! {
        ended = timeout(LIFETIME, connection) => {
            if let Ok(Err(error)) = ended {
                tracing::debug!(%error, "an operations connection broke");
            }
        }
        () = stop.cancelled() => {}
    }
}

fn answer(request: &Request<Incoming>, state: &State) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match request.uri().path() {
        // Answers as long as the process can.
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" => match state.readiness() {
            Readiness::Ready => text(StatusCode::OK, "ready\n"),
            Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
            Readiness::EngineClosed => text(StatusCode::SERVICE_UNAVAILABLE, "engine is closed\n"),
        },
        "/metrics" => match exposition::scrape(request.headers(), state) {
            Ok((metrics, kind)) => {
                let mut response = text(StatusCode::OK, metrics);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", error.report())),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
