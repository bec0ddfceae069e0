//! Scans that show more than one view, or not all of it, or in the wrong order (C8, C12, C14).

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use rdb_engine_api::{
    Direction, Engine, Entry, EntryStream, ErrorKind, Key, KeyRange, Record, Result, Scan, View,
};

use crate::broken::Defect;

/// Reads a scan's entries when they are asked for, from whatever is there by then.
#[derive(Debug)]
pub(crate) struct ScanSeesLaterWrites;

#[async_trait]
impl Defect for ScanSeesLaterWrites {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let version = sound.get_many(&[]).await?.version;
        let entries = stream::try_unfold((Arc::clone(sound), scan), |(sound, scan)| async move {
            if scan.limit == Some(0) {
                return Ok(None);
            }
            let next: Vec<Entry> = sound.scan(scan.clone().limit(1)).await?.data.try_concat().await?;
            let Some(entry) = next.first() else { return Ok(None) };
            let passed = Bound::Excluded(entry.key.to_bytes());
            let (start, end) = (scan.range.start().clone(), scan.range.end().clone());
            let mut rest = scan;
            rest.range = match rest.direction {
                Direction::Forward => KeyRange::new(passed, end),
                Direction::Reverse => KeyRange::new(start, passed),
            };
            rest.limit = rest.limit.map(|limit| limit - 1);
            Ok(Some((next, (sound, rest))))
        });
        Ok(View { version, data: entries.boxed() })
    }
}

/// Ends the range of a prefix of `0xff` bytes before its successor, which it takes to be one `0xff` longer.
#[derive(Debug)]
pub(crate) struct ScanLosesTheLastKeyOfFf;

#[async_trait]
impl Defect for ScanLosesTheLastKeyOfFf {
    async fn scan(&self, sound: &Arc<dyn Engine>, mut scan: Scan) -> Result<View<EntryStream>> {
        if let (Bound::Included(start), Bound::Unbounded) = (scan.range.start(), scan.range.end())
            && start.iter().all(|byte| *byte == 0xff)
        {
            let end = [&start[..], &[0xff]].concat();
            scan.range = KeyRange::new(Bound::Included(start.clone()), Bound::Excluded(end.into()));
        }
        sound.scan(scan).await
    }
}

/// Begins a reverse scan at its end, where that is a key, although the end is excluded.
#[derive(Debug)]
pub(crate) struct ReverseIncludesItsEnd;

#[async_trait]
impl Defect for ReverseIncludesItsEnd {
    async fn scan(&self, sound: &Arc<dyn Engine>, mut scan: Scan) -> Result<View<EntryStream>> {
        if let (Direction::Reverse, Bound::Excluded(end)) = (scan.direction, scan.range.end()) {
            scan.range = KeyRange::new(scan.range.start().clone(), Bound::Included(end.clone()));
        }
        sound.scan(scan).await
    }
}

/// Reads several keys one after the other.
#[derive(Debug)]
pub(crate) struct KeysReadOneByOne;

#[async_trait]
impl Defect for KeysReadOneByOne {
    async fn get_many(&self, sound: &Arc<dyn Engine>, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        let version = sound.get_many(&[]).await?.version;
        let mut data = Vec::new();
        for key in keys {
            data.push(sound.get(key).await?);
            tokio::task::yield_now().await;
        }
        Ok(View { version, data })
    }
}

/// Sorts the keys to read them, and leaves the answers in that order.
#[derive(Debug)]
pub(crate) struct AnswersInKeyOrder;

#[async_trait]
impl Defect for AnswersInKeyOrder {
    async fn get_many(&self, sound: &Arc<dyn Engine>, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        let mut sorted = keys.to_vec();
        sorted.sort();
        sound.get_many(&sorted).await
    }
}

/// Reads many keys in batches, each key once, and gives what it found away at its first place in the batch.
#[derive(Debug)]
pub(crate) struct KeyAskedTwiceFoundOnce;

#[async_trait]
impl Defect for KeyAskedTwiceFoundOnce {
    async fn get_many(&self, sound: &Arc<dyn Engine>, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        const BATCH: usize = 32;
        let mut view = sound.get_many(keys).await?;
        if keys.len() > BATCH {
            for (keys, records) in keys.chunks(BATCH).zip(view.data.chunks_mut(BATCH)) {
                let mut seen = HashSet::new();
                for (key, record) in keys.iter().zip(records) {
                    *record = record.take().filter(|_| seen.insert(key));
                }
            }
        }
        Ok(view)
    }
}

/// Reads many keys in batches, and forgets the last one, which is not full.
#[derive(Debug)]
pub(crate) struct LastBatchIsForgotten;

#[async_trait]
impl Defect for LastBatchIsForgotten {
    async fn get_many(&self, sound: &Arc<dyn Engine>, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        const BATCH: usize = 32;
        let mut view = sound.get_many(keys).await?;
        if keys.len() > BATCH {
            view.data[keys.len() / BATCH * BATCH..].fill(None);
        }
        Ok(view)
    }
}

/// Reports the version of the newest record that a scan delivers.
#[derive(Debug)]
pub(crate) struct ScanAtTheNewestRecord;

#[async_trait]
impl Defect for ScanAtTheNewestRecord {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let View { version, data } = sound.scan(scan).await?;
        let entries: Vec<Entry> = data.try_concat().await?;
        let records = entries.iter().filter_map(|entry| entry.record.as_ref());
        let version = records.map(|record| record.version).max().unwrap_or(version);
        let chunks = if entries.is_empty() { Vec::new() } else { vec![Ok(entries)] };
        Ok(View { version, data: stream::iter(chunks).boxed() })
    }
}

/// Delivers a page of a thousand entries, and no more.
#[derive(Debug)]
pub(crate) struct ScanStopsAfterAThousand;

#[async_trait]
impl Defect for ScanStopsAfterAThousand {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let limit = scan.limit.unwrap_or(u64::MAX).min(1_000);
        sound.scan(scan.limit(limit)).await
    }
}

/// Ends a scan that cannot go on as if it had come to its end.
#[derive(Debug)]
pub(crate) struct ScanSwallows(pub(crate) ErrorKind);

#[async_trait]
impl Defect for ScanSwallows {
    async fn scan(&self, sound: &Arc<dyn Engine>, scan: Scan) -> Result<View<EntryStream>> {
        let View { version, data } = sound.scan(scan).await?;
        let swallowed = self.0;
        let goes_on = move |chunk: &Result<Vec<Entry>>| {
            future::ready(!matches!(chunk, Err(error) if error.kind() == swallowed))
        };
        Ok(View { version, data: data.take_while(goes_on).boxed() })
    }
}
