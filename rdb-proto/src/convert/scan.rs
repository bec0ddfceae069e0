use std::ops::Bound;

use bytes::Bytes;
use rdb_engine_api::{Direction, Entry, Error, ErrorKind, KeyRange, Projection, Scan, Version};

use super::{answered_version, malformed, missing};
use crate::kv::v1::{self, scan_request::Range, scan_response as wire};
use crate::{OVERHEAD_PER_ITEM, SCAN_CHUNK_BYTES};

/// A part of a scan's answer. One `Start` comes first, one `End` last; a stream without `End` was cut short
/// (C8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanPart {
    /// The version of the view.
    Start(Version),
    /// Entries in scan order, never none.
    Chunk(Vec<Entry>),
    /// The scan is complete: it delivered this many entries.
    End {
        /// How many entries all chunks held together.
        entries: u64,
    },
}

impl From<ScanPart> for v1::ScanResponse {
    fn from(part: ScanPart) -> Self {
        let part = match part {
            ScanPart::Start(version) => wire::Part::Start(wire::Start { version: version.get() }),
            ScanPart::Chunk(entries) => {
                wire::Part::Chunk(wire::Chunk { entries: entries.into_iter().map(Into::into).collect() })
            }
            ScanPart::End { entries } => wire::Part::End(wire::End { entries }),
        };
        Self { part: Some(part) }
    }
}

impl TryFrom<v1::ScanResponse> for ScanPart {
    type Error = Error;

    fn try_from(response: v1::ScanResponse) -> Result<Self, Error> {
        match response.part {
            Some(wire::Part::Start(start)) => Ok(Self::Start(answered_version(start.version)?)),
            Some(wire::Part::Chunk(chunk)) if chunk.entries.is_empty() => Err(malformed("chunk.entries")),
            Some(wire::Part::Chunk(chunk)) => {
                let entries = chunk.entries.into_iter().map(TryInto::try_into);
                Ok(Self::Chunk(entries.collect::<Result<_, Error>>()?))
            }
            Some(wire::Part::End(end)) => Ok(Self::End { entries: end.entries }),
            None => Err(malformed("part")),
        }
    }
}

/// Cuts an engine's chunk into those of messages. Engines know nothing of messages.
pub fn cut_chunk(chunk: Vec<Entry>) -> impl Iterator<Item = Vec<Entry>> {
    let mut rest = chunk;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|entry| {
            bytes += size(entry);
            bytes <= SCAN_CHUNK_BYTES
        });
        // One that is too long for any message has one to itself. A chunk that fits stays as it is.
        let fits = fits.count().max(1).min(rest.len());
        let later = rest.split_off(fits);
        let part = std::mem::replace(&mut rest, later);
        (!part.is_empty()).then_some(part)
    })
}

fn size(entry: &Entry) -> usize {
    OVERHEAD_PER_ITEM + entry.key.len() + entry.record.as_ref().map_or(0, |record| record.value.len())
}

impl From<Scan> for v1::ScanRequest {
    fn from(scan: Scan) -> Self {
        let direction = match scan.direction {
            Direction::Forward => v1::Direction::Forward,
            Direction::Reverse => v1::Direction::Reverse,
        };
        let projection = match scan.projection {
            Projection::Records => v1::Projection::Records,
            Projection::Keys => v1::Projection::Keys,
        };
        Self {
            range: Some(Range::Bounds((&scan.range).into())),
            direction: direction.into(),
            limit: scan.limit,
            projection: projection.into(),
        }
    }
}

impl TryFrom<v1::ScanRequest> for Scan {
    type Error = Error;

    fn try_from(request: v1::ScanRequest) -> Result<Self, Error> {
        let range = match request.range.ok_or_else(|| missing("range"))? {
            Range::Prefix(prefix) => KeyRange::prefix(prefix),
            Range::Bounds(bounds) => bounds.try_into()?,
        };
        let mut scan = Self::new(range);
        scan.limit = request.limit;
        scan.direction = match v1::Direction::try_from(request.direction) {
            Ok(v1::Direction::Unspecified | v1::Direction::Forward) => Direction::Forward,
            Ok(v1::Direction::Reverse) => Direction::Reverse,
            Err(_) => return Err(unknown_number("direction", request.direction)),
        };
        scan.projection = match v1::Projection::try_from(request.projection) {
            Ok(v1::Projection::Unspecified | v1::Projection::Records) => Projection::Records,
            Ok(v1::Projection::Keys) => Projection::Keys,
            Err(_) => return Err(unknown_number("projection", request.projection)),
        };
        Ok(scan)
    }
}

impl From<&KeyRange> for v1::Bounds {
    fn from(range: &KeyRange) -> Self {
        Self { start: from_bound(range.start()), end: from_bound(range.end()) }
    }
}

impl TryFrom<v1::Bounds> for KeyRange {
    type Error = Error;

    fn try_from(bounds: v1::Bounds) -> Result<Self, Error> {
        Ok(Self::new(to_bound(bounds.start)?, to_bound(bounds.end)?))
    }
}

