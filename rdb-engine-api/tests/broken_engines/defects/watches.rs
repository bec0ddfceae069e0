//! Watches that tell too much, too little, or not what was (C16).

use std::collections::{HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future, stream};
use parking_lot::Mutex;
use rdb_engine_api::{
    Batch, Cause, CommittedBatch, CommittedOp, Engine, ErrorKind, Key, KeyRange, Op, Outcome, Previous,
    Record, Result, Version, View, Watch, WatchEvent, WatchStream, WriteOptions,
};
use tokio::sync::mpsc;

use crate::broken::Defect;

/// A watch of which each event is told in another way.
fn retold(
    view: View<WatchStream>,
    mut tell: impl FnMut(WatchEvent) -> Vec<WatchEvent> + Send + 'static,
) -> View<WatchStream> {
    let events = view.data.flat_map(move |event| {
        stream::iter(match event {
            Ok(event) => tell(event).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    });
    View { version: view.version, data: events.boxed() }
}

/// How a watch tells commits that it should tell as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tells {
    /// Loses one now and then.
    NotAll,
    /// Tells one twice now and then.
    Twice,
    /// Tells a later one first now and then.
    OutOfOrder,
    /// Tells each operation as if it were a commit.
    OneByOne,
    /// Tells of each commit the first operation alone.
    Half,
    /// Tells that everything was delivered, and then a commit that is part of it.
    ProgressTooSoon,
    /// Tells no progress.
    NoProgress,
    /// Tells removals as if somebody had written them.
    RemovalsAsWrites,
}

#[async_trait]
impl Defect for Tells {
    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        let (how, mut count, mut held) = (*self, 0, None);
        Ok(retold(sound.watch(watch).await?, move |event| {
            let WatchEvent::Commit(commit) = event else {
                return if matches!(how, Self::NoProgress) { Vec::new() } else { vec![event] };
            };
            count += 1;
            let now_and_then = count % 4 == 0;
            let told = match how {
                Self::NotAll if now_and_then => Vec::new(),
                Self::Twice if now_and_then => vec![commit.clone(), commit],
                Self::OutOfOrder if now_and_then => {
                    held = Some(commit);
                    Vec::new()
                }
                Self::OneByOne => {
                    let one = |op| CommittedBatch::new(commit.version, commit.cause, vec![op]);
                    commit.ops.into_iter().map(one).collect()
                }
                Self::Half => {
                    vec![CommittedBatch::new(commit.version, commit.cause, commit.ops[..1].to_vec())]
                }
                Self::ProgressTooSoon => {
                    return vec![WatchEvent::Progress(commit.version), WatchEvent::Commit(commit)];
                }
                Self::RemovalsAsWrites => vec![CommittedBatch::new(commit.version, Cause::Write, commit.ops)],
                _ => [Some(commit), held.take()].into_iter().flatten().collect(),
            };
            told.into_iter().map(WatchEvent::Commit).collect()
        }))
    }
}

/// Tells each commit that touches the range with everything else that it did.
#[derive(Debug)]
pub(crate) struct TellsUnwatchedKeys;

#[async_trait]
impl Defect for TellsUnwatchedKeys {
    async fn watch(&self, sound: &Arc<dyn Engine>, mut watch: Watch) -> Result<View<WatchStream>> {
        let range = std::mem::replace(&mut watch.range, KeyRange::all());
        Ok(retold(sound.watch(watch).await?, move |event| {
            let touches = match &event {
                WatchEvent::Commit(commit) => commit.ops.iter().any(|op| range.contains(op.key.as_bytes())),
                _ => true,
            };
            if touches { vec![event] } else { Vec::new() }
        }))
    }
}

/// Ends a prefix of `0xff` bytes where adding one to its last byte would.
#[derive(Debug)]
pub(crate) struct WatchLosesTheEndOfFf;

#[async_trait]
impl Defect for WatchLosesTheEndOfFf {
    async fn watch(&self, sound: &Arc<dyn Engine>, mut watch: Watch) -> Result<View<WatchStream>> {
        if let (Bound::Included(start), Bound::Unbounded) = (watch.range.start(), watch.range.end())
            && start.starts_with(&[0xff])
        {
            let end = Bound::Excluded(Bytes::from_static(&[0xff, 0xff]));
            watch.range = KeyRange::new(watch.range.start().clone(), end);
        }
        sound.watch(watch).await
    }
}

/// Tells the version that it was to begin after once more.
#[derive(Debug)]
pub(crate) struct BeginsAtItsStart;

#[async_trait]
impl Defect for BeginsAtItsStart {
    async fn watch(&self, sound: &Arc<dyn Engine>, mut watch: Watch) -> Result<View<WatchStream>> {
        let Some(after) = watch.after else { return sound.watch(watch).await };
        watch.after = Version::new(after.get() - 1);
        match sound.watch(watch.clone()).await {
            Ok(view) => Ok(View { version: after, data: view.data }),
            Err(_) => sound.watch(watch.after(after)).await,
        }
    }
}

/// Begins with what comes when the watch is there, whatever it was to begin after.
#[derive(Debug)]
pub(crate) struct BeginsNow;

