use std::sync::Arc;

use futures::TryStreamExt as _;
use rdb_client::{Batch, Engine, EngineExt as _, Key, KeyRange, Scan, WriteOptions};

use crate::escape::escape;
use crate::failure::{Exit, Failure};

/// What the key of the record that marks a benchmark's prefix ends in: no key of its other records does.
const MARK: &str = "rdb-bench";
const MEANING: &str = "all keys with this prefix are a benchmark's; `rdb bench` removes them";
/// How many records are removed at once.
const BATCH: usize = 1_000;

/// The keys that a benchmark uses. A record marks them as its own, so that what a run leaves behind, by
/// intention or because it was killed, is told from what others store.
pub(super) struct Place {
    engine: Arc<dyn Engine>,
    prefix: String,
}

impl Place {
    pub(super) fn new(engine: Arc<dyn Engine>, prefix: &str) -> Self {
        Self { engine, prefix: prefix.to_owned() }
    }

    /// Marks the prefix, and removes what an earlier benchmark left there.
    pub(super) async fn take(&self, force: bool) -> Result<(), Failure> {
        let mark = self.mark()?;
        if !force && self.engine.get(&mark).await?.is_none() {
            let view = self.engine.scan(self.everything().limit(1)).await?;
            if let Some(entry) = view.data.try_concat().await?.first() {
                let key = escape(entry.key.as_bytes());
                let message = format!(
                    "records that are not a benchmark's are there, such as `{key}`; give another --prefix, or \
                     --force to have all of them removed. prefix=`{}`",
                    self.prefix
                );
                return Err(Failure::new(Exit::Error, message));
            }
        }
        self.engine.put(&mark, MEANING).await?;
        self.clear().await
    }

    /// Removes all records but the mark.
    pub(super) async fn clear(&self) -> Result<(), Failure> {
        let mark = self.mark()?;
        let mut entries = self.engine.scan(self.everything()).await?.data;
        let mut keys: Vec<Key> = Vec::new();
        while let Some(some) = entries.try_next().await? {
            keys.extend(some.into_iter().map(|entry| entry.key).filter(|key| *key != mark));
            while keys.len() >= BATCH {
                self.delete(keys.drain(..BATCH)).await?;
            }
        }
        self.delete(keys.drain(..)).await
    }

    /// Removes all records, the mark last.
    pub(super) async fn remove(&self) -> Result<(), Failure> {
        self.clear().await?;
        self.delete([self.mark()?].into_iter()).await
    }

    async fn delete(&self, keys: impl Iterator<Item = Key>) -> Result<(), Failure> {
        let batch = keys.fold(Batch::new(), Batch::delete);
        if !batch.is_empty() {
            // Whether each of them was still there makes no difference.
            let _ = self.engine.write(batch, WriteOptions::default()).await?;
        }
        Ok(())
    }

    fn everything(&self) -> Scan {
        Scan::new(KeyRange::prefix(self.prefix.clone())).keys_only()
    }

    fn mark(&self) -> Result<Key, Failure> {
        Ok(Key::new(format!("{}{MARK}", self.prefix))?)
    }
}
