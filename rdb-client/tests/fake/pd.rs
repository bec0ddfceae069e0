//! A placement driver that does as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rdb_client::{Error, ErrorKind};
use rdb_proto::pd::v1::{self, pd_server};
use rdb_proto::to_status;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

/// The physical part of the first timestamp.
pub(crate) const EPOCH_MS: u64 = 1_795_417_261_234;

/// What it does with a request for timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Give {
    /// Answers.
    Answer,
    /// Takes the timestamps and ends the stream instead of an answer.
    Lose,
    /// Never answers.
    Hang,
    /// Gives the first ones once more.
    Again,
}

#[derive(Clone)]
pub(crate) struct FakePd {
    state: Arc<State>,
    address: SocketAddr,
    _stop: Arc<DropGuard>,
}

struct State {
    cluster_id: u64,
    stores: Mutex<Vec<v1::Store>>,
    /// How it refuses to say where a key is.
    trouble: Mutex<Option<ErrorKind>>,
    next_timestamp: AtomicU64,
    next_id: AtomicU64,
    gives: Mutex<VecDeque<Give>>,
    /// How many timestamps each message asked for.
    messages: Mutex<Vec<u32>>,
    /// While true, no timestamps are given.
    held: watch::Sender<bool>,
    calls: Mutex<Vec<&'static str>>,
}

impl FakePd {
    pub(crate) async fn start(cluster_id: u64) -> Self {
        let state = Arc::new(State {
            cluster_id,
            stores: Mutex::default(),
            trouble: Mutex::default(),
            next_timestamp: AtomicU64::new(EPOCH_MS << 18),
            next_id: AtomicU64::new(1),
            gives: Mutex::default(),
            messages: Mutex::default(),
            held: watch::Sender::new(false),
            calls: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serve = tonic::transport::Server::builder()
            .add_service(pd_server::PdServer::new(Service(Arc::clone(&state))))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
        Self { state, address, _stop: Arc::new(stop.drop_guard()) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lets the one store be at this address.
    pub(crate) fn place(&self, address: &str) {
        let info = v1::StoreInfo {
            address: address.to_owned(),
            engine: "fake".to_owned(),
            server_version: "0.0.0".to_owned(),
            is_volatile: false,
        };
        *self.state.stores.lock() = vec![v1::Store {
            store_id: 1,
            info: Some(info),
            state: v1::StoreState::Up.into(),
            silent_ms: Some(1_500),
        }];
    }

    /// Does not say any more where a key is, but fails so.
    pub(crate) fn fail(&self, trouble: ErrorKind) {
        *self.state.trouble.lock() = Some(trouble);
    }

    /// Orders what to do with the next requests for timestamps.
    pub(crate) fn order(&self, gives: impl IntoIterator<Item = Give>) {
        *self.state.gives.lock() = gives.into_iter().collect();
    }

    /// Gives no timestamps until told otherwise.
    pub(crate) fn hold(&self, held: bool) {
        self.state.held.send_replace(held);
    }

    /// How many timestamps each message asked for.
    pub(crate) fn messages(&self) -> Vec<u32> {
        self.state.messages.lock().clone()
    }

    /// What was called.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.state.calls.lock().clone()
    }
}

struct Service(Arc<State>);

impl State {
    async fn give(&self, count: u32) -> Option<Result<v1::TimestampsResponse, Status>> {
        self.messages.lock().push(count);
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        let first = self.next_timestamp.fetch_add(u64::from(count), Ordering::SeqCst);
        let give = self.gives.lock().pop_front().unwrap_or(Give::Answer);
        match give {
            Give::Answer => Some(Ok(v1::TimestampsResponse { first, count })),
            Give::Again => Some(Ok(v1::TimestampsResponse { first: EPOCH_MS << 18, count })),
            Give::Lose => None,
            Give::Hang => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl pd_server::Pd for Service {
    async fn cluster(&self, _: Request<v1::ClusterRequest>) -> Result<Response<v1::ClusterResponse>, Status> {
        self.0.calls.lock().push("cluster");
        let (cluster_id, server_version) = (self.0.cluster_id, "0.0.1".to_owned());
        Ok(Response::new(v1::ClusterResponse { cluster_id, server_version }))
    }

    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let v1::RegisterRequest { cluster_id, store_id, info, token: _ } = request.into_inner();
        if cluster_id != 0 && cluster_id != self.0.cluster_id {
            let error = Error::new(ErrorKind::InvalidArgument, "store belongs to another cluster");
            return Err(to_status(&error));
        }
        let store_id = store_id.max(1);
        *self.0.stores.lock() =
            vec![v1::Store { store_id, info, state: v1::StoreState::Up.into(), silent_ms: None }];
        let (cluster_id, heartbeat_interval_ms) = (self.0.cluster_id, 3_000);
        Ok(Response::new(v1::RegisterResponse { cluster_id, store_id, heartbeat_interval_ms }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.cluster_id, self.0.cluster_id);
        let mut stores = self.0.stores.lock();
        match stores.iter_mut().find(|store| store.store_id == request.store_id) {
            Some(store) => store.state = request.activity,
            None => {
                let error = Error::new(ErrorKind::InvalidArgument, "store is not known");
                return Err(to_status(&error));
            }
        }
        Ok(Response::new(v1::HeartbeatResponse { heartbeat_interval_ms: 3_000 }))
    }

    async fn stores(&self, _: Request<v1::StoresRequest>) -> Result<Response<v1::StoresResponse>, Status> {
        let (cluster_id, stores) = (self.0.cluster_id, self.0.stores.lock().clone());
        Ok(Response::new(v1::StoresResponse { cluster_id, stores }))
    }

    async fn allocate_ids(
        &self,
        request: Request<v1::AllocateIdsRequest>,
    ) -> Result<Response<v1::AllocateIdsResponse>, Status> {
        let count = request.into_inner().count;
        let first = self.0.next_id.fetch_add(u64::from(count), Ordering::SeqCst);
        Ok(Response::new(v1::AllocateIdsResponse { first, count }))
    }

    async fn locate(&self, _: Request<v1::LocateRequest>) -> Result<Response<v1::LocateResponse>, Status> {
        self.0.calls.lock().push("locate");
        if let Some(trouble) = *self.0.trouble.lock() {
            return Err(to_status(&Error::new(trouble, "no")));
        }
        let Some(store) = self.0.stores.lock().first().cloned() else {
            return Err(to_status(&Error::new(ErrorKind::Unavailable, "no store has registered")));
        };
        let cluster_id = self.0.cluster_id;
        let location = v1::LocateResponse { cluster_id, epoch: 1, store: Some(store), ..Default::default() };
        Ok(Response::new(location))
    }

    type TimestampsStream =
        Pin<Box<dyn futures::Stream<Item = Result<v1::TimestampsResponse, Status>> + Send>>;

    async fn timestamps(
        &self,
        request: Request<Streaming<v1::TimestampsRequest>>,
    ) -> Result<Response<Self::TimestampsStream>, Status> {
        let (mut asked, state) = (request.into_inner(), Arc::clone(&self.0));
        let (given, answers) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(request)) = asked.message().await {
                match state.give(request.count).await {
                    Some(answer) => given.send(answer).await.unwrap_or_default(),
                    None => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
