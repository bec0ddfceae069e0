use rdb_engine_api::{Commit, Error, ErrorKind};

use super::write::to_commit;
use super::{ScanPart, malformed, missing, unknown};
use crate::kv::v1::{self, restore_request as wire, scan_response as scan};

impl From<ScanPart> for v1::RestoreRequest {
    fn from(part: ScanPart) -> Self {
        let part = v1::ScanResponse::from(part).part.map(|part| match part {
            scan::Part::Start(start) => wire::Part::Start(start),
            scan::Part::Chunk(chunk) => wire::Part::Chunk(chunk),
            scan::Part::End(end) => wire::Part::End(end),
        });
        Self { part }
    }
}

impl TryFrom<v1::RestoreRequest> for ScanPart {
    type Error = Error;

    fn try_from(request: v1::RestoreRequest) -> Result<Self, Error> {
        let part = match request.part.ok_or_else(|| missing("part"))? {
            wire::Part::Start(start) => scan::Part::Start(start),
            wire::Part::Chunk(chunk) => scan::Part::Chunk(chunk),
            wire::Part::End(end) => scan::Part::End(end),
        };
        Self::try_from(v1::ScanResponse { part: Some(part) }).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, "request holds a malformed part").because(error)
        })
    }
}

impl From<Commit> for v1::RestoreResponse {
    fn from(commit: Commit) -> Self {
        Self { commit: Some(commit.into()) }
    }
}

impl TryFrom<v1::RestoreResponse> for Commit {
    type Error = Error;

    fn try_from(response: v1::RestoreResponse) -> Result<Self, Error> {
        response.commit.ok_or_else(|| malformed("commit")).and_then(to_commit).map_err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rdb_engine_api::{Durability, Entry, Key, Record, Version};

    #[test]
    fn the_parts_of_a_restore_and_its_answer_survive_the_wire() {
        let record = Record::new(Bytes::from_static(b"v"), Version::MIN);
        let entries = vec![Entry::new(Key::new("k").unwrap(), Some(record))];
        for part in [ScanPart::Start(Version::MIN), ScanPart::Chunk(entries), ScanPart::End { entries: 1 }] {
            assert_eq!(ScanPart::try_from(v1::RestoreRequest::from(part.clone())).unwrap(), part);
        }
        let commit = Commit { version: Version::MIN, durability: Durability::Synced };
        assert_eq!(Commit::try_from(v1::RestoreResponse::from(commit)).unwrap(), commit);
    }

    #[test]
    fn a_malformed_part_is_the_senders_fault_and_a_malformed_answer_tells_nothing() {
        let start = wire::Part::Start(scan::Start { version: 0 });
        for part in [None, Some(start), Some(wire::Part::Chunk(scan::Chunk { entries: Vec::new() }))] {
            let error = ScanPart::try_from(v1::RestoreRequest { part }).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        let error = Commit::try_from(v1::RestoreResponse { commit: None }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown);
    }
}
