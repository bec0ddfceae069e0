use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::{Batch, Clock, Condition, Error, ErrorKind, MAX_KEY_BYTES, Result};
use rdb_proto::pd::v1;
use rdb_proto::pd::v1::{StoreActivity, StoreState};
use tokio::sync::Mutex;

use crate::cluster::draw;
use crate::heartbeats::Heartbeats;
use crate::placement::{Placement, check_present, ids_used_up, two_nodes, unknown_store};
use crate::rows::{Name, RangeRow, StoreRow, decode_number, encode_number, senseless};
use crate::table::Table;

/// The most ids given at once.
const MAX_IDS: u32 = 1_000_000;
/// The longest address, engine name and version of a store, in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// How often a change is tried that other drivers, or unknown outcomes, get in the way of.
const TRIES: usize = 16;

/// The cluster's stores, its key range, and its ids.
#[derive(Debug)]
pub(crate) struct Registry {
    cluster_id: u64,
    table: Table,
    heartbeats: Heartbeats,
    /// Changes wait for their turn here rather than for each other's conflicts. What keeps them apart is the
    /// compare-and-swap.
    turn: Mutex<()>,
}

impl Registry {
    pub(crate) fn new(cluster_id: u64, table: Table, clock: Arc<dyn Clock>, interval: Duration) -> Self {
        Self { cluster_id, table, heartbeats: Heartbeats::new(clock, interval), turn: Mutex::default() }
    }

    pub(crate) const fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// How often a store should send a heartbeat, in milliseconds.
    pub(crate) fn heartbeat_interval_ms(&self) -> u64 {
        millis(self.heartbeats.interval())
    }

    /// Makes a store part of the cluster, or brings what is known of it up to date. Returns its id.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a store of another cluster, one that was never
    /// registered here, one that has been replaced or is up at another address, and what makes no sense.
    pub(crate) async fn register(&self, request: v1::RegisterRequest) -> Result<u64> {
        let v1::RegisterRequest { cluster_id, store_id, info, token } = request;
        match (cluster_id, store_id) {
            (0, 0) => {}
            (0, _) => return Err(invalid("store has an id but no cluster").with("store", store_id)),
            (_, _) => self.check_cluster(cluster_id)?,
        }
        let mut row = store_row(info.ok_or_else(|| invalid("store says nothing of itself"))?)?;
        // One of our own, so that a try of ours with an unknown outcome is met again.
        row.token = if token == 0 { draw() } else { token };
        let registered = self.change(&Change::Register { store_id, row }).await?;
        self.heartbeats.note(registered, StoreActivity::Serving);
        Ok(registered)
    }

    /// Notes that a store is there.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) as in [`register`](Self::register).
    pub(crate) async fn heartbeat(&self, request: v1::HeartbeatRequest) -> Result<()> {
        self.check_cluster(request.cluster_id)?;
        let activity = match StoreActivity::try_from(request.activity) {
            Ok(StoreActivity::Unspecified) | Err(_) => {
                return Err(invalid("unknown activity of a store").with("activity", request.activity));
            }
            Ok(activity) => activity,
        };
        let id = request.store_id;
        let record = self.table.get(Name::Store(id)).await?.ok_or_else(|| unknown_store(id))?;
        let row = StoreRow::decode_row(&record.value)?;
        check_present(id, &row)?;
        if !request.address.is_empty() && request.address != row.address {
            return Err(two_nodes(id, &row.address));
        }
        self.heartbeats.note(id, activity);
        Ok(())
    }

    /// All stores, in the order of their ids.
    pub(crate) async fn stores(&self) -> Result<Vec<v1::Store>> {
        Ok(self.placement().await?.into_stores().map(|(id, row)| self.seen(id, row)).collect())
    }

    /// The key range that has a key, and the store that has the range.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) while no store has registered.
    pub(crate) async fn locate(&self, request: v1::LocateRequest) -> Result<v1::LocateResponse> {
        if request.key.len() > MAX_KEY_BYTES {
            return Err(invalid("key is too long")
                .with("bytes", request.key.len())
                .with("limit", MAX_KEY_BYTES));
        }
        let Some(range) = self.table.get(Name::Range).await? else {
            return Err(Error::new(ErrorKind::Unavailable, "no store has registered yet"));
        };
        let mut id = RangeRow::decode(&range.value)?.store_id;
        for _ in 0..TRIES {
            let [range, store] = self.table.get_two([Name::Range, Name::Store(id)]).await?;
            let range = RangeRow::decode(&range.ok_or_else(|| senseless("range"))?.value)?;
            if range.store_id != id {
                id = range.store_id; // it has moved between the two reads
                continue;
            }
            let row = StoreRow::decode_row(&store.ok_or_else(|| senseless("range"))?.value)?;
            return Ok(v1::LocateResponse {
                cluster_id: self.cluster_id,
                start: bytes::Bytes::new(),
                end: bytes::Bytes::new(),
                epoch: range.epoch,
                store: Some(self.seen(id, row)),
            });
        }
        Err(busy())
    }

