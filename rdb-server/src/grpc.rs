use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rdb_engine_api::{Error, ErrorKind};
use rdb_proto::{Call, to_status};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service as _;
use tracing::Instrument as _;

use crate::accept::Connection;
use crate::arrival::{Whole, receive};
use crate::flow::{Busy, Flow, Verdict};
use crate::gate::Admission;
use crate::handshake::{Failure, begin};
use crate::messages::Passing;
use crate::method::Reception;
use crate::outgoing::Outgoing;
use crate::reload::Tls;
use crate::state::State;
use crate::transport::Transport;

/// The flow-control window of a stream, in bytes: that of the longest message, within these bounds. HTTP/2's own
/// 64 KiB allow one window a round trip, and the adaptive window is worse than either. What is in a window and was
/// not taken by a service is kept, and counts nowhere.
const STREAM_WINDOW: RangeInclusive<usize> = 64 << 10..=2 << 20;
/// The window of a connection, in those of its streams.
const STREAMS_IN_WINDOW: u32 = 16;

/// What a stream buffers of its answer, beside the message that is being sent.
const SEND_BUFFER: usize = 256 << 10;
/// The most bytes of a request's headers. Ours have a few hundred.
const HEADERS: u32 = 16 << 10;
/// How many streams a client may open and reset before the server has looked at them, and how many may break
/// the protocol, before the connection is closed: both are attacks by cheap requests.
const PENDING_RESETS: usize = 20;
const ERROR_RESETS: usize = 1024;

/// What every HTTP/2 client sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Runs a connection's requests as tasks that can be waited for.
#[derive(Clone, Debug)]
struct Tasks(TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Serves a connection until its client leaves, until it has ended after the node began to drain, or until it
/// is cut.
pub(crate) async fn serve_connection(
    connection: Connection,
    routes: Routes,
    state: Arc<State>,
    tracker: TaskTracker,
) {
    let Connection { stream, peer, _place } = connection;
    // Keepalive begins with the first frame; until then nothing but this would notice a silent client.
    let begun = tokio::select! {
        begun = timeout(state.config.handshake_timeout, begin_http2(stream, state.tls.as_ref())) => begun,
        () = state.draining.cancelled() => return,
    };
    let io = match begun.unwrap_or(Err(Failure::TimedOut)) {
        Ok(transport) => TokioIo::new(transport),
        Err(failure) => return state.refuse(&failure, peer),
    };

    let window = state.max_message_bytes.clamp(*STREAM_WINDOW.start(), *STREAM_WINDOW.end()) as u32;
    let mut builder = http2::Builder::new(Tasks(tracker));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(window.saturating_mul(STREAMS_IN_WINDOW))
        .adaptive_window(false)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(ERROR_RESETS)
        .max_concurrent_streams(state.config.max_streams_per_connection)
        .keep_alive_interval(state.config.keepalive_interval)
        .keep_alive_timeout(state.config.keepalive_timeout);
    let flow = Arc::new(Flow::new(Arc::clone(&state)));
    let service = {
        let flow = Arc::clone(&flow);
        service_fn(move |mut request: Request<Incoming>| {
            let (routes, mut busy) = (routes.clone(), Busy::new(&flow));
            async move {
                let state = Arc::clone(busy.flow().state());
                let method = state.methods.at(request.uri().path());
                let call = method.map_or(Call::Read, |method| state.methods.get(method).call);
                let is_dialogue =
                    method.is_some_and(|method| state.methods.get(method).reception == Reception::Dialogue);
                let room = if is_dialogue {
                    request.extensions_mut().insert(Arc::clone(busy.flow()));
                    busy.dialogue()
                } else {
                    Ok(())
                };
                let Ok(answer) = match (method, room) {
                    (_, Err(error)) => Ok(to_status(&error).into_http()),
                    (Some(method), Ok(())) => self::call(routes, state, method, request).await,
                    (None, Ok(())) => aside(routes, &state, &mut busy, request).await,
                };
                let (parts, body) = answer.into_parts();
                let answer = Outgoing::new(body, call, busy).await?;
                Ok::<_, Status>(Response::from_parts(parts, answer))
            }
        })
    };
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut is_ending = false;
    let mut look = std::pin::pin!(sleep_until(Instant::now()));
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection broke");
                }
                return;
            }
            () = state.draining.cancelled(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut look => match flow.verdict() {
                Verdict::Fine(next) => look.as_mut().reset(next),
                Verdict::Stalled => {
                    state.metrics.connections_stalled.inc();
                    tracing::info!(%peer, "closed a connection whose client did not read its answers");
                    return;
                }
                Verdict::Idle => {
                    look.as_mut().reset(Instant::now() + state.config.idle_timeout.min(state.config.stall_timeout));
                    if !is_ending {
                        is_ending = true;
                        state.metrics.connections_idle.inc();
                        // The client is told first, so that it sends no request that would be lost (C10).
                        connection.as_mut().graceful_shutdown();
                    }
                }
            },
            () = state.cut.cancelled() => return,
        }
    }
}

