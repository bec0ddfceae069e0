//! The FlareDB engine contract: vocabulary, traits, the common core of local engines, and the
//! conformance suite.
//!
//! Whoever *uses* a store meets [`Engine`]: get, scan, and [`Engine::write`], which takes a [`Batch`] of
//! conditions and operations and answers with an [`Outcome`]. Everything that stores is an `Engine`,
//! the SDK's client included. [`EngineExt`] adds the short forms: put, delete, compare-and-swap.
//!
//! Whoever *writes* a store over an ordered byte store implements [`Store`], some 200 lines, and wraps
//! it in [`Local`], which brings everything else: conditions, versions, group commit, limits, expiry,
//! watches, exactly-once writes, writes that wait, restores, and an orderly close.
//! Whoever has a remote or replicated system implements `Engine` directly. Both prove their work with
//! the suite of the module `conformance` (feature `conformance`).
//!
//! What every engine promises is stated in `docs/contract.md`, clauses C1 to C20, which the
//! documentation of this crate cites by number.
//!
//! # Example
//!
//! ```
//! use rdb_engine_api::{Condition, Engine, EngineExt, Key, Outcome, Result};
//!
//! /// Adds one to a counter, whoever else does the same at the same time.
//! async fn increment(engine: &dyn Engine, key: &Key) -> Result<u64> {
//!     let mut current = engine.get(key).await?;
//!     loop {
//!         let (count, expected) = match &current {
//!             None => (0, Condition::Absent),
//!             Some(record) => {
//!                 let text = std::str::from_utf8(&record.value).unwrap_or("0");
//!                 (text.parse().unwrap_or(0), Condition::Version(record.version))
//!             }
//!         };
//!         let next: u64 = count + 1;
//!         match engine.compare_and_swap(key, expected, next.to_string()).await? {
//!             Outcome::Conflict(conflict) => current = conflict.current, // no second read (C7)
//!             _ => return Ok(next),
//!         }
//!     }
//! }
//! ```

mod batch;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod directory;
mod engine;
mod error;
mod floor;
mod info;
mod key;
mod local;
mod metric;
mod outcome;
mod record;
mod scan;
mod session;
mod store;
mod watch;

pub use batch::{Batch, Condition, MAX_TTL, Op, WriteOptions};
pub use clock::{Clock, ManualClock, SystemClock};
pub use directory::DataDirectory;
pub use engine::{Engine, EngineExt};
pub use error::{Error, ErrorKind, Result};
pub use floor::Floor;
pub use info::{Capabilities, Durability, EngineInfo, Limits};
pub use key::{Key, KeyRange, MAX_KEY_BYTES};
pub use local::{History, Local, LocalOptions};
pub use metric::{Metric, MetricUnit, MetricValue};
pub use outcome::{Commit, Conflict, Outcome};
pub use record::{Entry, Record, Version};
pub use scan::{Direction, EntryStream, Projection, Scan, View};
pub use session::{Session, SessionOptions, Stamp};
pub use store::{Cached, Change, ChangeSet, Row, Rows, Snapshot, Space, Span, Store, StoreInfo};
pub use watch::{Cause, CommittedBatch, CommittedOp, Previous, Watch, WatchEvent, WatchStream};
