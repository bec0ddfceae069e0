use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, encode_varint, encoded_len_varint, message, skip_field};
use rdb_engine_api::{Entry, Record};

use crate::convert::to_epoch_ms;
use crate::kv::v1;

/// The message `ScanResponse.Chunk`, with the entries as what they are rather than as messages: a scan has many,
/// and each would be turned into a message and back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// Entries in the order of the scan; at least one.
    pub entries: Vec<Entry>,
    /// What is wrong with the first entry that makes no sense, where one was received.
    pub(crate) malformed: Option<String>,
}

/// The tags of fields whose lengths come before them: `Chunk.entries`, `Entry.key`, `Record.value`.
const FIRST: u8 = 1 << 3 | WireType::LengthDelimited as u8;
/// `Entry.record`.
const RECORD: u8 = 2 << 3 | WireType::LengthDelimited as u8;
/// `Record.version`.
const VERSION: u8 = 2 << 3 | WireType::Varint as u8;
/// `Record.expires_at_ms`.
const EXPIRES: u8 = 3 << 3 | WireType::Varint as u8;

impl prost::Message for Chunk {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        for entry in &self.entries {
            put_head(FIRST, entry_len(entry), buffer);
            put_head(FIRST, entry.key.len(), buffer);
            buffer.put_slice(entry.key.as_bytes());
            let Some(record) = &entry.record else { continue };
            put_head(RECORD, record_len(record), buffer);
            if !record.value.is_empty() {
                put_head(FIRST, record.value.len(), buffer);
                buffer.put_slice(&record.value);
            }
            buffer.put_u8(VERSION);
            encode_varint(record.version.get(), buffer);
            if let Some(expires_at) = record.expires_at {
                buffer.put_u8(EXPIRES);
                encode_varint(to_epoch_ms(expires_at) as u64, buffer);
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != 1 {
            return skip_field(wire_type, tag, buffer, context);
        }
        let mut entry = v1::Entry::default();
        message::merge(wire_type, &mut entry, buffer, context)?;
        match Entry::try_from(entry) {
            Ok(entry) => self.entries.push(entry),
            Err(error) => {
                self.malformed.get_or_insert_with(|| error.report().to_string());
            }
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.entries.iter().map(|entry| field_len(entry_len(entry))).sum()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

fn put_head(tag: u8, length: usize, buffer: &mut impl BufMut) {
    buffer.put_u8(tag);
    encode_varint(length as u64, buffer);
}

/// A field whose length comes before it.
fn field_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn entry_len(entry: &Entry) -> usize {
    // Never empty, so that the field is never left out.
    field_len(entry.key.len()) + entry.record.as_ref().map_or(0, |record| field_len(record_len(record)))
}

fn record_len(record: &Record) -> usize {
    let value = if record.value.is_empty() { 0 } else { field_len(record.value.len()) };
    let expires_at = record.expires_at.map_or(0, |end| 1 + encoded_len_varint(to_epoch_ms(end) as u64));
    value + 1 + encoded_len_varint(record.version.get()) + expires_at
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use prost::Message;
    use rdb_engine_api::{Key, Version};

    use super::*;

    /// As the definitions say, and other languages read it.
    #[derive(Clone, PartialEq, Message)]
    struct Plain {
        #[prost(message, repeated, tag = "1")]
        entries: Vec<v1::Entry>,
    }

    fn entries() -> Vec<Entry> {
        let mut entries = Vec::new();
        for length in [0, 1, 127, 128, 20_000] {
            for (version, expires) in [(1, None), (u64::MAX, Some(0)), (1 << 40, Some(1_700_000_000_001))] {
                let mut record = Record::new(vec![7; length].into(), Version::new(version).unwrap());
                record.expires_at = expires.map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
                entries.push(Entry::new(Key::new(vec![b'k'; length % 4096 + 1]).unwrap(), Some(record)));
            }
        }
        entries.push(Entry::new(Key::new("alone").unwrap(), None));
        entries
    }

    #[test]
    fn the_bytes_are_those_of_the_message_that_is_defined() {
        let plain = Plain { entries: entries().into_iter().map(Into::into).collect() };
        let chunk = Chunk { entries: entries(), malformed: None };
        assert_eq!(chunk.encoded_len(), plain.encoded_len());
        assert_eq!(chunk.encode_to_vec(), plain.encode_to_vec());
        assert_eq!(Chunk::decode(&plain.encode_to_vec()[..]).unwrap(), chunk);
    }

    #[test]
    fn values_are_slices_of_what_was_received() {
        let sent: Bytes = Chunk { entries: entries(), malformed: None }.encode_to_vec().into();
        let span = sent.as_ptr_range();
        for entry in Chunk::decode(sent.clone()).unwrap().entries {
            assert!(span.contains(&entry.key.as_bytes().as_ptr()));
            let value = entry.record.map(|record| record.value).unwrap_or_default();
            assert!(value.is_empty() || span.contains(&value.as_ptr()));
        }
    }

    #[test]
    fn an_entry_that_makes_no_sense_is_noted_and_not_taken() {
        let good = v1::Entry::from(entries().remove(0));
        let keyless = v1::Entry { key: Bytes::new(), ..good.clone() };
        let unversioned = v1::Entry { record: Some(v1::Record::default()), ..good.clone() };
        for bad in [keyless, unversioned] {
            let plain = Plain { entries: vec![good.clone(), bad, good.clone()] };
            let chunk = Chunk::decode(&plain.encode_to_vec()[..]).unwrap();
            assert_eq!(chunk.entries.len(), 2);
            assert!(chunk.malformed.is_some());
        }
        assert!(Chunk::decode(&[FIRST, 5, FIRST][..]).is_err(), "cut short");
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        let mut sent = Chunk { entries: entries(), malformed: None }.encode_to_vec();
        sent.extend([2 << 3, 1]);
        assert_eq!(Chunk::decode(&sent[..]).unwrap().entries, entries());
    }
}
