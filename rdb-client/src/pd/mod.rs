mod builder;
mod link;
mod oracle;
mod store;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Key, Result};
use rdb_proto::pd::v1;

use crate::builder::ClientBuilder;
use crate::call::Deadline;
use crate::retry::RetryPolicy;
use crate::scan::malformed;
use crate::timestamp::{Timestamp, Timestamps};

pub use builder::PdBuilder;
pub use store::{Location, Registration, Store, StoreActivity, StoreIdentity, StoreInfo, StoreState};

use link::Link;
use oracle::{MAX_COUNT, Oracle};

/// The placement driver of a cluster: its timestamps, ids and stores.
///
/// Cloning is cheap; clones share one connection, which is made anew when it breaks. Every request has a
/// deadline ([`PdBuilder::timeout`]), and is repeated within it ([`RetryPolicy`]): ids and timestamps that
/// a lost answer took are given to nobody. A placement driver of another cluster that answers in place of the
/// first is refused as [`InvalidArgument`](ErrorKind::InvalidArgument).
#[derive(Clone)]
pub struct Pd {
    link: Arc<Link>,
    oracle: Oracle,
    timeout: Duration,
}

impl Pd {
    /// Prepares a connection.
    pub fn builder() -> PdBuilder {
        PdBuilder::new()
    }

    /// Connects to a placement driver with the default settings.
    ///
    /// # Errors
    /// As [`PdBuilder::connect`].
    pub async fn connect(endpoint: impl Into<String>) -> Result<Self> {
        Self::builder().endpoint(endpoint).connect().await
    }

    pub(crate) async fn open(settings: ClientBuilder) -> Result<Self> {
        let link = Arc::new(Link::open(&settings).await?);
        let oracle = Oracle::start(Arc::clone(&link), settings.timeout);
        Ok(Self { link, oracle, timeout: settings.timeout })
    }

    /// The same, whose requests may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The cluster that it is the placement driver of.
    pub fn cluster_id(&self) -> u64 {
        self.link.cluster_id
    }

    /// The version of the placement driver, as it was when this connected.
    pub fn server_version(&self) -> &str {
        &self.link.server_version
    }

    /// Its addresses, separated by commas.
    pub(crate) fn endpoints(&self) -> String {
        self.link.dialer.to_string()
    }

    /// A timestamp that is greater than every one that was given before this was called, to anyone.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) where none comes in time.
    pub async fn timestamp(&self) -> Result<Timestamp> {
        let mut one = self.timestamps(1).await?;
        one.next().ok_or_else(|| malformed("there is no timestamp"))
    }

    /// Consecutive timestamps, all greater than every one that was given before this was called, to anyone.
    /// 1 to 262,144 at once. Those who wait share messages, so that many tasks may ask for one each.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) where none come in time;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for none or too many.
    pub async fn timestamps(&self, count: u32) -> Result<Timestamps> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Error::new(ErrorKind::InvalidArgument, "cannot ask for so many timestamps at once")
                .with("count", count)
                .with("limit", MAX_COUNT));
        }
        Deadline::after(self.timeout).bound(self.oracle.ask(count)).await
    }

    /// Numbers that nobody else in the cluster is given, now or later. 1 to 1,000,000 at once.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) where no answer comes in time;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for none or too many.
    pub async fn allocate_ids(&self, count: u32) -> Result<Range<u64>> {
        let message = v1::AllocateIdsRequest { count };
        let answer = self.call(message, |mut pd, request| async move { pd.allocate_ids(request).await });
        let v1::AllocateIdsResponse { first, count: given } = answer.await?;
        match first.checked_add(u64::from(count)) {
            Some(end) if first > 0 && given == count => Ok(first..end),
            _ => Err(malformed("placement driver gave other numbers than it was asked for")
                .with("asked", count)
                .with("received", given)),
        }
    }

    /// The stores of the cluster, in the order of their ids.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) where no answer comes in time.
    pub async fn stores(&self) -> Result<Vec<Store>> {
        let answer = self
            .call(v1::StoresRequest {}, |mut pd, request| async move { pd.stores(request).await })
            .await?;
        self.link.check(answer.cluster_id)?;
        answer.stores.into_iter().map(Store::try_from).collect()
    }

    /// The store that has a key.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) while no store has registered, and where no answer comes in
    /// time.
    pub async fn locate(&self, key: &Key) -> Result<Location> {
        self.locate_by(&self.link.retry, key.as_bytes()).await
    }

    /// As [`locate`](Self::locate), without repetition: who connects has the time for one answer.
    pub(crate) async fn locate_once(&self, key: &[u8]) -> Result<Location> {
        self.locate_by(&RetryPolicy::never(), key).await
    }

    async fn locate_by(&self, policy: &RetryPolicy, key: &[u8]) -> Result<Location> {
        let message = v1::LocateRequest { key: bytes::Bytes::copy_from_slice(key) };
        let send = |mut pd: PdClient, request| async move { pd.locate(request).await };
        let answer = self.link.call(policy, self.timeout, message, send).await?;
        self.link.check(answer.cluster_id)?;
        answer.try_into()
    }

    /// Makes a store part of the cluster, or tells where a known one is now.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) where the store belongs to another cluster or was
    /// never registered here; [`Unavailable`](ErrorKind::Unavailable) where no answer comes in time.
    pub async fn register(&self, identity: StoreIdentity, info: StoreInfo) -> Result<Registration> {
        let (cluster_id, store_id, token) = match identity {
            StoreIdentity::New { token } => (0, 0, token),
            StoreIdentity::Member { cluster_id, store_id } => (cluster_id, store_id, 0),
        };
        let message = v1::RegisterRequest { cluster_id, store_id, info: Some(info.into()), token };
        let answer = self.call(message, |mut pd, request| async move { pd.register(request).await });
        let registration = Registration::try_from(answer.await?)?;
        self.link.check(registration.cluster_id)?;
        Ok(registration)
    }

    /// Says that a store of this cluster is there, where it serves as it registered, and what it does; answers how long until the next time.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) where the store is not known, was replaced, or has
    /// registered at another address since;
    /// [`Unavailable`](ErrorKind::Unavailable) where no answer comes in time.
    pub async fn heartbeat(&self, store_id: u64, address: &str, activity: StoreActivity) -> Result<Duration> {
        let message = v1::HeartbeatRequest {
            cluster_id: self.link.cluster_id,
            store_id,
            activity: v1::StoreActivity::from(activity).into(),
            address: address.to_owned(),
        };
        let answer = self.call(message, |mut pd, request| async move { pd.heartbeat(request).await });
        Ok(Duration::from_millis(answer.await?.heartbeat_interval_ms))
    }

    async fn call<Req, Res, Fut>(
        &self,
        message: Req,
        send: impl Fn(PdClient, tonic::Request<Req>) -> Fut,
    ) -> Result<Res>
    where
        Req: Clone,
        Fut: Future<Output = Result<tonic::Response<Res>, tonic::Status>>,
    {
        self.link.call(&self.link.retry, self.timeout, message, send).await
    }
}

type PdClient = v1::pd_client::PdClient<crate::wire::Wire>;

impl fmt::Debug for Pd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pd")
            .field("endpoints", &format_args!("{}", self.link.dialer))
            .field("cluster_id", &self.link.cluster_id)
            .field("timeout", &self.timeout)
            .finish()
    }
}
