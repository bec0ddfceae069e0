use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rdb_engine_api::{Error, Result};
use rdb_proto::pd::v1;

use crate::scan::malformed;

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreInfo {
    /// Where it serves: host and port, as clients are to dial it.
    pub address: String,
    /// The name of its engine.
    pub engine: String,
    /// The version of its node.
    pub server_version: String,
    /// Whether all it holds is gone with its process. Such a store comes back as another one.
    pub is_volatile: bool,
}

impl StoreInfo {
    /// A store at this address, with an engine that keeps what it holds.
    pub fn new(
        address: impl Into<String>,
        engine: impl Into<String>,
        server_version: impl Into<String>,
    ) -> Self {
        let (address, engine, server_version) = (address.into(), engine.into(), server_version.into());
        Self { address, engine, server_version, is_volatile: false }
    }

    /// Whether all it holds is gone with its process.
    #[must_use]
    pub const fn volatile(mut self, is_volatile: bool) -> Self {
        self.is_volatile = is_volatile;
        self
    }
}

impl From<StoreInfo> for v1::StoreInfo {
    fn from(info: StoreInfo) -> Self {
        let StoreInfo { address, engine, server_version, is_volatile } = info;
        Self { address, engine, server_version, is_volatile }
    }
}

impl From<v1::StoreInfo> for StoreInfo {
    fn from(info: v1::StoreInfo) -> Self {
        let v1::StoreInfo { address, engine, server_version, is_volatile } = info;
        Self { address, engine, server_version, is_volatile }
    }
}

/// Who a store is, when it registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreIdentity {
    /// Nobody yet.
    New {
        /// A number drawn at random, kept with the store's data before it is sent; never 0. However often it is
        /// sent, it makes one store.
        token: u64,
    },
    /// A store of a cluster.
    Member {
        /// The cluster.
        cluster_id: u64,
        /// Its id there.
        store_id: u64,
    },
}

impl StoreIdentity {
    /// The cluster that the store belongs to, if it does.
    pub const fn cluster_id(self) -> Option<u64> {
        match self {
            Self::New { .. } => None,
            Self::Member { cluster_id, .. } => Some(cluster_id),
        }
    }
}

/// What became of a store that registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The cluster that it is part of.
    pub cluster_id: u64,
    /// Its id there, which it keeps for ever.
    pub store_id: u64,
    /// How often it should send a heartbeat.
    pub heartbeat_interval: Duration,
}

impl TryFrom<v1::RegisterResponse> for Registration {
    type Error = Error;

    fn try_from(answer: v1::RegisterResponse) -> Result<Self> {
        let v1::RegisterResponse { cluster_id, store_id, heartbeat_interval_ms } = answer;
        if cluster_id == 0 || store_id == 0 {
            return Err(malformed("placement driver registered a store as nobody"));
        }
        Ok(Self { cluster_id, store_id, heartbeat_interval: Duration::from_millis(heartbeat_interval_ms) })
    }
}

/// What a store is doing, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreActivity {
    /// It takes requests.
    Serving,
    /// It is shutting down.
    Leaving,
    /// Its engine has stopped by itself (C11): it answers reads at most.
    EngineClosed,
}

impl From<StoreActivity> for v1::StoreActivity {
    fn from(activity: StoreActivity) -> Self {
        match activity {
            StoreActivity::Serving => Self::Serving,
            StoreActivity::Leaving => Self::Leaving,
            StoreActivity::EngineClosed => Self::EngineClosed,
        }
    }
}

/// How the placement driver sees a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreState {
    /// Its last heartbeat says that it takes requests.
    Up,
    /// Its last heartbeat says that it is shutting down.
    Leaving,
    /// Its engine has stopped by itself (C11).
    EngineClosed,
    /// It has not sent a heartbeat for several intervals, or not since the placement driver started.
    Silent,
    /// It was volatile and has been replaced by another one.
    Replaced,
}

impl fmt::Display for StoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Leaving => "leaving",
            Self::EngineClosed => "engine_closed",
            Self::Silent => "silent",
            Self::Replaced => "replaced",
        })
    }
}

/// A store of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Store {
    /// Its id; never 0.
    pub id: u64,
    /// What it said of itself when it last registered.
    pub info: StoreInfo,
    /// How the placement driver sees it.
    pub state: StoreState,
    /// How long ago its last heartbeat was; none where there was none since the placement driver started.
    pub silent_for: Option<Duration>,
}

impl TryFrom<v1::Store> for Store {
    type Error = Error;

    fn try_from(store: v1::Store) -> Result<Self> {
        let state = match v1::StoreState::try_from(store.state) {
            Ok(v1::StoreState::Up) => StoreState::Up,
            Ok(v1::StoreState::Leaving) => StoreState::Leaving,
            Ok(v1::StoreState::EngineClosed) => StoreState::EngineClosed,
            Ok(v1::StoreState::Silent) => StoreState::Silent,
            Ok(v1::StoreState::Replaced) => StoreState::Replaced,
            Ok(v1::StoreState::Unspecified) | Err(_) => {
                return Err(malformed("store is in an unknown state").with("number", store.state));
            }
        };
        let info = store.info.ok_or_else(|| malformed("placement driver does not say what a store is"))?;
        let silent_for = store.silent_ms.map(Duration::from_millis);
        Ok(Self { id: store.store_id, info: info.into(), state, silent_for })
    }
}

/// A key range and the store that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// The first key of the range; empty for the first there is.
    pub start: Bytes,
    /// The key behind the last; empty for no end.
    pub end: Bytes,
    /// Grows whenever the range, or the store that has it, changes.
    pub epoch: u64,
    /// The store that has it.
    pub store: Store,
}

impl TryFrom<v1::LocateResponse> for Location {
    type Error = Error;

    fn try_from(answer: v1::LocateResponse) -> Result<Self> {
        let store = answer.store.ok_or_else(|| malformed("placement driver located a key nowhere"))?;
        Ok(Self { start: answer.start, end: answer.end, epoch: answer.epoch, store: store.try_into()? })
    }
}
