//! A node that does as it is told: it hangs, fails, lies, and breaks connections.

#![allow(dead_code)] // each test gives other orders

pub(crate) mod certificates;
pub(crate) mod history;
pub(crate) mod pd;
mod pipeline;
pub(crate) mod relay;
pub(crate) mod table;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use history::History;
use parking_lot::{Mutex, MutexGuard};
use rdb_client::{Client, ClientBuilder, Commit, Durability, EngineInfo, Error, ErrorKind, Outcome, Version};
use rdb_proto::kv::v1::{self, kv_server, node_server};
use rdb_proto::to_status;
use table::Table;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Response, Status, Streaming};

/// What the node does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers as a node should.
    Answer,
    /// Answers with something that makes no sense.
    Nonsense,
    /// Answers with an error of ours.
    Fail(Error),
    /// Answers with a status that is not ours.
    Stranger(Code),
    /// Never answers.
    Hang,
    /// Breaks the connection.
    Cut,
    /// Does it, then breaks the connection instead of an answer.
    Lose,
    /// Does it, and never answers.
    Mute,
    /// Does it, then begins another life, durable or not, instead of an answer.
    Restart(bool),
}

/// What the node does after the parts of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Ends the stream as if all were well.
    Finish,
    /// Sends nothing more.
    Hang,
}

/// A running node and its orders.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    orders: Arc<Orders>,
    address: SocketAddr,
    _stop: Arc<DropGuard>,
}

#[derive(Debug)]
struct Orders {
    /// What to do with the next requests; afterwards, `Answer`.
    acts: Mutex<VecDeque<Act>>,
    /// What to do with the next requests of one kind.
    acts_at: Mutex<HashMap<&'static str, VecDeque<Act>>>,
    /// Sessions and what is written in them; without it, the node declares none.
    table: Option<Mutex<Table>>,
    /// The writes, as they came.
    written: Mutex<Vec<v1::WriteRequest>>,
    scan: Mutex<(Vec<v1::ScanResponse>, After)>,
    arrivals: Mutex<Vec<&'static str>>,
    timeouts: Mutex<Vec<Option<String>>>,
    request_ids: Mutex<Vec<Option<String>>>,
    waits: Mutex<Vec<Option<u64>>>,
    history: History,
    pipelines: pipeline::Counts,
    scans_open: Arc<()>,
    restores: AtomicUsize,
    /// Breaks the connections of the present.
    cut: Mutex<CancellationToken>,
}

impl Fake {
    /// Starts a node. Clients reach it through a relay, so that connections can be broken.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts a node that has sessions.
    pub(crate) async fn with_sessions() -> Self {
        Self::start_with(Some(Table::default())).await
    }

