//! The FlareDB engine on sled.
//!
//! [`open`] gives an [`Engine`](rdb_engine_api::Engine) on a data directory. It is written in Rust
//! throughout and builds in seconds, which makes it the engine to develop with; the production engine
//! is RocksDB.
//!
//! Its writes reach [`Process`](rdb_engine_api::Durability::Process) at best: they survive the process,
//! not a power cut, since sled hands its log to the operating system and does not wait for the disk
//! (C9). Scans show one view while writes go on (C8), by versions that this crate keeps in sled's one
//! tree; `docs/adr/0003-sled-versioned-keys.md` says how and why.

mod codec;
mod config;
mod error;
mod garbage;
mod metrics;
mod scan;
mod store;
mod tree;
mod views;

use std::sync::Arc;

use rdb_engine_api::{Local, Result, SystemClock};

pub use crate::config::SledConfig;
pub use crate::store::{SledSnapshot, SledStore};

/// The engine on sled.
pub type SledEngine = Local<SledStore>;

/// Opens the engine, making its data directory where there is none.
///
/// # Errors
/// Those of [`SledStore::open`] and of [`Local::open`].
pub fn open(config: &SledConfig) -> Result<SledEngine> {
    Local::open(SledStore::open(config)?, config.local.clone(), Arc::new(SystemClock::new()))
}
