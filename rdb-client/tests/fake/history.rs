//! What a node has to tell those who watch (C16), each operation in a message of its own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use rdb_client::{
    Bytes, Cause, CommittedBatch, CommittedOp, Error, ErrorKind, Key, Previous, Record, Version,
};
use rdb_proto::kv::v1;
use rdb_proto::{CommitPart, WatchPart, to_status};
use tonic::Status;

type Parts = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

/// How a watch ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// With an error.
    Fail(Error),
    /// As if all were well.
    Finish,
    /// With its connection, which is broken now.
    Cut,
    /// With its connection, some time.
    Hang,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    commits: Mutex<Vec<CommittedBatch>>,
    /// A watch cannot begin before this version.
    oldest: Mutex<u64>,
    /// How the next watches end, and after how many parts; those after them do not.
    ends: Mutex<VecDeque<(usize, End)>>,
    asked: Mutex<Vec<Option<u64>>>,
    open: Arc<()>,
}

pub(crate) fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// A commit that puts as many keys.
pub(crate) fn commit(number: u64, keys: u64) -> CommittedBatch {
    let op = |key| {
        let record = Record::new(Bytes::from_static(b"v"), version(number));
        CommittedOp::new(Key::new(format!("{key:04}")).unwrap(), Some(record), Previous::NotAsked)
    };
    CommittedBatch::new(version(number), Cause::Write, (0..keys).map(op).collect())
}

impl History {
    pub(crate) fn set(&self, commits: impl IntoIterator<Item = CommittedBatch>) {
        *self.commits.lock() = commits.into_iter().collect();
    }

    pub(crate) fn compact(&self, oldest: u64) {
        *self.oldest.lock() = oldest;
    }

    pub(crate) fn end(&self, ends: impl IntoIterator<Item = (usize, End)>) {
        *self.ends.lock() = ends.into_iter().collect();
    }

    /// After which versions was watched.
    pub(crate) fn asked(&self) -> Vec<Option<u64>> {
        self.asked.lock().clone()
    }

    /// How many watches are open.
    pub(crate) fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    pub(crate) fn watch(
        &self,
        request: v1::WatchRequest,
        cut: impl FnOnce() + Send + 'static,
    ) -> Result<Parts, Error> {
        self.asked.lock().push(request.after);
        let oldest = *self.oldest.lock();
        let commits = self.commits.lock().clone();
        let present = commits.last().map_or(1, |commit| commit.version.get()).max(oldest);
        let after = request.after.unwrap_or(present);
        if after < oldest {
            return Err(Error::new(ErrorKind::Compacted, "too old").at(version(oldest)));
        }
        let mut parts = vec![WatchPart::Start(version(after))];
        for commit in commits.into_iter().filter(|commit| commit.version.get() > after) {
            let last = commit.ops.len() - 1;
            parts.extend(commit.ops.into_iter().enumerate().map(|(place, op)| {
                let commit = CommittedBatch::new(commit.version, commit.cause, vec![op]);
                WatchPart::Commits(vec![CommitPart { commit, goes_on: place < last }])
            }));
        }
        parts.push(WatchPart::Progress(version(present.max(after))));
        let end = self.ends.lock().pop_front();
        if let Some((after_parts, _)) = &end {
            parts.truncate(*after_parts);
        }
        let ending = stream::once(async move {
            match end {
                Some((_, End::Fail(error))) => Some(Err(to_status(&error))),
                Some((_, End::Finish)) => None,
                Some((_, End::Cut)) => {
                    cut();
                    std::future::pending().await
                }
                Some((_, End::Hang)) | None => std::future::pending().await,
            }
        });
        let open = Arc::clone(&self.open);
        let parts = stream::iter(parts).map(|part| Ok(part.into()));
        Ok(Box::pin(parts.chain(ending.filter_map(std::future::ready)).inspect(move |_| {
            let _ = &open;
        })))
    }
}