#[async_trait]
impl Defect for BeginsNow {
    async fn watch(&self, sound: &Arc<dyn Engine>, mut watch: Watch) -> Result<View<WatchStream>> {
        let after = watch.after.take();
        // What is refused is refused.
        if let Some(after) = after {
            drop(sound.watch(watch.clone().after(after)).await?);
        }
        let view = sound.watch(watch).await?;
        Ok(View { version: after.unwrap_or(view.version), data: view.data })
    }
}

/// Waits for a version that there is not yet.
#[derive(Debug)]
pub(crate) struct BeginsBeyondThePresent;

#[async_trait]
impl Defect for BeginsBeyondThePresent {
    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        match sound.watch(watch.clone()).await {
            Err(error) if error.kind() == ErrorKind::InvalidArgument && watch.after.is_some() => {
                let version = watch.after.unwrap_or(Version::MIN);
                Ok(View { version, data: sound.watch(Watch::new(watch.range)).await?.data })
            }
            opened => opened,
        }
    }
}

/// Begins with the oldest commit that it still has, and says nothing of those before.
#[derive(Debug)]
pub(crate) struct BeginsWithTheOldest;

#[async_trait]
impl Defect for BeginsWithTheOldest {
    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        match sound.watch(watch.clone()).await {
            Err(error) if error.kind() == ErrorKind::Compacted => {
                let (asked, oldest) = (watch.after, error.version());
                let watch = oldest.map_or(watch.clone(), |oldest| watch.clone().after(oldest));
                let view = sound.watch(watch).await?;
                Ok(View { version: asked.unwrap_or(view.version), data: view.data })
            }
            opened => opened,
        }
    }
}

/// Reads what was there before when it tells a commit, and so what is there now.
#[derive(Debug)]
pub(crate) struct PreviousIsReadLater;

#[async_trait]
impl Defect for PreviousIsReadLater {
    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        let asked = watch.previous;
        let View { version, data } = sound.watch(watch).await?;
        let sound = Arc::clone(sound);
        let events = data.then(move |event| {
            let sound = Arc::clone(&sound);
            async move {
                let mut event = event?;
                if let (true, WatchEvent::Commit(commit)) = (asked, &mut event) {
                    for op in &mut commit.ops {
                        let there = sound.get(&op.key).await?;
                        op.previous = there.map_or(Previous::Absent, Previous::Record);
                    }
                }
                Ok(event)
            }
        });
        Ok(View { version, data: events.boxed() })
    }
}

/// Ends as if there were no more, where this error is due.
#[derive(Debug)]
pub(crate) struct WatchSwallows(pub(crate) ErrorKind);

#[async_trait]
impl Defect for WatchSwallows {
    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        let View { version, data } = sound.watch(watch).await?;
        let kind = self.0;
        let events = data.take_while(move |event| {
            future::ready(event.as_ref().err().is_none_or(|error| error.kind() != kind))
        });
        Ok(View { version, data: events.boxed() })
    }
}

/// Reads ahead for its watcher as far as there is room, and then throws away.
#[derive(Debug)]
pub(crate) struct ReadsAhead;

#[async_trait]
impl Defect for ReadsAhead {
    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        let View { version, data } = sound.watch(watch).await?;
        // When it is asked, and not by a task of its own: that could fall behind the history, and would be told.
        let events = stream::unfold((data, VecDeque::new()), |(mut data, mut ahead)| async move {
            if ahead.is_empty() {
                ahead.push_back(data.next().await?);
            }
            while let Some(event) = data.next().now_or_never().flatten() {
                // What there is no room for is lost.
                if ahead.len() < 16 {
                    ahead.push_back(event);
                }
            }
            Some((ahead.pop_front()?, (data, ahead)))
        });
        Ok(View { version, data: events.boxed() })
    }
}

/// Tells each write when it arrives, while the disk is still busy with it.
#[derive(Debug, Default)]
pub(crate) struct ToldBeforeCommitted {
    watchers: Mutex<HashMap<usize, mpsc::UnboundedSender<Result<WatchEvent>>>>,
}

#[async_trait]
impl Defect for ToldBeforeCommitted {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let next = sound.get_many(&[]).await?.version.get() + 1;
        let version = Version::new(next).unwrap_or(Version::MIN);
        let ops = batch.ops().iter().map(|(key, op): &(Key, Op)| {
            let record = match op {
                Op::Put { value, .. } => Some(Record::new(value.clone(), version)),
                _ => None,
            };
            CommittedOp::new(key.clone(), record, Previous::NotAsked)
        });
        let commit = CommittedBatch::new(version, Cause::Write, ops.collect());
        for watcher in self.watchers.lock().values() {
            drop(watcher.send(Ok(WatchEvent::Commit(commit.clone()))));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        sound.write(batch, options).await
    }

    async fn watch(&self, sound: &Arc<dyn Engine>, watch: Watch) -> Result<View<WatchStream>> {
        let version = sound.watch(watch).await?.version;
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut watchers = self.watchers.lock();
        let number = watchers.len();
        watchers.insert(number, sender);
        let events =
            stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        Ok(View { version, data: events.boxed() })
    }
}
