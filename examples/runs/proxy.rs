//! A proxy between clients and a node that misbehaves as networks do: it drops and delays answers, delivers
//! requests again, late, and cuts connections.

#[path = "pipeline.rs"]
mod pipeline;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rdb_client::{Error, ErrorKind, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::codegen::http::{HeaderMap, Request, Response, StatusCode};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt as _;

/// What befalls calls with one answer, each in so many of a thousand, drawn independently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    /// The node answers, and the client does not learn it.
    pub(crate) dropped: u32,
    /// The answer is late, by up to [`Self::delay`].
    pub(crate) delayed: u32,
    /// The request is delivered once more, at any time up to [`Self::late`] after it.
    pub(crate) repeated: u32,
    pub(crate) delay: Duration,
    pub(crate) late: Duration,
    pub(crate) seed: u64,
}

impl Trouble {
    /// Nothing but what is asked for later.
    pub(crate) const NONE: Self =
        Self { dropped: 0, delayed: 0, repeated: 0, delay: Duration::ZERO, late: Duration::ZERO, seed: 0 };
}

/// How often it misbehaved.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) delayed: AtomicU64,
    /// Requests delivered again that the node answered with a success.
    pub(crate) repeated: AtomicU64,
    /// Those that it refused.
    pub(crate) refused: AtomicU64,
    /// Those that found no node.
    pub(crate) lost: AtomicU64,
    pub(crate) cuts: AtomicU64,
}

/// A running proxy; ended where this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    node: Channel,
    trouble: Trouble,
    random: Mutex<SmallRng>,
    tally: Tally,
    cut: Mutex<CancellationToken>,
    repetitions: TaskTracker,
}

impl Proxy {
    /// Begins to serve at a free port, for a node at an address that it keeps.
    pub(crate) async fn start(node: &str, trouble: Trouble) -> Result<Self> {
        let failed = |message: &'static str| Error::new(ErrorKind::Internal, message);
        let endpoint = Endpoint::from_shared(format!("http://{node}"))
            .map_err(|error| failed("node has no address").because(error))?
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(32 << 20)
            .connect_timeout(Duration::from_secs(1));
        let bound = TcpListener::bind("127.0.0.1:0").await;
        let listener = bound.map_err(|error| failed("cannot listen").because(error))?;
        let address = listener.local_addr().map_err(|error| failed("cannot listen").because(error))?;
        let shared = Arc::new(Shared {
            node: endpoint.connect_lazy(),
            trouble,
            random: Mutex::new(SmallRng::seed_from_u64(trouble.seed)),
            tally: Tally::default(),
            cut: Mutex::default(),
            repetitions: TaskTracker::new(),
        });
        let stop = CancellationToken::new();
        let serving = Arc::clone(&shared);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let cut = serving.cut.lock().clone();
                tokio::spawn(cut.run_until_cancelled_owned(serve(stream, Arc::clone(&serving))));
            }
        }));
        Ok(Self { address: address.to_string(), shared, _stop: stop.drop_guard() })
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Breaks every connection there is, in the middle of what it carries.
    pub(crate) fn cut(&self) {
        self.shared.tally.cuts.fetch_add(1, Relaxed);
        std::mem::take(&mut *self.shared.cut.lock()).cancel();
    }

    /// Waits until every repetition was delivered.
    pub(crate) async fn settle(&self) {
        self.shared.repetitions.close();
        self.shared.repetitions.wait().await;
        self.shared.repetitions.reopen();
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(forward(request, shared).await) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(32 << 20)
        .max_concurrent_streams(10_000)
        .serve_connection(TokioIo::new(stream), service);
    // A client that leaves is no news.
    let _ = served.await;
}

/// What befalls a call.
#[derive(Clone, Copy, Debug)]
struct Fate {
    drops: bool,
    delays: Option<Duration>,
    repeats: Option<Duration>,
}