fn from_bound(bound: &Bound<Bytes>) -> Option<v1::Bound> {
    let bound = match bound {
        Bound::Included(bytes) => v1::bound::Bound::Included(bytes.clone()),
        Bound::Excluded(bytes) => v1::bound::Bound::Excluded(bytes.clone()),
        Bound::Unbounded => return None,
    };
    Some(v1::Bound { bound: Some(bound) })
}

fn to_bound(bound: Option<v1::Bound>) -> Result<Bound<Bytes>, Error> {
    let Some(bound) = bound else { return Ok(Bound::Unbounded) };
    match bound.bound.ok_or_else(|| missing("bound"))? {
        v1::bound::Bound::Included(bytes) => Ok(Bound::Included(bytes)),
        v1::bound::Bound::Excluded(bytes) => Ok(Bound::Excluded(bytes)),
    }
}

/// A newer client's number is refused, not taken for the default (C18).
fn unknown_number(field: &'static str, number: i32) -> Error {
    Error::new(ErrorKind::Unsupported, "number is unknown to this server")
        .with("field", field)
        .with("number", number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdb_engine_api::{Key, Record};

    #[test]
    fn every_scan_survives_the_wire() {
        let bounds = || {
            let bytes = Bytes::from_static(b"b");
            [Bound::Unbounded, Bound::Included(bytes.clone()), Bound::Excluded(bytes)]
        };
        for start in bounds() {
            for end in bounds() {
                let scan = Scan::new(KeyRange::new(start.clone(), end));
                for scan in [scan.clone(), scan.clone().reverse(), scan.clone().keys_only(), scan.limit(0)] {
                    assert_eq!(Scan::try_from(v1::ScanRequest::from(scan.clone())).unwrap(), scan);
                }
            }
        }
    }

    #[test]
    fn a_prefix_of_0xff_bytes_is_a_range() {
        let request =
            v1::ScanRequest { range: Some(Range::Prefix(vec![0xff, 0xff].into())), ..Default::default() };
        assert_eq!(Scan::try_from(request).unwrap(), Scan::new(KeyRange::prefix(vec![0xff, 0xff])));
    }

    #[test]
    fn a_scan_without_a_known_range_is_refused() {
        let request = v1::ScanRequest::default();
        assert_eq!(Scan::try_from(request).unwrap_err().kind(), ErrorKind::InvalidArgument);
        let half = v1::Bounds { start: Some(v1::Bound { bound: None }), end: None };
        let request = v1::ScanRequest { range: Some(Range::Bounds(half)), ..Default::default() };
        assert_eq!(Scan::try_from(request).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_newer_clients_numbers_are_unsupported() {
        let all = || Some(Range::Prefix(Bytes::new()));
        let request = v1::ScanRequest { range: all(), direction: 3, ..Default::default() };
        assert_eq!(Scan::try_from(request).unwrap_err().kind(), ErrorKind::Unsupported);
        let request = v1::ScanRequest { range: all(), projection: 3, ..Default::default() };
        assert_eq!(Scan::try_from(request).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_parts_of_an_answer_survive_the_wire() {
        let record = Record::new(Bytes::from_static(b"v"), Version::MIN);
        let key = Key::new("k").unwrap();
        let entries = vec![Entry::new(key.clone(), Some(record)), Entry::new(key, None)];
        for part in [ScanPart::Start(Version::MIN), ScanPart::Chunk(entries), ScanPart::End { entries: 2 }] {
            assert_eq!(ScanPart::try_from(v1::ScanResponse::from(part.clone())).unwrap(), part);
        }
    }

    #[test]
    fn a_part_that_says_nothing_is_malformed() {
        let empty = v1::ScanResponse::from(ScanPart::Chunk(Vec::new()));
        for answer in [v1::ScanResponse::default(), empty] {
            assert_eq!(ScanPart::try_from(answer).unwrap_err().kind(), ErrorKind::Internal);
        }
    }

    fn entry(bytes: usize) -> Entry {
        let record = Record::new(vec![7; bytes].into(), Version::MIN);
        Entry::new(Key::new("k").unwrap(), Some(record))
    }

    #[test]
    fn a_chunk_is_cut_into_messages_in_order_and_without_loss() {
        let most = SCAN_CHUNK_BYTES;
        let sizes = [1, most, 5, most / 2, most / 3, most * 3, 1];
        let parts: Vec<Vec<usize>> = cut_chunk(sizes.map(entry).into())
            .map(|part| part.iter().map(|entry| size(entry) - 1 - OVERHEAD_PER_ITEM).collect())
            .collect();
        let [a, b, c, d, e, f, g] = sizes;
        assert_eq!(parts, [vec![a], vec![b], vec![c, d, e], vec![f], vec![g]]);
    }

    #[test]
    fn an_empty_chunk_makes_no_message() {
        assert_eq!(cut_chunk(Vec::new()).count(), 0);
    }
}
