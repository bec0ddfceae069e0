use bytes::{Buf, BufMut};
use prost::DecodeError;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, message, skip_field};

use crate::kv::v1::Command;

/// The most commands of one message of a pipeline.
pub const MAX_COMMANDS: usize = 1024;

/// The field of the commands.
const COMMANDS: u32 = 1;

/// Commands that were waiting, as `flaredb.kv.v1.PipelineRequest`.
///
/// A command of two bytes takes hundreds in memory, so of a message with more than [`MAX_COMMANDS`] the first of
/// those beyond is read, by which it can be told, and the others are not (C14).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PipelineRequest {
    /// At least one, and no more than [`MAX_COMMANDS`].
    pub commands: Vec<Command>,
}

impl Message for PipelineRequest {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        message::encode_repeated(COMMANDS, &self.commands, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag == COMMANDS && self.commands.len() <= MAX_COMMANDS {
            message::merge_repeated(wire_type, &mut self.commands, buffer, context)
        } else {
            skip_field(wire_type, tag, buffer, context)
        }
    }

    fn encoded_len(&self) -> usize {
        message::encoded_len_repeated(COMMANDS, &self.commands)
    }

    fn clear(&mut self) {
        self.commands.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::v1::{GetRequest, TimeRequest, command::Request};

    fn command(number: u64, request: Request) -> Command {
        Command { number, timeout_ms: Some(5), request_id: "id".to_owned(), request: Some(request) }
    }

    #[test]
    fn commands_survive_and_fields_of_the_future_are_passed_over() {
        let get = Request::Get(GetRequest { key: "key".into() });
        let sent =
            PipelineRequest { commands: vec![command(1, get), command(2, Request::Time(TimeRequest {}))] };
        let mut bytes = sent.encode_to_vec();
        assert_eq!(bytes.len(), sent.encoded_len());
        bytes.extend([0x12, 2, 7, 7]);
        assert_eq!(PipelineRequest::decode(&bytes[..]).unwrap(), sent);
    }

    #[test]
    fn a_message_of_very_many_commands_takes_no_memory_for_them() {
        for (sent, read) in [(MAX_COMMANDS, MAX_COMMANDS), (4 << 20, MAX_COMMANDS + 1)] {
            let message = PipelineRequest::decode(&[0x0a, 0].repeat(sent)[..]).unwrap();
            assert_eq!(message.commands.len(), read);
            assert!(message.commands.capacity() <= 2 * read);
        }
    }
}
