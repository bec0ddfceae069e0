//! The production FlareDB engine, on RocksDB: synced by default, with a block cache, bloom filters,
//! compression, and a recovery that refuses damage instead of opening around it.
//!
//! [`open`] gives an engine; [`open_with_statistics`] gives its counters too. [`RocksStore`] is the store
//! alone, for those who bring their own clock or wrap it.
//!
//! ```
//! use rdb_engine_api::{Engine, EngineExt, Key};
//! use rdb_engine_rocks::RocksConfig;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> rdb_engine_api::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path();
//! let engine = rdb_engine_rocks::open(&RocksConfig::new(path))?;
//! let key = Key::new("greeting")?;
//! engine.put(&key, "hello").await?;
//! engine.close().await?;
//!
//! let engine = rdb_engine_rocks::open(&RocksConfig::new(path))?;
//! assert_eq!(engine.get(&key).await?.unwrap().value, "hello");
//! # engine.close().await
//! # }
//! ```

mod config;
mod error;
mod files;
mod logs;
mod metrics;
mod scan;
mod statistics;
mod store;

use std::sync::Arc;

use rdb_engine_api::{Local, Result, SystemClock};

pub use config::{Compression, RocksConfig};
pub use statistics::RocksStatistics;
pub use store::{RocksSnapshot, RocksStore};

/// The RocksDB engine.
pub type RocksEngine = Local<RocksStore>;

/// Opens the engine of a data directory. It reads what a crash left in the log, so it may take a while.
///
/// # Errors
/// As of [`RocksStore::open`], and [`InvalidArgument`](rdb_engine_api::ErrorKind::InvalidArgument) and
/// [`Unsupported`](rdb_engine_api::ErrorKind::Unsupported) for local options that contradict each other.
pub fn open(config: &RocksConfig) -> Result<RocksEngine> {
    open_with_statistics(config).map(|(engine, _)| engine)
}

/// Opens the engine of a data directory, and gives its counters.
///
/// # Errors
/// As of [`open`].
pub fn open_with_statistics(config: &RocksConfig) -> Result<(RocksEngine, RocksStatistics)> {
    let store = RocksStore::open(config)?;
    let statistics = store.statistics().clone();
    let engine = Local::open(store, config.local.clone(), Arc::new(SystemClock::new()))?;
    Ok((engine, statistics))
}