impl Shared {
    /// Drawn as the call comes, so that the choices of a seed do not depend on what the node does.
    fn draw(&self) -> Fate {
        let Trouble { dropped, delayed, repeated, delay, late, .. } = self.trouble;
        let mut random = self.random.lock();
        let mut happens = |of_a_thousand: u32, most: Duration| {
            let so = random.random_range(0..1000) < of_a_thousand;
            so.then(|| most.mul_f64(random.random::<f64>()))
        };
        let drops = happens(dropped, delay).is_some();
        Fate { drops, delays: happens(delayed, delay), repeats: happens(repeated, late) }
    }
}

type Answer = Response<tonic::body::Body>;

async fn forward(request: Request<Incoming>, shared: Arc<Shared>) -> Answer {
    let path = request.uri().path();
    if ["/Scan", "/Watch", "/Restore"].iter().any(|method| path.ends_with(method)) {
        let answer = shared.node.clone().oneshot(request.map(tonic::body::Body::new)).await;
        return answer.unwrap_or_else(|_| bad_gateway());
    }
    if path.ends_with("/Pipeline") {
        return pipeline::forward(request.into_body(), shared);
    }
    shared.tally.calls.fetch_add(1, Relaxed);
    let writes = ["/Put", "/Delete", "/CompareAndSwap", "/Write"].iter().any(|method| path.ends_with(method));
    let (head, body) = request.into_parts();
    let Ok(body) = Whole::read(body).await else { return bad_gateway() };
    let send = {
        let shared = Arc::clone(&shared);
        move || {
            let request = Request::from_parts(head.clone(), tonic::body::Body::new(body.clone()));
            shared.node.clone().oneshot(request)
        }
    };
    let Fate { drops, delays, repeats } = shared.draw();
    if let Some(after) = repeats.filter(|_| writes) {
        let (send, shared) = (send.clone(), Arc::clone(&shared));
        shared.clone().repetitions.spawn(async move {
            sleep(after).await;
            let tally = &shared.tally;
            match ended(send().await).await {
                None => &tally.lost,
                Some(true) => &tally.repeated,
                Some(false) => &tally.refused,
            }
            .fetch_add(1, Relaxed);
        });
    }
    // The node gets the request whatever becomes of the client.
    let asked = tokio::spawn(async move {
        let (head, body) = send().await.ok()?.into_parts();
        Some(Response::from_parts(head, Whole::read(body).await.ok()?))
    });
    let answer = asked.await.ok().flatten();
    if let Some(wait) = delays {
        shared.tally.delayed.fetch_add(1, Relaxed);
        sleep(wait).await;
    }
    if drops {
        shared.tally.dropped.fetch_add(1, Relaxed);
        return bad_gateway();
    }
    answer.map_or_else(bad_gateway, |answer| answer.map(tonic::body::Body::new))
}

/// Whether a call succeeded; none where the node was out of reach.
async fn ended(answer: Result<Answer, tonic::transport::Error>) -> Option<bool> {
    let (head, body) = answer.ok()?.into_parts();
    let body = Whole::read(body).await.ok()?;
    let status = head.headers.get("grpc-status").or_else(|| body.trailers.as_ref()?.get("grpc-status"));
    Some(status.is_some_and(|status| status == "0"))
}

/// What a proxy says that lost its server: no word on what became of the request.
fn bad_gateway() -> Answer {
    let mut answer = Response::new(tonic::body::Body::empty());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}

/// A body that is all there, so that it can be sent again.
#[derive(Clone, Debug)]
struct Whole {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Whole {
    async fn read<B: Body<Data = Bytes>>(body: B) -> std::result::Result<Self, B::Error> {
        let mut body = pin!(body);
        let (mut data, mut trailers) = (Vec::new(), None);
        while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            match frame?.into_data() {
                Ok(chunk) => data.extend_from_slice(&chunk),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok(Self { data: (!data.is_empty()).then(|| data.into()), trailers })
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let frame = self.data.take().map(Frame::data);
        Poll::Ready(frame.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}
