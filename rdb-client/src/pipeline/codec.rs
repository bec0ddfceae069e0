use std::sync::Arc;

use bytes::Buf as _;
use prost::Message as _;
use rdb_proto::kv::v1::PipelineResponse;
use tokio::time::Instant;
use tonic::Status;
use tonic::codec::{self, DecodeBuf, EncodeBuf};

use super::command::Command;

/// The field of `PipelineRequest`.
const COMMANDS: u32 = 1;

/// Commands that depart together.
pub(super) type Parcel = Vec<Arc<Command>>;

/// Writes commands straight into the message that takes them along.
#[derive(Debug, Default)]
pub(super) struct Codec;

impl codec::Codec for Codec {
    type Encode = Parcel;
    type Decode = PipelineResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl codec::Encoder for Codec {
    type Item = Parcel;
    type Error = Status;

    fn encode(&mut self, parcel: Parcel, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let now = Instant::now();
        for command in parcel {
            command.encode(COMMANDS, now, buffer);
        }
        Ok(())
    }
}

impl codec::Decoder for Codec {
    type Item = PipelineResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<PipelineResponse>, Status> {
        // Taken out first, which copies nothing: from `Bytes` it is read faster, and slices of it cost less.
        let message = buffer.copy_to_bytes(buffer.remaining());
        PipelineResponse::decode(message).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
