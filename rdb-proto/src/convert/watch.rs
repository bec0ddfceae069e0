use std::time::Duration;

use rdb_engine_api::{
    Cause, CommittedBatch, CommittedOp, Error, ErrorKind, Key, KeyRange, Previous, Record, Version, Watch,
    WatchEvent,
};

use super::{answered_version, malformed, missing};
use crate::kv::v1::{self, watch_request::Range, watch_response as wire};
use crate::{OVERHEAD_PER_ITEM, SCAN_CHUNK_BYTES};

mod assembly;
#[cfg(test)]
mod tests;

pub use assembly::WatchAssembly;

/// A part of a watch's answer (C16). One `Start` comes first; [`WatchAssembly`] makes events of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchPart {
    /// The version that the watch begins after.
    Start(Version),
    /// Commits in version order, never none.
    Commits(Vec<CommitPart>),
    /// Everything up to this version has been delivered.
    Progress(Version),
}

/// A commit, or a piece of one that is too large for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPart {
    /// The commit, with those of its operations that this message holds, never none.
    pub commit: CommittedBatch,
    /// Whether the next message begins with more of it. Only the last commit of a message does.
    pub goes_on: bool,
}

/// Packs events into as few messages as hold them: small commits share one, a commit that is too large for
/// one is cut. Engines know nothing of messages.
pub fn pack_events(events: impl IntoIterator<Item = WatchEvent>) -> Vec<WatchPart> {
    let mut packer = Packer::default();
    for event in events {
        match event {
            WatchEvent::Commit(commit) => packer.add(commit),
            WatchEvent::Progress(version) => {
                packer.end_message();
                packer.messages.push(WatchPart::Progress(version));
            }
            // Of an engine newer than this wire; a test walks all kinds that there are.
            _ => {}
        }
    }
    packer.end_message();
    packer.messages
}

/// What an event takes of a message, overhead included: no less than its encoding.
pub fn event_bytes(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Commit(commit) => commit_bytes(&commit.ops),
        _ => OVERHEAD_PER_ITEM,
    }
}

fn commit_bytes(ops: &[CommittedOp]) -> usize {
    OVERHEAD_PER_ITEM + ops.iter().map(op_bytes).sum::<usize>()
}

fn op_bytes(op: &CommittedOp) -> usize {
    let value = |record: &Record| OVERHEAD_PER_ITEM + record.value.len();
    let previous = match &op.previous {
        Previous::Record(record) => value(record),
        _ => 0,
    };
    OVERHEAD_PER_ITEM + op.key.len() + op.record.as_ref().map_or(0, value) + previous
}

/// The messages so far, and the one that is being filled.
#[derive(Default)]
struct Packer {
    messages: Vec<WatchPart>,
    commits: Vec<CommitPart>,
    bytes: usize,
}

impl Packer {
    fn add(&mut self, commit: CommittedBatch) {
        // A commit that would fit into a message of its own is not cut to fill up this one.
        if self.bytes + commit_bytes(&commit.ops) > SCAN_CHUNK_BYTES {
            self.end_message();
        }
        let mut ops = commit.ops.into_iter().peekable();
        loop {
            self.bytes += OVERHEAD_PER_ITEM;
            let mut part = Vec::new();
            while let Some(op) =
                ops.next_if(|op| part.is_empty() || self.bytes + op_bytes(op) <= SCAN_CHUNK_BYTES)
            {
                self.bytes += op_bytes(&op);
                part.push(op);
            }
            let goes_on = ops.peek().is_some();
            let commit = CommittedBatch::new(commit.version, commit.cause, part);
            self.commits.push(CommitPart { commit, goes_on });
            if !goes_on {
                return;
            }
            self.end_message();
        }
    }

    fn end_message(&mut self) {
        self.bytes = 0;
        if !self.commits.is_empty() {
            self.messages.push(WatchPart::Commits(std::mem::take(&mut self.commits)));
        }
    }
}

impl From<WatchPart> for v1::WatchResponse {
    fn from(part: WatchPart) -> Self {
        let part = match part {
            WatchPart::Start(version) => wire::Part::Start(wire::Start { version: version.get() }),
            WatchPart::Commits(commits) => {
                wire::Part::Commits(wire::Commits { commits: commits.into_iter().map(Into::into).collect() })
            }
            WatchPart::Progress(version) => wire::Part::Progress(wire::Progress { version: version.get() }),
        };
        Self { part: Some(part) }
    }
}

impl TryFrom<v1::WatchResponse> for WatchPart {
    type Error = Error;