    pub(crate) async fn start_with(table: Option<Table>) -> Self {
        let orders = Arc::new(Orders {
            acts: Mutex::default(),
            acts_at: Mutex::default(),
            table: table.map(Mutex::new),
            written: Mutex::default(),
            scan: Mutex::new((Vec::new(), After::Finish)),
            arrivals: Mutex::default(),
            timeouts: Mutex::default(),
            request_ids: Mutex::default(),
            waits: Mutex::default(),
            history: History::default(),
            pipelines: pipeline::Counts::default(),
            scans_open: Arc::default(),
            restores: AtomicUsize::new(0),
            cut: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (behind, address) = (node.local_addr().unwrap(), relay.local_addr().unwrap());
        let serve = tonic::transport::Server::builder()
            .add_service(kv_server::KvServer::new(Service(Arc::clone(&orders))))
            .add_service(node_server::NodeServer::new(Service(Arc::clone(&orders))))
            .serve_with_incoming(TcpListenerStream::new(node));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
        let relayed = Arc::clone(&orders);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((mut client, _)) = relay.accept().await {
                let cut = relayed.cut.lock().clone();
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }));
            }
        }));
        Self { orders, address, _stop: Arc::new(stop.drop_guard()) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        // The same tests, compiled once more (`client_unary.rs`).
        let pipelines = if env!("CARGO_CRATE_NAME").ends_with("_unary") { 0 } else { 1 };
        Client::builder().endpoint(self.address()).timeout(Duration::from_secs(10)).pipelines(pipelines)
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder().connect().await.unwrap()
    }

    /// Orders what to do with the next requests.
    pub(crate) fn order(&self, acts: impl IntoIterator<Item = Act>) {
        *self.orders.acts.lock() = acts.into_iter().collect();
        self.orders.request_ids.lock().clear();
        self.orders.arrivals.lock().clear();
    }

    /// Orders what to do with the next requests of one kind.
    pub(crate) fn order_at(&self, name: &'static str, acts: impl IntoIterator<Item = Act>) {
        self.orders.acts_at.lock().insert(name, acts.into_iter().collect());
        self.orders.arrivals.lock().clear();
    }

    /// What the node keeps of sessions.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.orders.table.as_ref().unwrap().lock()
    }

    /// The kinds of the requests since the last order, as they came.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.orders.arrivals.lock().clone()
    }

    /// The stamps of all writes, as they came.
    pub(crate) fn stamps(&self) -> Vec<Option<v1::Stamp>> {
        let stamp = |write: &v1::WriteRequest| write.options.as_ref().and_then(|options| options.stamp);
        self.orders.written.lock().iter().map(stamp).collect()
    }

    /// How long all writes were to wait for their conditions, in milliseconds, as they came.
    pub(crate) fn condition_waits(&self) -> Vec<Option<u64>> {
        let wait = |write: &v1::WriteRequest| write.options.as_ref()?.condition_wait_ms;
        self.orders.written.lock().iter().map(wait).collect()
    }

    /// Delivers a write once more, as a network may that kept a copy.
    pub(crate) fn deliver_again(&self, place: usize) -> Result<Outcome, Error> {
        let write = self.orders.written.lock()[place].clone();
        let (batch, options) = write.try_into().unwrap();
        self.table().write(batch, &options)
    }

    /// Orders what to answer to every scan.
    pub(crate) fn order_scan(&self, parts: Vec<rdb_proto::ScanPart>, after: After) {
        *self.orders.scan.lock() = (parts.into_iter().map(Into::into).collect(), after);
        self.orders.arrivals.lock().clear();
    }

    /// Breaks the connections that there are.
    pub(crate) fn cut(&self) {
        self.orders.cut();
    }

    /// How many requests arrived since the last order.
    pub(crate) fn arrivals(&self) -> usize {
        self.orders.arrivals.lock().len()
    }

    /// The deadlines that requests told, as they came.
    pub(crate) fn timeouts(&self) -> Vec<Option<String>> {
        self.orders.timeouts.lock().clone()
    }

    /// The ids of the requests, as they came.
    pub(crate) fn request_ids(&self) -> Vec<Option<String>> {
        self.orders.request_ids.lock().clone()
    }

    /// The waits that writes told, in milliseconds.
    pub(crate) fn waits(&self) -> Vec<Option<u64>> {
        self.orders.waits.lock().clone()
    }

    /// What the node has to tell those who watch.
    pub(crate) fn history(&self) -> &History {
        &self.orders.history
    }

    /// How many restores have begun.
    pub(crate) fn restores(&self) -> usize {
        self.orders.restores.load(Ordering::SeqCst)
    }

    /// How many scans the node has open.
    pub(crate) fn scans_open(&self) -> usize {
        Arc::strong_count(&self.orders.scans_open) - 1
    }
}

/// Waits until something holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it never came to hold");
}

#[derive(Clone)]
struct Service(Arc<Orders>);

impl Service {
    async fn act<Req, Res>(
        &self,
        name: &'static str,
        request: &Request<Req>,
        good: impl FnOnce() -> Res,
    ) -> Result<Response<Res>, Status>
    where
        Res: Default,
    {
        self.act_or_fail(name, request, || Ok(good())).await
    }

