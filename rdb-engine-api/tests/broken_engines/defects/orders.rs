//! Answers that are right one by one, and have no order together (C1).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdb_engine_api::{Batch, Engine, Key, Outcome, Record, Result, WriteOptions};

use crate::broken::Defect;
use crate::defects::of_ops;

async fn a_moment() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// Answers one get in forty with what an earlier one saw under the key.
#[derive(Debug, Default)]
pub(crate) struct NowAndThenStale {
    gets: AtomicU64,
    seen: Mutex<HashMap<Key, Option<Record>>>,
}

#[async_trait]
impl Defect for NowAndThenStale {
    async fn get(&self, sound: &Arc<dyn Engine>, key: &Key) -> Result<Option<Record>> {
        let record = sound.get(key).await?;
        let before = self.seen.lock().insert(key.clone(), record.clone());
        Ok(match before {
            Some(before) if self.gets.fetch_add(1, Relaxed) % 40 == 39 => before,
            _ => record,
        })
    }
}

/// Executes one write in twenty twice, as a client that sends again because an answer is late.
#[derive(Debug, Default)]
pub(crate) struct NowAndThenTwice {
    writes: AtomicU64,
}

#[async_trait]
impl Defect for NowAndThenTwice {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        if self.writes.fetch_add(1, Relaxed) % 20 == 19 {
            let late = Late { sound: Arc::clone(sound), batch: Some(batch.clone()) };
            let outcome = sound.write(batch, options).await;
            drop(late);
            return outcome;
        }
        sound.write(batch, options).await
    }
}

/// Sends a write whose caller gave up once more, without its conditions.
#[derive(Debug)]
pub(crate) struct GivenUpIsSentAgain;

#[async_trait]
impl Defect for GivenUpIsSentAgain {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let blind = of_ops(batch.ops());
        let outcome = sound.write(batch, options).await;
        let mut late = Late { sound: Arc::clone(sound), batch: Some(blind) };
        a_moment().await;
        late.batch = None;
        outcome
    }
}

/// A batch that is written a moment after this was dropped.
struct Late {
    sound: Arc<dyn Engine>,
    batch: Option<Batch>,
}

impl Drop for Late {
    fn drop(&mut self) {
        let (sound, Some(batch)) = (Arc::clone(&self.sound), self.batch.take()) else { return };
        tokio::spawn(async move {
            a_moment().await;
            // Nobody waits for it, and the engine may be closed by then.
            drop(sound.write(batch, WriteOptions::default()).await);
        });
    }
}
