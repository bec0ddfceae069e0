use rdb_engine_api::{CommittedBatch, Error, Limits, Version, WatchEvent};

use super::{CommitPart, WatchPart, op_bytes};
use crate::OVERHEAD_PER_ITEM;
use crate::convert::malformed;

/// Makes events of the parts of a watch's answer that come after its `Start`: the pieces of a large commit
/// are joined again, so that each commit is delivered whole (C2, C16).
///
/// It holds no more than the pieces of one commit, and no more of them than a node with these limits can
/// send. What a correct node does not send, such as commits that do not ascend, is a malformed answer.
#[derive(Debug)]
pub struct WatchAssembly {
    version: Version,
    pending: Option<CommittedBatch>,
    pending_bytes: usize,
    max_bytes: usize,
}

impl WatchAssembly {
    /// For a watch that begins after a version, of a node with these limits.
    pub fn new(start: Version, limits: &Limits) -> Self {
        // What a batch puts, what that replaces, and what goes with each of them.
        let overhead = limits.max_batch_len.saturating_mul(3 * OVERHEAD_PER_ITEM);
        Self {
            version: start,
            pending: None,
            pending_bytes: 0,
            max_bytes: limits.max_batch_bytes.saturating_mul(2).saturating_add(overhead),
        }
    }

    /// The version up to which everything is in the events that were returned: a watch after it misses
    /// nothing, and gets nothing twice.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Takes the next part, and returns the events that are whole with it, in order; none where a commit goes on.
    ///
    /// # Errors
    /// [`Internal`](rdb_engine_api::ErrorKind::Internal) for an answer that makes no sense. Nothing of that
    /// part is delivered, and nothing that comes after it can be trusted: watch again, after
    /// [`version`](Self::version).
    pub fn take(&mut self, part: WatchPart) -> Result<Vec<WatchEvent>, Error> {
        let before = self.version;
        self.events_of(part).inspect_err(|_| self.version = before)
    }

    fn events_of(&mut self, part: WatchPart) -> Result<Vec<WatchEvent>, Error> {
        match part {
            WatchPart::Start(_) => Err(malformed("start")),
            WatchPart::Progress(version) => {
                if self.pending.is_some() || version < self.version {
                    return Err(malformed("progress.version").with("version", version));
                }
                self.version = version;
                Ok(vec![WatchEvent::Progress(version)])
            }
            WatchPart::Commits(commits) => {
                let mut events = Vec::with_capacity(commits.len());
                for CommitPart { commit, goes_on } in commits {
                    let commit = self.join(commit)?;
                    if goes_on {
                        self.pending = Some(commit);
                    } else if !commit.ops.is_sorted_by(|one, next| one.key < next.key) {
                        return Err(malformed("op.key").with("version", commit.version));
                    } else {
                        (self.version, self.pending_bytes) = (commit.version, 0);
                        events.push(WatchEvent::Commit(commit));
                    }
                }
                Ok(events)
            }
        }
    }

    /// The commit with what came of it before.
    fn join(&mut self, mut part: CommittedBatch) -> Result<CommittedBatch, Error> {
        let begun = self.pending.take();
        let is_next = match &begun {
            None => part.version > self.version,
            Some(begun) => (part.version, part.cause) == (begun.version, begun.cause),
        };
        if !is_next {
            return Err(malformed("commit.version").with("version", part.version));
        }
        self.pending_bytes += part.ops.iter().map(op_bytes).sum::<usize>();
        if self.pending_bytes > self.max_bytes {
            return Err(malformed("commit.ops")
                .with("bytes", self.pending_bytes)
                .with("limit", self.max_bytes));
        }
        Ok(match begun {
            None => part,
            Some(mut begun) => {
                begun.ops.append(&mut part.ops);
                begun
            }
        })
    }
}
