use std::sync::Arc;

use futures::TryStreamExt as _;
use rdb_engine_api::{Batch, Engine, Key, KeyRange, Outcome, Record, Result, Scan, WriteOptions};

use crate::rows::{Name, PREFIX};

/// The placement driver's rows in an engine. Every change of one is a compare-and-swap on its version, so that
/// several drivers on one engine do not undo each other's work.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    engine: Arc<dyn Engine>,
}

impl Table {
    pub(crate) const fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    pub(crate) async fn get(&self, name: Name) -> Result<Option<Record>> {
        self.engine.get(&name.key()?).await
    }

    /// Two rows, from one view.
    pub(crate) async fn get_two(&self, names: [Name; 2]) -> Result<[Option<Record>; 2]> {
        let keys = [names[0].key()?, names[1].key()?];
        let mut records = self.engine.get_many(&keys).await?.data.into_iter();
        Ok([records.next().flatten(), records.next().flatten()])
    }

    /// All rows, from one view.
    pub(crate) async fn all(&self) -> Result<Vec<(Name, Record)>> {
        let scan = Scan::new(KeyRange::prefix(PREFIX));
        let chunks: Vec<_> = self.engine.scan(scan).await?.data.try_collect().await?;
        let entries = chunks.into_iter().flatten();
        entries.filter_map(|entry| Some((entry.key, entry.record?))).map(named).collect()
    }

    /// Whether the engine holds nothing at all, of anyone's.
    pub(crate) async fn is_engine_empty(&self) -> Result<bool> {
        let scan = Scan::new(KeyRange::all()).limit(1).keys_only();
        Ok(self.engine.scan(scan).await?.data.try_next().await?.is_none())
    }

    /// Writes at the engine's best durability.
    pub(crate) async fn write(&self, batch: Batch) -> Result<Outcome> {
        let options = WriteOptions::default().durability(self.engine.info().best_durability);
        self.engine.write(batch, options).await
    }
}

fn named((key, record): (Key, Record)) -> Result<(Name, Record)> {
    Ok((Name::of(&key)?, record))
}
