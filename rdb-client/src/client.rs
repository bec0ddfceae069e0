use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::RwLock;
use prost::Message;
use rdb_engine_api::{
    Batch, Commit, Engine, EngineInfo, EntryStream, Error, ErrorKind, Key, Limits, Metric, Outcome, Record,
    Result, Scan, Session, SessionOptions, Stamp, View, Watch, WatchStream, WriteOptions,
};
use rdb_proto::Call;
use rdb_proto::ScanPart;
use rdb_proto::kv::v1::{self, kv_client::KvClient, node_client::NodeClient};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::builder::ClientBuilder;
use crate::call::{Deadline, Tell, attempt, repeat};
use crate::dialer::Dialer;
use crate::lanes::{Lane, Lanes};
use crate::node::{Health, NodeStatus};
use crate::once::{self, Link, Sessions, Writing};
use crate::pipeline::Method;
use crate::restore::Upload;
use crate::retry::RetryPolicy;
use crate::scan::{ScanParts, malformed};
use crate::waits::Waits;
use crate::way::Way;
use crate::wire::Wire;

/// What is said of a server that is something else.
const NO_NODE: &str = "cannot connect: no FlareDB node answers there";

/// A FlareDB node, as an [`Engine`].
///
/// Cloning is cheap; clones share their connections, which are made when needed, and anew when they break: one, a
/// second for concurrent callers, and where they watch or wait, another for each hundred such requests, so that
/// these keep out no others. Requests that are short and soon answered share streams and their messages
/// ([`ClientBuilder::pipelines`]): concurrent callers are served faster for it, and a single one no slower. Every
/// request has a deadline ([`ClientBuilder::timeout`], and for a write that waits for its conditions that wait besides).
/// Reads, and writes that were certainly not applied, are repeated within it ([`RetryPolicy`]). So is a write
/// that may have been applied, where the node has sessions: it carries a number by which the node applies it
/// once and answers with its first outcome ([`ClientBuilder::exactly_once`], C17). Elsewhere, and where the
/// deadline passes first, it fails as [`Unknown`](ErrorKind::Unknown) (C10), and
/// [`what_became_of`](Self::what_became_of) can be asked later.
///
/// Values come without a copy: each shares the buffer that its chunk was received in, or its answer and those that
/// came with it. Copy what is kept for long, so as not to keep the rest of the buffer with it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    /// None once the client is closed.
    lanes: RwLock<Option<Arc<Lanes>>>,
    closing: CancellationToken,
    /// The writes that `close` has to wait for.
    writes: TaskTracker,
    /// None where writes are sent without numbers.
    sessions: Option<Sessions>,
    /// For writes that wait for their conditions, which must not hold the window of others.
    waiting_sessions: Sessions,
    dialer: Arc<Dialer>,
    retry: RetryPolicy,
    info: EngineInfo,
    server_version: String,
    /// As the node said last.
    max_message_bytes: AtomicUsize,
}

