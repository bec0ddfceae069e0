use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rdb_bench::{Seen, Swap, Target, TargetInfo};
use rdb_client::Key;
use rocksdb::{DB, WriteBatch};
use tokio::task::spawn_blocking;

use super::raw::{open, synced};
use crate::failure::Result;
use crate::folder::Folder;
use crate::peers::{text, unsupported};
use crate::place::Place;

/// RocksDB in this process, set up as FlareDB's engine does: a read answers where it is asked, a write has a
/// thread of its own until it is synced, and RocksDB gathers those that wait.
pub(crate) struct RawTarget {
    db: Arc<DB>,
    /// Behind the database: it goes when that is gone.
    _data: Folder,
}

impl RawTarget {
    /// Opens an empty database.
    pub(crate) fn open(place: &Place) -> Result<Self> {
        let data = Folder::new(&place.disk, "raw")?;
        Ok(Self { db: Arc::new(open(&data.path().join("store"))?), _data: data })
    }

    async fn write(&self, batch: WriteBatch) -> rdb_bench::Result<()> {
        let db = Arc::clone(&self.db);
        spawn_blocking(move || db.write_opt(batch, &synced())).await.map_err(text)?.map_err(text)
    }
}

impl fmt::Debug for RawTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawTarget")
    }
}

fn seen(value: Vec<u8>) -> Seen {
    Seen { version: 0, value: value.into() }
}

#[async_trait]
impl Target for RawTarget {
    fn info(&self) -> TargetInfo {
        TargetInfo::new("raw RocksDB", env!("ROCKSDB_VERSION"), "synced")
    }

    async fn get(&self, key: &Key) -> rdb_bench::Result<Option<Seen>> {
        Ok(self.db.get(key.as_bytes()).map_err(text)?.map(seen))
    }

    async fn get_many(&self, keys: &[Key]) -> rdb_bench::Result<Vec<Option<Seen>>> {
        let found = self.db.multi_get(keys.iter().map(Key::as_bytes));
        found.into_iter().map(|value| value.map(|it| it.map(seen)).map_err(text)).collect()
    }

    async fn put(&self, key: &Key, value: Bytes) -> rdb_bench::Result<()> {
        let mut batch = WriteBatch::default();
        batch.put(key.as_bytes(), &value);
        self.write(batch).await
    }

    async fn swap(&self, _: &Key, _: u64, _: Bytes) -> rdb_bench::Result<Swap> {
        unsupported("swap")
    }

    async fn scan(&self, from: &Key, limit: u64) -> rdb_bench::Result<u64> {
        let (db, from) = (Arc::clone(&self.db), from.to_bytes());
        let scan = spawn_blocking(move || {
            let mut rows = db.raw_iterator();
            let mut records = 0;
            rows.seek(&from);
            while records < limit && rows.item().is_some() {
                records += 1;
                rows.next();
            }
            rows.status().map(|()| records)
        });
        scan.await.map_err(text)?.map_err(text)
    }

    async fn load(&self, records: Vec<(Key, Bytes)>) -> rdb_bench::Result<()> {
        let mut batch = WriteBatch::default();
        records.iter().for_each(|(key, value)| batch.put(key.as_bytes(), value));
        self.write(batch).await
    }
}
