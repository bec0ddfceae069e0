use std::collections::{BTreeMap, HashSet, VecDeque};

use rdb_engine_api::Result;
use sled::{Batch, IVec};

use crate::codec::{
    GarbageId, KeyPrefix, MAX_SEQUENCE, Sequence, decode_garbage, decode_value, encode_garbage,
    sequence_of_row,
};
use crate::tree::Tree;
use crate::views::InUse;

/// The most entries in one row of the queue: what a collection may go beyond its budget.
const CHUNK: usize = 64;

/// The versions that no new view can show, to be removed once no open view shows them.
///
/// Each commit writes down what it made obsolete, in its own batch, and collects some of what earlier
/// commits wrote down. The queue's rows are in the tree, so that a crash forgets nothing; only their
/// numbers are in memory.
#[derive(Debug)]
pub(crate) struct Garbage {
    /// Rows to look at, oldest commit first except for those that had to wait.
    ready: VecDeque<GarbageId>,
    /// Rows that an open view holds up, by that view's watermark.
    waiting: BTreeMap<Sequence, Vec<GarbageId>>,
    /// From where on the rows that an earlier process left are still to be found, and behind the last.
    backlog: Option<(Vec<u8>, Vec<u8>)>,
}

impl Garbage {
    /// The queue of a store whose last commit is `recovered`.
    pub(crate) fn recover(recovered: Sequence) -> Self {
        let start = GarbageId { commit: 0, chunk: 0 }.row();
        let end = GarbageId { commit: recovered.saturating_add(1), chunk: 0 }.row();
        Self { ready: VecDeque::new(), waiting: BTreeMap::new(), backlog: Some((start, end)) }
    }

    /// Adds to a commit's batch the removal of obsolete versions, having looked at about `budget` of them
    /// at most, and to `obsolete` what becomes obsolete by that.
    ///
    /// Every commit before this one must be published, and `in_use` taken after that.
    pub(crate) fn collect(
        &mut self,
        tree: &Tree,
        in_use: &InUse,
        budget: usize,
        batch: &mut Batch,
        obsolete: &mut Vec<Vec<u8>>,
    ) -> Result<()> {
        self.wake(in_use);
        self.refill(tree)?;
        let mut collection = Collection { tree, removed: HashSet::new(), obsolete };
        let mut looked_at = 0;
        for _ in 0..self.ready.len() {
            let Some(id) = (looked_at < budget).then(|| self.ready.pop_front()).flatten() else { break };
            let Some(value) = tree.get(&id.row())? else { continue };
            let versions = decode_garbage(&value)?;
            let count = versions.len();
            looked_at += count;
            let (mut kept, mut blocker) = (Vec::new(), None);
            for row in versions {
                match in_use.between(sequence_of_row(&row)?, id.commit) {
                    Some(view) => {
                        blocker = Some(view);
                        kept.push(row);
                    }
                    None => collection.remove(row, batch)?,
                }
            }
            if kept.is_empty() {
                batch.remove(id.row());
            } else if kept.len() < count {
                batch.insert(id.row(), encode_garbage(&kept));
            }
            if let Some(view) = blocker {
                self.waiting.entry(view).or_default().push(id);
            }
        }
        Ok(())
    }

    /// Adds to the batch of `commit` the queue's rows for what it makes obsolete.
    pub(crate) fn record(&self, commit: Sequence, obsolete: &[Vec<u8>], batch: &mut Batch) -> Vec<GarbageId> {
        let ids = (0..).map(|chunk| GarbageId { commit, chunk });
        obsolete
            .chunks(CHUNK)
            .zip(ids)
            .map(|(entries, id)| {
                batch.insert(id.row(), encode_garbage(entries));
                id
            })
            .collect()
    }

    /// The rows in the queue that are known, without those that an earlier process left.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.waiting.values().map(Vec::len).sum::<usize>()
    }

    /// Queues the rows of a commit that is published.
    pub(crate) fn add(&mut self, ids: Vec<GarbageId>) {
        self.ready.extend(ids);
    }

    /// Looks again at rows whose view is closed.
    fn wake(&mut self, in_use: &InUse) {
        let closed: Vec<_> = self.waiting.keys().copied().filter(|view| !in_use.contains(*view)).collect();
        for view in closed {
            self.ready.extend(self.waiting.remove(&view).unwrap_or_default());
        }
    }

    /// Takes up some of what an earlier process left.
    fn refill(&mut self, tree: &Tree) -> Result<()> {
        let Some((start, end)) = self.backlog.take() else { return Ok(()) };
        let mut next = None;
        for row in tree.range(start, end.clone(), false).take(CHUNK) {
            let id = GarbageId::of_row(&row?.0)?;
            self.ready.push_back(id);
            next = Some(GarbageId { chunk: id.chunk + 1, ..id }.row());
        }
        self.backlog = next.map(|start| (start, end));
        Ok(())
    }
}

/// One commit's collection.
struct Collection<'a> {
    tree: &'a Tree,
    /// What the batch removes already.
    removed: HashSet<Vec<u8>>,
    obsolete: &'a mut Vec<Vec<u8>>,
}

impl Collection<'_> {
    /// Removes a version. A mark of removal that is then the last of its key hides nothing from views to
    /// come. But a view that is open now may be on its way backward from that version to the mark: so it
    /// becomes obsolete by this commit, and goes in a later one.
    fn remove(&mut self, row: Vec<u8>, batch: &mut Batch) -> Result<()> {
        batch.remove(&row[..]);
        let (prefix, _) = KeyPrefix::of_row(&row)?;
        self.removed.insert(row.clone());
        if self.first_kept(row.clone(), prefix.end(), false)?.is_none() {
            let newer = self.first_kept(prefix.row(MAX_SEQUENCE), row, true)?;
            if let Some((newer, value)) = newer
                && decode_value(&value)?.is_none()
            {
                self.obsolete.push(newer.to_vec());
            }
        }
        Ok(())
    }

    /// The first row of a range, or the last if `reverse`, that the batch leaves.
    fn first_kept(&self, start: Vec<u8>, end: Vec<u8>, reverse: bool) -> Result<Option<(IVec, IVec)>> {
        for row in self.tree.range(start, end, reverse) {
            let row = row?;
            if !self.removed.contains(&row.0[..]) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