    async fn act_or_fail<Req, Res>(
        &self,
        name: &'static str,
        request: &Request<Req>,
        good: impl FnOnce() -> Result<Res, Error>,
    ) -> Result<Response<Res>, Status>
    where
        Res: Default,
    {
        let told = |name| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        self.0.timeouts.lock().push(told("grpc-timeout"));
        self.0.request_ids.lock().push(told("x-request-id"));
        self.0.arrivals.lock().push(name);
        match self.0.next_act(name) {
            Act::Answer => good().map(Response::new).map_err(|error| to_status(&error)),
            Act::Nonsense => Ok(Response::new(Res::default())),
            Act::Fail(error) => Err(to_status(&error)),
            Act::Stranger(code) => Err(Status::new(code, "stranger")),
            Act::Hang => std::future::pending().await,
            Act::Cut => {
                self.0.cut();
                std::future::pending().await
            }
            Act::Lose => {
                let _ = good();
                self.0.cut();
                std::future::pending().await
            }
            Act::Mute => {
                let _ = good();
                std::future::pending().await
            }
            Act::Restart(is_durable) => {
                let _ = good();
                self.0.table.as_ref().unwrap().lock().restart(is_durable);
                self.0.cut();
                std::future::pending().await
            }
        }
    }
}

impl Service {
    fn in_table<T>(&self, ask: impl FnOnce(&mut Table) -> Result<T, Error>) -> Result<T, Error> {
        match &self.0.table {
            Some(table) => ask(&mut table.lock()),
            None => Err(Error::new(ErrorKind::Unsupported, "node has no sessions")),
        }
    }
}

impl Orders {
    fn next_act(&self, name: &'static str) -> Act {
        let of_its_kind = self.acts_at.lock().get_mut(name).and_then(VecDeque::pop_front);
        of_its_kind.or_else(|| self.acts.lock().pop_front()).unwrap_or(Act::Answer)
    }

    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock()).cancel();
    }
}

fn outcome() -> Outcome {
    Outcome::Committed(Commit { version: Version::MIN, durability: Durability::Synced })
}