/// Begins a connection and waits for it to say that it speaks HTTP/2.
async fn begin_http2(stream: TcpStream, tls: Option<&Tls>) -> Result<Transport, Failure> {
    let mut transport = begin(stream, tls.map(Tls::grpc)).await?;
    let mut preface = [0; PREFACE.len()];
    let mut received = 0;
    while received < preface.len() {
        received += match transport.read(&mut preface[received..]).await {
            Ok(0) | Err(_) => return Err(Failure::Left),
            Ok(bytes) => bytes,
        };
        if preface[..received] != PREFACE[..received] {
            return Err(Failure::NotHttp2);
        }
    }
    Ok(transport.replay(PREFACE))
}

/// Answers a request for a method that is none of ours.
async fn aside(
    mut routes: Routes,
    state: &State,
    busy: &mut Busy,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    if !path.starts_with("/grpc.") {
        state.metrics.requests_refused.inc();
        let error = Error::new(ErrorKind::Unsupported, "no such method").with("path", path);
        return Ok(to_status(&error).into_http());
    }
    if let Err(error) = busy.aside() {
        return Ok(to_status(&error).into_http());
    }
    // Health and reflection are gRPC's own; their clients expect its own errors. It waits for the request to be
    // whole; what comes after may last.
    timeout(state.config.request_timeout, routes.call(request)).await.unwrap_or_else(|_| {
        let error = Error::new(ErrorKind::Unavailable, "request was not whole by its deadline");
        Ok(to_status(&error).into_http())
    })
}

async fn call(
    routes: Routes,
    state: Arc<State>,
    method: usize,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let admission = match Admission::new(&state, method, request.headers()) {
        Ok(admission) => admission,
        Err(status) => return Ok(status.into_http()),
    };
    let (mut parts, body) = request.into_parts();
    let admission = Arc::new(admission);
    parts.extensions.insert(Arc::clone(&admission));
    let span = admission.span().clone();
    take(routes, state, admission, parts, body).instrument(span).await
}

/// Receives a request and lets its service answer it.
async fn take(
    mut routes: Routes,
    state: Arc<State>,
    admission: Arc<Admission>,
    parts: Parts,
    body: Incoming,
) -> Result<Response<Body>, Infallible> {
    let response = if admission.method().reception == Reception::Whole {
        let message = match receive(&admission, body).await {
            Ok(Some(message)) => message,
            Ok(None) => {
                let error = Error::new(ErrorKind::Unavailable, "request broke off");
                return Ok(to_status(&error).into_http());
            }
            Err(error) => return Ok(admission.fail(error).into_http()),
        };
        routes.call(Request::from_parts(parts, Whole(message))).await?
    } else {
        let messages = Passing::new(body, Arc::clone(&admission));
        routes.call(Request::from_parts(parts, messages)).await?
    };
    Ok(match not_taken(&response) {
        Some(error) => {
            state.metrics.requests_refused.inc();
            admission.fail(error).into_http()
        }
        None => response,
    })
}

/// The error behind an answer that gRPC's machinery made without asking a service, such as that the message
/// is malformed. Our services' own errors have details, and what goes wrong after a service was asked comes in
/// trailers, not in headers. So nothing was applied, and the client may know it.
fn not_taken(response: &Response<Body>) -> Option<Error> {
    let headers = response.headers();
    if !headers.contains_key(Status::GRPC_STATUS) || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    let kind = match status.code() {
        Code::Ok => return None,
        Code::Unimplemented => ErrorKind::Unsupported,
        _ => ErrorKind::InvalidArgument,
    };
    Some(Error::new(kind, "request cannot be taken").because(status.message().to_owned()))
}