    /// Gives consecutive ids and returns the first. Nobody is given one of them again.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a count that is not 1 to 1,000,000.
    pub(crate) async fn allocate_ids(&self, count: u32) -> Result<u64> {
        if !(1..=MAX_IDS).contains(&count) {
            return Err(invalid("number of ids is out of range").with("count", count).with("most", MAX_IDS));
        }
        self.change(&Change::AllocateIds { count }).await
    }

    /// Looks, works out a batch, and writes it, until nobody has changed in between what it is built on.
    ///
    /// After an unknown outcome it looks again too (C10): what was applied is then seen, and what was not cannot be
    /// any more once the next batch is, since both ask for the same versions.
    async fn change(&self, change: &Change) -> Result<u64> {
        let _turn = self.turn.lock().await;
        let mut unknown = None;
        for _ in 0..TRIES {
            let tried = async {
                let (answer, batch) = self.plan(change).await?;
                let is_done = batch.is_empty() || self.table.write(batch).await?.succeeded();
                Ok::<_, Error>(is_done.then_some(answer))
            };
            match tried.await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {} // a conflict
                Err(error) if error.may_have_been_applied() => unknown = Some(error),
                Err(error) => return Err(unknown.unwrap_or(error)),
            }
        }
        Err(unknown.unwrap_or_else(busy))
    }

    /// Works out what a change is to write, and what it answers then.
    async fn plan(&self, change: &Change) -> Result<(u64, Batch)> {
        match change {
            Change::Register { store_id: 0, row } => self.placement().await?.register_new(row.clone()),
            Change::Register { store_id, row } => {
                let (state, _) = self.heartbeats.state(*store_id);
                let is_there = matches!(state, StoreState::Up | StoreState::EngineClosed);
                Ok((*store_id, self.placement().await?.register_known(*store_id, row.clone(), is_there)?))
            }
            Change::AllocateIds { count } => {
                let record = self.table.get(Name::Ids).await?.ok_or_else(|| senseless("ids"))?;
                let first = decode_number(&record.value, "ids")?;
                let next = first.checked_add(u64::from(*count)).ok_or_else(ids_used_up)?;
                let (key, unchanged) = (Name::Ids.key()?, Condition::Version(record.version));
                Ok((first, Batch::new().when(key.clone(), unchanged).put(key, encode_number(next))))
            }
        }
    }

    async fn placement(&self) -> Result<Placement> {
        Placement::of(self.table.all().await?)
    }

    fn check_cluster(&self, cluster_id: u64) -> Result<()> {
        if cluster_id == self.cluster_id {
            return Ok(());
        }
        Err(invalid("store belongs to another cluster")
            .with("its_cluster", cluster_id)
            .with("this_cluster", self.cluster_id))
    }

    /// A store as the placement driver sees it.
    fn seen(&self, store_id: u64, row: StoreRow) -> v1::Store {
        let (mut state, silence) = self.heartbeats.state(store_id);
        if row.replaced {
            state = StoreState::Replaced;
        }
        let StoreRow { address, engine, server_version, is_volatile, .. } = row;
        v1::Store {
            store_id,
            info: Some(v1::StoreInfo { address, engine, server_version, is_volatile }),
            state: state.into(),
            silent_ms: silence.map(millis),
        }
    }
}

/// What is to become of the rows.
#[derive(Debug)]
enum Change {
    /// Answered with the store's id.
    Register { store_id: u64, row: StoreRow },
    /// Answered with the first of the ids.
    AllocateIds { count: u32 },
}

/// Checks what a store says of itself.
fn store_row(info: v1::StoreInfo) -> Result<StoreRow> {
    let v1::StoreInfo { address, engine, server_version, is_volatile } = info;
    for (name, text) in [("address", &address), ("engine", &engine), ("server_version", &server_version)] {
        if text.len() > MAX_TEXT_BYTES {
            return Err(invalid("text of a store is too long")
                .with("text", name)
                .with("limit", MAX_TEXT_BYTES));
        }
    }
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    if port.and_then(|port| port.parse().ok()).is_none_or(|port: u16| port == 0) {
        return Err(
            invalid("address of a store is not a host and a port").with("address", address.escape_debug())
        );
    }
    Ok(StoreRow { address, engine, server_version, is_volatile, ..StoreRow::default() })
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "placement driver's state keeps changing")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
