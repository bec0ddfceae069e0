use std::fmt;
use std::time::Duration;

use rdb_engine_api::Result;
use rdb_proto::kv::v1;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::scan::malformed;

/// How a node fares at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Whether it takes requests.
    pub state: NodeState,
    /// How long it has been running.
    pub uptime: Duration,
    /// The connections that are open, ours included.
    pub open_connections: u64,
    /// The requests that are being worked on, this one included.
    pub open_requests: u64,
    /// The scans that are open.
    pub open_scans: u64,
}

impl TryFrom<v1::StatusResponse> for NodeStatus {
    type Error = rdb_engine_api::Error;

    fn try_from(answer: v1::StatusResponse) -> Result<Self> {
        let state = match v1::NodeState::try_from(answer.state) {
            Ok(v1::NodeState::Serving) => NodeState::Serving,
            Ok(v1::NodeState::Draining) => NodeState::Draining,
            Ok(v1::NodeState::EngineClosed) => NodeState::EngineClosed,
            Ok(v1::NodeState::Unspecified) | Err(_) => {
                return Err(malformed("node is in an unknown state").with("number", answer.state));
            }
        };
        Ok(Self {
            state,
            uptime: Duration::from_millis(answer.uptime_ms),
            open_connections: answer.open_connections,
            open_requests: answer.open_requests,
            open_scans: answer.open_scans,
        })
    }
}

/// Whether a node takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It does.
    Serving,
    /// It is shutting down: it finishes what it has begun and takes nothing new.
    Draining,
    /// Its engine is closed, or stopped itself after a failed commit (C11).
    EngineClosed,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::EngineClosed => "engine_closed",
        })
    }
}

/// What a node answers to gRPC's standard health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It takes requests.
    Serving,
    /// It does not.
    NotServing,
    /// It does not say.
    Unknown,
}

impl From<ServingStatus> for Health {
    fn from(status: ServingStatus) -> Self {
        match status {
            ServingStatus::Serving => Self::Serving,
            ServingStatus::NotServing => Self::NotServing,
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => Self::Unknown,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
            Self::Unknown => "unknown",
        })
    }
}
