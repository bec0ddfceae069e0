//! The in-memory FlareDB engine: the whole contract, except that everything is gone with the process.
//!
//! Rows live in a persistent (structure-sharing) ordered map. A snapshot is a reference to the map's
//! root, so opening a scan copies nothing and holds up nobody (C8); a commit copies the few nodes that
//! it changes and publishes a new root at once (C2).
//!
//! ```
//! use rdb_engine_api::{Engine, EngineExt, Key};
//! use rdb_engine_mem::MemConfig;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> rdb_engine_api::Result<()> {
//! let engine = rdb_engine_mem::open(&MemConfig::default())?;
//! let key = Key::new("greeting")?;
//! engine.put(&key, "hello").await?;
//! assert_eq!(engine.get(&key).await?.unwrap().value, "hello");
//! # Ok(())
//! # }
//! ```

mod config;
mod store;

use std::sync::Arc;

use rdb_engine_api::{Local, Result, SystemClock};

pub use config::MemConfig;
pub use store::{MemSnapshot, MemStore};

/// The in-memory engine.
pub type MemEngine = Local<MemStore>;

/// Opens an empty engine.
///
/// # Errors
/// [`InvalidArgument`](rdb_engine_api::ErrorKind::InvalidArgument) and
/// [`Unsupported`](rdb_engine_api::ErrorKind::Unsupported) for options that contradict each other.
pub fn open(config: &MemConfig) -> Result<MemEngine> {
    Local::open(MemStore::new(), config.local.clone(), Arc::new(SystemClock::new()))
}
