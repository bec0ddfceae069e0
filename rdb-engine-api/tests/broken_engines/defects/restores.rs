//! Restores that lose versions, the line of them, or the all-or-nothing (C5, C19).

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rdb_engine_api::{
    Batch, Commit, Engine, EngineExt as _, Entry, EntryStream, KeyRange, Result, Scan, Version, View,
};

use crate::broken::Defect;
use crate::disk::Disk;

/// Puts record after record: each gets a version of its own, and is seen before the next.
#[derive(Debug)]
pub(crate) struct RestoredByPuts;

#[async_trait]
impl Defect for RestoredByPuts {
    async fn restore(&self, sound: &Arc<dyn Engine>, view: View<EntryStream>) -> Result<Commit> {
        let entries: Vec<Entry> = view.data.try_concat().await?;
        // To begin with, a restore of nothing, which is refused where that is due.
        let mut commit = sound.restore(view_of(view.version, Vec::new())).await?;
        for Entry { key, record, .. } in entries {
            let value = record.map(|record| record.value).unwrap_or_default();
            commit = sound.put(&key, value).await?;
            tokio::task::yield_now().await;
        }
        Ok(commit)
    }
}

/// Goes on with its own line, wherever the restored view's was.
#[derive(Debug)]
pub(crate) struct LineNotRaised;

impl Disk for LineNotRaised {
    fn line_after_restore(&self, last: Version, _: Version, _: Version) -> Version {
        Version::new(last.get() + 1).expect("not 0")
    }
}

/// Goes on with the line of the restored view, wherever its own was.
#[derive(Debug)]
pub(crate) struct LineOfTheView;

impl Disk for LineOfTheView {
    fn line_after_restore(&self, _: Version, view: Version, _: Version) -> Version {
        Version::new(view.get() + 1).expect("not 0")
    }
}

/// Keeps what came before its stream broke off.
#[derive(Debug)]
pub(crate) struct KeepsWhatCame;

#[async_trait]
impl Defect for KeepsWhatCame {
    async fn restore(&self, sound: &Arc<dyn Engine>, mut view: View<EntryStream>) -> Result<Commit> {
        let (mut entries, mut broken) = (Vec::new(), None);
        // The sound engine is in a restore meanwhile, too.
        let (sender, receiver) = futures::channel::oneshot::channel();
        let rest = stream::once(async { Ok(receiver.await.unwrap_or_default()) });
        let chunks = rest.try_filter(|chunk: &Vec<Entry>| std::future::ready(!chunk.is_empty())).boxed();
        let restore = sound.restore(View { version: view.version, data: chunks });
        let feed = async {
            while let Some(chunk) = view.data.next().await {
                match chunk {
                    Ok(chunk) => entries.extend(chunk),
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
            drop(sender.send(entries));
        };
        let (commit, ()) = futures::join!(restore, feed);
        broken.map_or(commit, Err)
    }
}

/// Makes room for what is to be restored.
#[derive(Debug)]
pub(crate) struct ClearsTheWay;

#[async_trait]
impl Defect for ClearsTheWay {
    async fn restore(&self, sound: &Arc<dyn Engine>, view: View<EntryStream>) -> Result<Commit> {
        let all = Scan::new(KeyRange::all()).keys_only();
        let there: Vec<Entry> = sound.scan(all).await?.data.try_concat().await?;
        let all = there.into_iter().fold(Batch::new(), |batch, entry| batch.delete(entry.key));
        drop(sound.write(all, Default::default()).await?);
        sound.restore(view).await
    }
}

/// Brings what it is given into order, as the sorted map does that it is put into.
#[derive(Debug)]
pub(crate) struct AnyOrderWillDo;

#[async_trait]
impl Defect for AnyOrderWillDo {
    async fn restore(&self, sound: &Arc<dyn Engine>, view: View<EntryStream>) -> Result<Commit> {
        let mut entries: Vec<Entry> = view.data.try_concat().await?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries.dedup_by(|a, b| a.key == b.key);
        sound.restore(view_of(view.version, entries)).await
    }
}

fn view_of(version: Version, entries: Vec<Entry>) -> View<EntryStream> {
    let chunks = if entries.is_empty() { Vec::new() } else { vec![Ok(entries)] };
    View { version, data: stream::iter(chunks).boxed() }
}