#[tonic::async_trait]
impl kv_server::Kv for Service {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let record = v1::Record { value: "v".into(), version: 7, expires_at_ms: None };
        self.act("get", &request, || v1::GetResponse { record: Some(record) }).await
    }

    async fn get_many(
        &self,
        request: Request<v1::GetManyRequest>,
    ) -> Result<Response<v1::GetManyResponse>, Status> {
        let slots = vec![Default::default(); request.get_ref().keys.len()];
        self.act("get_many", &request, || v1::GetManyResponse { version: 7, slots }).await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::PutResponse>, Status> {
        self.act("put", &request, Default::default).await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        self.act("delete", &request, || outcome().into()).await
    }

    async fn compare_and_swap(
        &self,
        request: Request<v1::CompareAndSwapRequest>,
    ) -> Result<Response<v1::CompareAndSwapResponse>, Status> {
        self.act("compare_and_swap", &request, || outcome().into()).await
    }

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        let wait = request.get_ref().options.as_ref().and_then(|options| options.wait_ms);
        self.0.waits.lock().push(wait);
        self.0.written.lock().push(request.get_ref().clone());
        let good = || match &self.0.table {
            None => Ok(outcome().into()),
            Some(table) => {
                let (batch, options) = request.get_ref().clone().try_into()?;
                table.lock().write(batch, &options).map(Into::into)
            }
        };
        self.act_or_fail("write", &request, good).await
    }

    type ScanStream = Pin<Box<dyn Stream<Item = Result<v1::ScanResponse, Status>> + Send>>;

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        self.act("scan", &request, || ()).await?;
        let (parts, after) = self.0.scan.lock().clone();
        let open = Arc::clone(&self.0.scans_open);
        let rest = stream::once(async move {
            match after {
                After::Finish => None,
                After::Hang => std::future::pending().await,
            }
        });
        let parts = stream::iter(parts.into_iter().map(Ok)).chain(rest.filter_map(std::future::ready));
        Ok(Response::new(Box::pin(parts.inspect(move |_| {
            let _ = &open;
        }))))
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let open = |table: &mut Table| Ok(v1::OpenSessionResponse { session: Some(table.open().into()) });
        self.act_or_fail("open_session", &request, || self.in_table(open)).await
    }

    async fn resume_session(
        &self,
        request: Request<v1::ResumeSessionRequest>,
    ) -> Result<Response<v1::ResumeSessionResponse>, Status> {
        let id = request.get_ref().session;
        let resume =
            |table: &mut Table| Ok(v1::ResumeSessionResponse { session: table.resume(id).map(Into::into) });
        self.act_or_fail("resume_session", &request, || self.in_table(resume)).await
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        let id = request.get_ref().session;
        let end = |table: &mut Table| {
            table.end(id);
            Ok(v1::EndSessionResponse {})
        };
        self.act_or_fail("end_session", &request, || self.in_table(end)).await
    }

    async fn settle(
        &self,
        request: Request<v1::SettleRequest>,
    ) -> Result<Response<v1::SettleResponse>, Status> {
        let stamp = request.get_ref().stamp.unwrap().try_into().unwrap();
        let settle = |table: &mut Table| table.settle(stamp).map(Into::into);
        self.act_or_fail("settle", &request, || self.in_table(settle)).await
    }

    async fn time(&self, request: Request<v1::TimeRequest>) -> Result<Response<v1::TimeResponse>, Status> {
        self.act("time", &request, Default::default).await
    }

    type PipelineStream = Pin<Box<dyn Stream<Item = Result<v1::PipelineResponse, Status>> + Send>>;

    async fn pipeline(
        &self,
        request: Request<Streaming<v1::PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        pipeline::serve(self, request.into_inner()).await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.act("watch", &request, || ()).await?;
        let orders = Arc::clone(&self.0);
        let parts = self.0.history.watch(request.into_inner(), move || orders.cut());
        Ok(Response::new(parts.map_err(|error| to_status(&error))?))
    }

    /// What was ordered happens when the end has come.
    async fn restore(
        &self,
        mut request: Request<Streaming<v1::RestoreRequest>>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        self.0.restores.fetch_add(1, Ordering::SeqCst);
        read_to_end(request.get_mut()).await?;
        let commit = Commit { version: Version::MIN, durability: Durability::Synced };
        self.act("restore", &request, || commit.into()).await
    }
}

/// Reads a restore until its client sends its end, or nothing more.
async fn read_to_end(messages: &mut Streaming<v1::RestoreRequest>) -> Result<(), Status> {
    while let Some(message) = messages.message().await? {
        if let rdb_proto::ScanPart::End { .. } = message.try_into().unwrap() {
            return Ok(());
        }
    }
    Err(to_status(&Error::new(ErrorKind::Unavailable, "restore was cut short")))
}

#[tonic::async_trait]
impl node_server::Node for Service {
    async fn info(&self, _: Request<v1::InfoRequest>) -> Result<Response<v1::InfoResponse>, Status> {
        let mut info = EngineInfo::new("fake", 1, Durability::Synced);
        info.capabilities.watch = true;
        info.capabilities.expiry = true;
        info.capabilities.restore = true;
        info.capabilities.sessions = self.0.table.is_some();
        Ok(Response::new(v1::InfoResponse {
            engine: Some((&info).into()),
            server_version: "0.0.0".into(),
            max_message_bytes: rdb_proto::max_message_bytes(&info.limits) as u64,
        }))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let status = v1::StatusResponse { state: 1, uptime_ms: 1_500, ..Default::default() };
        self.act("status", &request, || status).await
    }
}
