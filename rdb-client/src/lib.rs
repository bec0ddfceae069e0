//! The FlareDB SDK for Rust.
//!
//! A [`Client`] is an [`Engine`]: what is written for a FlareDB engine works with a node over the network,
//! and the other way round. [`EngineExt`] has the short forms.
//!
//! ```no_run
//! use rdb_client::{Client, Condition, EngineExt, Engine, Key, Outcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> rdb_client::Result<()> {
//! let client = Client::connect("127.0.0.1:7440").await?;
//!
//! let key = Key::new("greeting")?;
//! let commit = client.put(&key, "hello").await?;
//! match client.compare_and_swap(&key, Condition::Version(commit.version), "hello, world").await? {
//!     Outcome::Conflict(conflict) => println!("someone else was faster: {:?}", conflict.current),
//!     outcome => println!("version {}", outcome.version()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a failure means
//!
//! An [`ErrorKind`] says what to do. After a failed write one question decides: may it have been applied?
//! [`Error::may_have_been_applied`] answers it, and `false` is a certificate (C10). The client certifies
//! only what it knows: that the node said so, or that the request was never sent. A conflict is not a
//! failure: it is an [`Outcome`], and carries the current record, so that trying again takes no read (C7).
//!
//! ```
//! use rdb_client::{Engine, EngineExt, Error, ErrorKind, Key};
//!
//! /// Stores a value, and tells in words what became of it.
//! async fn store(engine: &dyn Engine, key: &Key, value: &'static str) -> String {
//!     match engine.put(key, value).await {
//!         Ok(commit) => format!("stored, {}", commit.durability),
//!         Err(error) if error.may_have_been_applied() => format!("perhaps stored: {error}"),
//!         Err(error) if error.is_retryable() => format!("not stored, try again: {error}"),
//!         Err(error) => format!("not stored: {error}"),
//!     }
//! }
//! # // Any engine will do.
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let nobody = rdb_client::Client::builder().endpoint("127.0.0.1:1");
//! let error: Error = nobody.connect().await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Unavailable);
//! assert!(!error.may_have_been_applied());
//! # });
//! ```
//!
//! # Scans
//!
//! A scan is a stream of chunks from one view, whatever is written meanwhile (C8). It ends in an error
//! unless all of it came.
//!
//! ```
//! use futures::TryStreamExt;
//! use rdb_client::{Engine, KeyRange, Result, Scan};
//!
//! async fn count(engine: &dyn Engine, prefix: &'static str) -> Result<usize> {
//!     let view = engine.scan(Scan::new(KeyRange::prefix(prefix)).keys_only()).await?;
//!     view.data.try_fold(0, async |sum, chunk| Ok(sum + chunk.len())).await
//! }
//! ```
//!
//! # A cluster
//!
//! [`ClientBuilder::pd`] finds the node by its placement driver, and follows it to another address. [`Pd`] is
//! the placement driver itself: timestamps, ids, and the stores of the cluster. [`TlsConfig`] encrypts the
//! connections to both. [`backup`] reads and writes the files of `rdb backup`.
//!
//! ```no_run
//! use rdb_client::{Client, Pd};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> rdb_client::Result<()> {
//! let client = Client::builder().pd(["127.0.0.1:7430"]).connect().await?;
//! let pd = Pd::connect("127.0.0.1:7430").await?;
//! println!("{} is at {}, and it is {}", pd.cluster_id(), client.endpoint(), pd.timestamp().await?.rfc3339());
//! # Ok(())
//! # }
//! ```

pub mod backup;
mod builder;
mod call;
mod civil;
mod client;
mod dialer;
mod discovery;
mod endpoint;
mod flight;
mod handshake;
mod node;
mod once;
mod pd;
mod request;
mod restore;
mod retry;
mod scan;
mod snapshot;
mod stream;
mod subscription;
mod timestamp;
mod tls;
mod waits;
mod watch;
mod wire;

pub use builder::ClientBuilder;
pub use client::Client;
pub use node::{Health, NodeState, NodeStatus};
pub use once::WriteId;
pub use pd::{
    Location, Pd, PdBuilder, Registration, Store, StoreActivity, StoreIdentity, StoreInfo, StoreState,
};
pub use retry::RetryPolicy;
pub use snapshot::{Change, SnapshotEvent, SnapshotStream};
pub use timestamp::{Timestamp, Timestamps};
pub use tls::{Pem, TlsConfig};

// All that an application needs besides, so that it depends on this crate alone.
pub use bytes::Bytes;
pub use rdb_engine_api::{
    Batch, Capabilities, Cause, Commit, CommittedBatch, CommittedOp, Condition, Conflict, Direction,
    Durability, Engine, EngineExt, EngineInfo, Entry, EntryStream, Error, ErrorKind, Key, KeyRange, Limits,
    MAX_KEY_BYTES, MAX_TTL, Metric, MetricUnit, MetricValue, Op, Outcome, Previous, Projection, Record,
    Result, Scan, Session, SessionOptions, Stamp, Version, View, Watch, WatchEvent, WatchStream,
    WriteOptions,
};
