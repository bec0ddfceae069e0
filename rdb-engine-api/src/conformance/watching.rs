use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::timeout;

use super::db::{Db, must};
use crate::{
    CommittedBatch, Error, Key, KeyRange, Previous, Record, Result, Version, Watch, WatchEvent, WatchStream,
};

/// How long the next event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a commit did to each key: the record that it left, or none.
pub(super) type Effect = BTreeMap<Key, Option<Record>>;

/// A watch as the cases use it: whatever it delivers is checked against all that can be said of it without
/// knowing what was written.
pub(super) struct Watching {
    stream: WatchStream,
    range: KeyRange,
    previous: bool,
    /// Everything up to here was delivered.
    pub(super) version: Version,
}

impl Watching {
    /// Opens a watch that has no reason to be refused.
    pub(super) async fn open(db: &Db, watch: Watch) -> Self {
        must(Self::try_open(db, watch).await, "opening a watch")
    }

    pub(super) async fn try_open(db: &Db, watch: Watch) -> Result<Self> {
        let (range, previous, after) = (watch.range.clone(), watch.previous, watch.after);
        let view = db.engine().watch(watch).await?;
        if let Some(after) = after {
            assert_eq!(view.version, after, "a watch begins after the version that it was asked for (C16)");
        }
        Ok(Self { stream: view.data, range, previous, version: view.version })
    }

    /// The next event, or how the watch ended.
    pub(super) async fn event(&mut self) -> Result<WatchEvent> {
        let next = timeout(PATIENCE, self.stream.next()).await;
        let next = next.unwrap_or_else(|_| {
            panic!(
                "a watch tells every commit, and its progress where there is none: nothing came in time (C16)"
            )
        });
        let event = next.unwrap_or_else(|| panic!("a watch ends with an error and never silently (C16)"))?;
        self.check(&event);
        self.version = event.version();
        Ok(event)
    }

    fn check(&self, event: &WatchEvent) {
        let WatchEvent::Commit(commit) = event else {
            let version = event.version();
            assert!(
                version >= self.version,
                "progress never goes back (C16): {version} after {}",
                self.version
            );
            return;
        };
        let (version, last) = (commit.version, self.version);
        assert!(
            version > last,
            "commits come once, in version order, and after no mark of progress beyond them (C16): {version} after {last}"
        );
        assert!(!commit.ops.is_empty(), "a commit that is told touches the range (C16)");
        let ascend = commit.ops.windows(2).all(|pair| pair[0].key < pair[1].key);
        assert!(ascend, "a commit tells each key once, in key order (C16): {:?}", commit.ops);
        for op in &commit.ops {
            let within = self.range.contains(op.key.as_bytes());
            assert!(within, "only watched keys are told (C16): `{}` in {:?}", op.key, self.range);
            let carried = op.record.as_ref().is_none_or(|record| record.version == version);
            assert!(carried, "a record carries its commit's version (C4, C16): {op:?} in {version}");
            let told = op.previous != Previous::NotAsked;
            assert_eq!(told, self.previous, "what was there before is told to whoever asks (C16): {op:?}");
        }
    }

    /// The next commit; marks of progress are passed over.
    pub(super) async fn commit(&mut self) -> CommittedBatch {
        loop {
            if let WatchEvent::Commit(commit) = must(self.event().await, "a watch") {
                return commit;
            }
        }
    }

    /// All commits up to this one, which touches the range.
    pub(super) async fn up_to(&mut self, last: Version) -> Vec<CommittedBatch> {
        let mut commits = Vec::new();
        while self.version < last {
            if let WatchEvent::Commit(commit) = must(self.event().await, "a watch") {
                commits.push(commit);
            }
        }
        commits
    }

    /// Reads on until the watch ends; says how.
    pub(super) async fn end(&mut self) -> Error {
        loop {
            if let Err(error) = self.event().await {
                return error;
            }
        }
    }
}

/// What a commit did to the watched keys.
pub(super) fn effect(commit: &CommittedBatch) -> Effect {
    commit.ops.iter().map(|op| (op.key.clone(), op.record.clone())).collect()
}

/// What is to be told of these commits to a watch of a range.
pub(super) fn within(commits: &BTreeMap<Version, Effect>, range: &KeyRange) -> Vec<(Version, Effect)> {
    let within = commits.iter().map(|(version, effect)| {
        let inside = effect.iter().filter(|(key, _)| range.contains(key.as_bytes()));
        (*version, inside.map(|(key, record)| (key.clone(), record.clone())).collect::<Effect>())
    });
    within.filter(|(_, effect)| !effect.is_empty()).collect()
}

/// The commits as they were told.
pub(super) fn told(commits: &[CommittedBatch]) -> Vec<(Version, Effect)> {
    commits.iter().map(|commit| (commit.version, effect(commit))).collect()
}

/// Checks that exactly the promised commits were told; says where they differ first.
pub(super) fn check_told(told: &[(Version, Effect)], promised: &[(Version, Effect)], what: &str) {
    let differ = told.iter().zip(promised).position(|(told, promised)| told != promised);
    let at = differ.unwrap_or(told.len().min(promised.len()));
    assert!(
        told.len() == promised.len() && differ.is_none(),
        "a watch delivers every later commit of its range exactly once, whole and in order (C16): {what}: \
         {} commits told of {}; at {at} {:?} was told and {:?} promised",
        told.len(),
        promised.len(),
        told.get(at),
        promised.get(at)
    );
}
