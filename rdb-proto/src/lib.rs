//! The FlareDB wire protocol: protobuf definitions, the code generated from them, and the one place that
//! converts between wire and vocabulary.
//!
//! - [`kv::v1`] and [`pd::v1`] hold the messages, clients and services of the packages `flaredb.kv.v1` and
//!   `flaredb.pd.v1`.
//! - Conversions are `From` and `TryFrom` between those messages and [`rdb_engine_api`]'s types. A request
//!   that makes no sense converts to an error of kind `InvalidArgument` or `Unsupported`; an answer that
//!   makes no sense to `Internal`, and to `Unknown` where it answers a write (C10).
//! - [`to_status`] and [`from_status`] carry errors as gRPC codes with details.
//!
//! Byte fields are slices of the receive buffer, on both sides: a short value that is kept for long keeps
//! the whole buffer. The conversions do not copy; whoever keeps what it was sent copies it then, as
//! [`rdb_engine_api::Local`] does when it encodes a record.

mod codec;
mod convert;
mod generated;
mod limits;
mod pipeline_request;
mod status;

pub use convert::{
    CommitPart, ScanPart, WatchAssembly, WatchPart, cut_chunk, event_bytes, number, pack_events,
};
pub use limits::{OVERHEAD_PER_ITEM, SCAN_CHUNK_BYTES, max_message_bytes};
pub use pipeline_request::MAX_COMMANDS;
pub use status::{Call, from_status, to_status};

/// The package `flaredb.kv`.
pub mod kv {
    /// The package `flaredb.kv.v1`: see the comments in its `.proto` files.
    pub mod v1 {
        pub use crate::generated::kv::{
            Answer, Bound, Bounds, Capabilities, Command, Commit, CompareAndSwapRequest,
            CompareAndSwapResponse, Condition, Conflict, DeleteRequest, DeleteResponse, Direction,
            Durability, EndSessionRequest, EndSessionResponse, EngineInfo, Entry, GetManyRequest,
            GetManyResponse, GetRequest, GetResponse, InfoRequest, InfoResponse, Limits, NodeState,
            OpenSessionRequest, OpenSessionResponse, Outcome, PipelineResponse, Projection, Put, PutRequest,
            PutResponse, Record, RestoreRequest, RestoreResponse, ResumeSessionRequest,
            ResumeSessionResponse, ScanRequest, ScanResponse, Session, SettleRequest, SettleResponse, Stamp,
            StatusRequest, StatusResponse, TimeRequest, TimeResponse, WatchRequest, WatchResponse,
            WriteOptions, WriteRequest, WriteResponse, answer, bound, command, condition, get_many_response,
            kv_client, kv_server, node_client, node_server, outcome, restore_request, scan_request,
            scan_response, watch_request, watch_response, write_request,
        };
        pub use crate::pipeline_request::PipelineRequest;
    }
}

/// The package `flaredb.pd`.
pub mod pd {
    /// The package `flaredb.pd.v1`: see the comments in its `.proto` file.
    pub mod v1 {
        pub use crate::generated::pd::{
            AllocateIdsRequest, AllocateIdsResponse, ClusterRequest, ClusterResponse, HeartbeatRequest,
            HeartbeatResponse, LocateRequest, LocateResponse, RegisterRequest, RegisterResponse, Store,
            StoreActivity, StoreInfo, StoreState, StoresRequest, StoresResponse, TimestampsRequest,
            TimestampsResponse, pd_client, pd_server,
        };
    }
}

/// The compiled definitions, comments included, as a serialised `google.protobuf.FileDescriptorSet`: what
/// gRPC reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flaredb.bin"));
