//! A FlareDB engine on [redb](https://docs.rs/redb), from public interfaces alone.
//!
//! [`RedbStore`] is the whole of it: `Local` makes an engine of any store. `docs/engine-authors.md` tells
//! how it came about, step by step.

mod store;

use std::sync::Arc;

use rdb_engine_api::{Local, Result, SystemClock};

pub use store::{RedbConfig, RedbSnapshot, RedbStore};

/// The engine on redb.
pub type RedbEngine = Local<RedbStore>;

/// Opens the engine, making its data directory where there is none.
///
/// # Errors
/// Those of [`RedbStore::open`] and of [`Local::open`].
pub fn open(config: &RedbConfig) -> Result<RedbEngine> {
    Local::open(RedbStore::open(config)?, config.local.clone(), Arc::new(SystemClock::new()))
}