impl Client {
    /// Prepares a connection.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Connects to a node with the default settings.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(endpoint: impl Into<String>) -> Result<Self> {
        Self::builder().endpoint(endpoint).connect().await
    }

    pub(crate) async fn open(settings: ClientBuilder) -> Result<Self> {
        let deadline = Deadline::after(settings.dial_limit());
        let dialer = Arc::new(settings.dialer().await?);
        let cannot = |kind, message| Error::new(kind, message).with("endpoints", format_args!("{dialer}"));
        // Ahead of the first request, which would know of a failure no more than its text.
        let prepared = dialer.prepare().await.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => cannot(error.kind(), NO_NODE).because(error),
            kind => cannot(kind, "cannot connect").because(error),
        });
        prepared?;
        let reached = dialer.reached().ok_or_else(|| malformed("there is no endpoint"))?;
        let lanes = Lanes::new(settings.clone(), &dialer, reached)?;
        let mut node = NodeClient::new(lanes.prompt().clone());
        let info = attempt(Call::Read, deadline, Tell::Deadline, v1::InfoRequest {}, |request| async move {
            node.info(request).await
        });
        let info = info.await.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => cannot(error.kind(), NO_NODE).because(error),
            kind => cannot(kind, "cannot connect").because(error),
        })?;
        let engine = info.engine.ok_or_else(|| malformed("node does not say what it is"))?;
        let engine = EngineInfo::try_from(engine)?;
        let shared = Shared {
            lanes: RwLock::new(Some(Arc::new(lanes))),
            closing: CancellationToken::new(),
            writes: TaskTracker::new(),
            // What the node does not declare is not asked of it.
            sessions: (settings.exactly_once && engine.capabilities.sessions).then(Sessions::default),
            waiting_sessions: Sessions::rolling_over(),
            dialer,
            retry: settings.retry,
            info: engine,
            server_version: info.server_version,
            max_message_bytes: AtomicUsize::new(message_bytes(info.max_message_bytes)),
        };
        Ok(Self { shared: Arc::new(shared), timeout: settings.timeout })
    }

    /// The same client, whose requests may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { shared: Arc::clone(&self.shared), timeout }
    }

    /// The version of the server, as it was when the client connected.
    pub fn server_version(&self) -> &str {
        &self.shared.server_version
    }

    /// The address of the node, as host and port: where the last connection led.
    pub fn endpoint(&self) -> String {
        self.shared.dialer.reached().map(|endpoint| endpoint.to_string()).unwrap_or_default()
    }

    /// The cluster that the node belongs to; none where no placement driver was asked for it.
    pub fn cluster_id(&self) -> Option<u64> {
        self.shared.dialer.cluster_id()
    }

    /// The longest message that the node takes and sends, in bytes, as it said last.
    pub fn max_message_bytes(&self) -> usize {
        self.shared.max_message_bytes.load(Ordering::Relaxed)
    }

    /// Asks the node how it fares.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) where it does not answer; [`Closed`](ErrorKind::Closed)
    /// after [`close`](Engine::close).
    pub async fn node_status(&self) -> Result<NodeStatus> {
        let answer = self.read_by(v1::StatusRequest {}, |wire, request| async move {
            NodeClient::new(wire).status(request).await
        });
        answer.await?.try_into()
    }

    /// Asks the node for its health, by gRPC's standard check.
    ///
    /// # Errors
    /// As [`node_status`](Self::node_status).
    pub async fn health(&self) -> Result<Health> {
        let everything = HealthCheckRequest { service: String::new() };
        let answer = self
            .read_by(everything, |wire, request| async move { HealthClient::new(wire).check(request).await });
        Ok(answer.await?.status().into())
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.shared.closing
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.shared.retry
    }

    fn lanes(&self) -> Result<Arc<Lanes>> {
        self.shared.lanes.read().clone().ok_or_else(closed)
    }

    pub(crate) fn wire(&self) -> Result<Wire> {
        Ok(self.lanes()?.prompt().clone())
    }

    /// The way of a request that is answered soon.
    fn way(&self) -> Result<Way> {
        Ok(Way::prompt(self.lanes()?, self.max_message_bytes()))
    }

    /// The way of a write: where it waits for its conditions, by this lane.
    fn write_way(&self, lane: Option<&Lane>) -> Result<Way> {
        let lanes = self.lanes()?;
        Ok(match lane {
            None => Way::prompt(lanes, self.max_message_bytes()),
            Some(lane) => Way::lane(lane.clone(), self.max_message_bytes()),
        })
    }

    /// A connection for a request that waits for what others do.
    pub(crate) fn lane(&self) -> Result<Lane> {
        self.lanes()?.waiting()
    }

    /// The limits of the node as it is now: it may have come back with others.
    pub(crate) async fn present_limits(&self, deadline: Deadline) -> Result<Limits> {
        let mut node = NodeClient::new(self.wire()?);
        let ask = |request| async move { node.info(request).await };
        let info = attempt(Call::Read, deadline, Tell::Deadline, v1::InfoRequest {}, ask).await?;
        self.shared.max_message_bytes.store(message_bytes(info.max_message_bytes), Ordering::Relaxed);
        let engine = info.engine.ok_or_else(|| malformed("node does not say what it is"))?;
        Ok(EngineInfo::try_from(engine)?.limits)
    }

    pub(crate) fn kv(&self, wire: Wire) -> KvClient<Wire> {
        let limit = self.max_message_bytes();
        KvClient::new(wire).max_decoding_message_size(limit).max_encoding_message_size(limit)
    }

    /// What the node would not take is refused before anything is sent, so that a write is certain to have
    /// done nothing.
    pub(crate) fn check_size(&self, message: &impl Message) -> Result<()> {
        let (bytes, limit) = (message.encoded_len(), self.max_message_bytes());
        if bytes > limit {
            return Err(Error::new(ErrorKind::InvalidArgument, "request is too large")
                .with("bytes", bytes)
                .with("limit", limit));
        }
        Ok(())
    }

    /// Sends a request that changes nothing until it is answered, as far as the policy goes. Each attempt makes
    /// its message.
    async fn read<M: Method>(&self, message: impl Fn() -> M) -> Result<M::Answer> {
        let deadline = Deadline::after(self.timeout);
        repeat(&self.shared.retry, deadline, || {
            let message = message();
            Some(async { self.way()?.ask(message, deadline).await })
        })
        .await
    }

    /// The same for what is no method of the node's records.
    async fn read_by<Req, Res, Fut>(
        &self,
        message: Req,
        send: impl Fn(Wire, tonic::Request<Req>) -> Fut,
    ) -> Result<Res>
    where
        Req: Clone,
        Fut: Future<Output = Result<tonic::Response<Res>, tonic::Status>>,
    {
        let deadline = Deadline::after(self.timeout);
        repeat(&self.shared.retry, deadline, || {
            let message = message.clone();
            Some(async {
                let wire = self.wire()?;
                attempt(Call::Read, deadline, Tell::Deadline, message, |request| send(wire, request)).await
            })
        })
        .await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Engine for Client {
    /// What the node's engine is, as it was when the client connected.
    fn info(&self) -> &EngineInfo {
        &self.shared.info
    }

    /// Nothing: what the node's engine counts is at the node's operations address.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.read(|| v1::GetRequest::from(key)).await?.try_into()
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        self.check_size(&v1::GetManyRequest::from(keys))?;
        let answer = self.read(|| v1::GetManyRequest::from(keys)).await?;
        let view = View::<Vec<Option<Record>>>::try_from(answer)?;
        if view.data.len() != keys.len() {
            return Err(malformed("node sent another number of records than was asked for")
                .with("asked", keys.len())
                .with("received", view.data.len()));
        }
        Ok(view)
    }

    /// Opens a scan. Opening is repeated like every read; a scan that was opened never is.
    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        let message = v1::ScanRequest::from(scan);
        self.check_size(&message)?;
        let deadline = Deadline::after(self.timeout);
        repeat(&self.shared.retry, deadline, || {
            let message = message.clone();
            Some(async {
                let mut kv = self.kv(self.wire()?);
                let open = |request| async move { kv.scan(request).await };
                let parts = attempt(Call::Read, deadline, Tell::Nothing, message, open).await?;
                let mut parts = ScanParts::new(parts, self.timeout, self.shared.closing.clone());
                match deadline.bound(parts.next()).await? {
                    ScanPart::Start(version) => Ok(View { version, data: parts.into_entries() }),
                    _ => Err(malformed("scan has no beginning")),
                }
            })
        })
        .await
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        // Counted before the wire is asked for: `close` takes the wire away, then waits for the count.
        let _counted = self.shared.writes.token();
        let lane = options.wait.map(|_| self.lane()).transpose()?;
        let way = self.write_way(lane.as_ref())?;
        let waits = Waits::of(&options);
        let deadline = Deadline::after(self.timeout.saturating_add(waits.for_conditions()));
        let numbered = self.shared.sessions.as_ref().filter(|_| options.stamp.is_none());
        let numbered = numbered.map(|sessions| match lane {
            Some(_) => &self.shared.waiting_sessions,
            None => sessions,
        });
        let mut message = v1::WriteRequest::from((batch, options));
        if numbered.is_some() {
            // The longest there is: each attempt has another.
            let stamp =
                v1::Stamp { session: u64::MAX, sequence: u64::MAX, life: u64::MAX, acknowledged: u64::MAX };
            message.options.get_or_insert_default().stamp = Some(stamp);
        }
        self.check_size(&message)?;
        if let Some(sessions) = numbered {
            // The connection is its own: `close` waits until it knows what became of it.
            let link = Link::new(way);
            return Writing::new(sessions, &self.shared.retry, link, message, waits, deadline).run().await;
        }
        let mut first = true;
        let answer = repeat(&self.shared.retry, deadline, || {
            if !first && waits.turn_is_over() {
                return None;
            }
            first = false;
            let mut message = message.clone();
            waits.tell(&mut message);
            let lane = lane.as_ref();
            Some(async move { self.write_way(lane)?.ask(message, deadline).await })
        });
        answer.await?.try_into()
    }

    /// Watches once: what breaks off ends with [`Unavailable`](ErrorKind::Unavailable), and
    /// [`subscribe`](Client::subscribe) goes on instead. Opening is repeated like every read.
    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        let open = self.open_watch(&watch).await?;
        Ok(View { version: open.version(), data: open.into_events() })
    }

    /// Opens a session of the caller's own. An answer that is lost leaves one behind that nobody knows, and
    /// which ends when it was idle.
    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        let request = v1::OpenSessionRequest::from(options);
        self.read(|| request).await?.try_into()
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        let request = v1::ResumeSessionRequest { session: id.get() };
        self.read(|| request).await?.session.map(TryInto::try_into).transpose()
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        let request = v1::EndSessionRequest { session: id.get() };
        self.read(|| request).await.map(|_| ())
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        let request = v1::SettleRequest { stamp: Some(stamp.into()) };
        self.read(|| request).await?.try_into()
    }

    async fn time(&self) -> Result<SystemTime> {
        self.read(|| v1::TimeRequest {}).await?.try_into()
    }

    /// Sends a view to the node, which restores it. Never repeated: the view is read only once.
    ///
    /// The timeout bounds each step and not the whole, and it is no shorter than the node's own patience
    /// with a stream, [`scan_idle`](rdb_engine_api::Limits::scan_idle).
    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        if !self.shared.info.capabilities.restore {
            return Err(Error::new(ErrorKind::Unsupported, "node's engine has no restore"));
        }
        let _counted = self.shared.writes.token();
        let mut kv = self.kv(self.wire()?);
        let upload = Upload::new(self.shared.closing.clone());
        let messages = upload.messages(view);
        let patience = self.timeout.max(self.shared.info.limits.scan_idle);
        upload.answered(patience, async move { kv.restore(messages).await }).await
    }

    /// Waits for the writes of this client and its clones, ends their scans, watches and session, and lets the
    /// connection go. What is asked of any of them afterwards answers [`Closed`](ErrorKind::Closed). The node
    /// goes on.
    async fn close(&self) -> Result<()> {
        let lanes = self.shared.lanes.write().take();
        self.shared.closing.cancel();
        self.shared.writes.close();
        self.shared.writes.wait().await;
        if let Some(lanes) = lanes {
            let link = Link::new(Way::alone(lanes, self.max_message_bytes()));
            join_all(self.shared.left_to_end().map(|session| once::end(link.clone(), session))).await;
        }
        Ok(())
    }
}

impl Shared {
    fn left_to_end(&self) -> impl Iterator<Item = NonZeroU64> + '_ {
        self.sessions.iter().chain([&self.waiting_sessions]).filter_map(Sessions::take)
    }
}

/// Ends the session in the background: programs that do not close their clients would leave the node with more
/// sessions than it keeps.
impl Drop for Shared {
    fn drop(&mut self) {
        let Some(lanes) = self.lanes.get_mut().take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            let link = Link::new(Way::alone(lanes, *self.max_message_bytes.get_mut()));
            for session in self.left_to_end() {
                runtime.spawn(once::end(link.clone(), session));
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &format_args!("{}", self.shared.dialer))
            .field("engine", &self.shared.info.name)
            .field("timeout", &self.timeout)
            .field("closed", &self.shared.closing.is_cancelled())
            .finish()
    }
}

fn message_bytes(told: u64) -> usize {
    usize::try_from(told).unwrap_or(usize::MAX)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "client is closed")
}