    fn try_from(response: v1::WatchResponse) -> Result<Self, Error> {
        match response.part.ok_or_else(|| malformed("part"))? {
            wire::Part::Start(start) => Ok(Self::Start(answered_version(start.version)?)),
            wire::Part::Commits(wire::Commits { commits }) => {
                let commits = commits.into_iter().map(TryInto::try_into);
                let commits = commits.collect::<Result<Vec<CommitPart>, Error>>()?;
                let Some((_, before)) = commits.split_last() else { return Err(malformed("commits")) };
                if before.iter().any(|commit| commit.goes_on) {
                    return Err(malformed("commit.goes_on"));
                }
                Ok(Self::Commits(commits))
            }
            wire::Part::Progress(progress) => Ok(Self::Progress(answered_version(progress.version)?)),
        }
    }
}

impl From<CommitPart> for wire::Commit {
    fn from(part: CommitPart) -> Self {
        let cause = match part.commit.cause {
            Cause::Write => wire::Cause::Write,
            Cause::Expiry => wire::Cause::Expiry,
            // Newer than this wire: refused by whoever reads it.
            _ => wire::Cause::Unspecified,
        };
        Self {
            version: part.commit.version.get(),
            cause: cause.into(),
            ops: part.commit.ops.into_iter().map(Into::into).collect(),
            goes_on: part.goes_on,
        }
    }
}

impl TryFrom<wire::Commit> for CommitPart {
    type Error = Error;

    fn try_from(commit: wire::Commit) -> Result<Self, Error> {
        let cause = match wire::Cause::try_from(commit.cause) {
            Ok(wire::Cause::Write) => Cause::Write,
            Ok(wire::Cause::Expiry) => Cause::Expiry,
            Ok(wire::Cause::Unspecified) | Err(_) => {
                return Err(malformed("commit.cause").with("number", commit.cause));
            }
        };
        if commit.ops.is_empty() {
            return Err(malformed("commit.ops"));
        }
        let ops = commit.ops.into_iter().map(TryInto::try_into).collect::<Result<_, Error>>()?;
        let version = answered_version(commit.version)?;
        Ok(Self { commit: CommittedBatch::new(version, cause, ops), goes_on: commit.goes_on })
    }
}

impl From<CommittedOp> for wire::Op {
    fn from(op: CommittedOp) -> Self {
        use wire::previous::{Absent, Omitted, Previous as Wire};
        let previous = match op.previous {
            Previous::NotAsked => None,
            Previous::Absent => Some(Some(Wire::Absent(Absent {}))),
            Previous::Record(record) => Some(Some(Wire::Record(record.into()))),
            Previous::Omitted => Some(Some(Wire::Omitted(Omitted {}))),
            // Newer than this wire: refused by whoever reads it.
            _ => Some(None),
        };
        Self {
            key: op.key.into_bytes(),
            record: op.record.map(Into::into),
            previous: previous.map(|previous| wire::Previous { previous }),
        }
    }
}

impl TryFrom<wire::Op> for CommittedOp {
    type Error = Error;

    fn try_from(op: wire::Op) -> Result<Self, Error> {
        use wire::previous::{Absent, Omitted, Previous as Wire};
        let key = Key::new(op.key).map_err(|error| malformed("op.key").because(error))?;
        let previous = match op.previous {
            None => Previous::NotAsked,
            Some(previous) => match previous.previous.ok_or_else(|| malformed("op.previous"))? {
                Wire::Absent(Absent {}) => Previous::Absent,
                Wire::Record(record) => Previous::Record(record.try_into()?),
                Wire::Omitted(Omitted {}) => Previous::Omitted,
            },
        };
        Ok(Self::new(key, op.record.map(TryInto::try_into).transpose()?, previous))
    }
}

impl From<Watch> for v1::WatchRequest {
    fn from(watch: Watch) -> Self {
        Self {
            range: Some(Range::Bounds((&watch.range).into())),
            after: watch.after.map(Version::get),
            previous: watch.previous,
            // Rounded down: what is too often stays so.
            progress_ms: Some(u64::try_from(watch.progress.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl TryFrom<v1::WatchRequest> for Watch {
    type Error = Error;

    fn try_from(request: v1::WatchRequest) -> Result<Self, Error> {
        let range = match request.range.ok_or_else(|| missing("range"))? {
            Range::Prefix(prefix) => KeyRange::prefix(prefix),
            Range::Bounds(bounds) => bounds.try_into()?,
        };
        let zero =
            || Error::new(ErrorKind::InvalidArgument, "version is never 0; to watch from now on, set none");
        let mut watch = Self::new(range);
        watch.after = request.after.map(|number| Version::new(number).ok_or_else(zero)).transpose()?;
        watch.previous = request.previous;
        watch.progress = request.progress_ms.map_or(Self::PROGRESS, Duration::from_millis);
        Ok(watch)
    }
}
