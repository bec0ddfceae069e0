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
//! # Once
//!
//! Where the node has sessions, every write carries a number by which it takes effect once (C17): the client sends
//! it again until it knows the outcome, over lost answers and restarts, and a compare-and-swap is never reported
//! to be in conflict with itself. Only a deadline that passes first leaves a write unknown, and then the client
//! can be asked later:
//!
//! ```
//! use rdb_client::{Client, Condition, EngineExt, Key, Outcome, Result, Version, WriteId};
//!
//! /// Swaps a value; none where it was certainly never done.
//! async fn swap(client: &Client, key: &Key, version: Version) -> Result<Option<Outcome>> {
//!     match client.compare_and_swap(key, Condition::Version(version), "new").await {
//!         Ok(outcome) => Ok(Some(outcome)),
//!         Err(error) => match WriteId::of(&error) {
//!             Some(id) => client.what_became_of(id).await,
//!             None => Err(error),
//!         },
//!     }
//! }
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
//! # Watches
//!
//! [`Client::subscribe`] delivers each commit to a range once, whole and in order (C16), and goes on by itself over
//! lost connections and restarts. [`Client::watch_from_snapshot`] begins with what is there, and is told the
//! difference where the node's history was compacted meanwhile: all that a cache needs.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use futures::TryStreamExt;
//! use rdb_client::{Bytes, Client, Key, KeyRange, Result, SnapshotEvent};
//!
//! async fn follow(client: &Client, cache: &mut BTreeMap<Key, Bytes>) -> Result<()> {
//!     let mut events = client.watch_from_snapshot(KeyRange::prefix("user/")).await?;
//!     while let Some(event) = events.try_next().await? {
//!         let changes: Vec<_> = match event {
//!             SnapshotEvent::Difference(changes) => changes.into_iter().map(|it| (it.key, it.record)).collect(),
//!             SnapshotEvent::Commit(commit) => commit.ops.into_iter().map(|op| (op.key, op.record)).collect(),
//!             _ => continue,
//!         };
//!         for (key, record) in changes {
//!             match record {
//!                 Some(record) => cache.insert(key, record.value),
//!                 None => cache.remove(&key),
//!             };
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Leases
//!
//! A record can be given a time to live (C15), and a write can wait in line until its condition holds (C20).
//! Together they make a lock whose holder may die:
//!
//! ```
//! use std::time::Duration;
//!
//! use rdb_client::{Batch, Condition, Engine, Key, Outcome, Result, Version, WriteOptions};
//!
//! /// Waits a minute for the lock; its version is what to renew and to release it by.
//! async fn lock(engine: &dyn Engine, key: &Key) -> Result<Option<Version>> {
//!     let batch = Batch::new().when(key.clone(), Condition::Absent);
//!     let batch = batch.put_for(key.clone(), "me", Duration::from_secs(10));
//!     match engine.write(batch, WriteOptions::default().wait(Duration::from_secs(60))).await? {
//!         Outcome::Conflict(_) => Ok(None),
//!         outcome => Ok(Some(outcome.version())),
//!     }
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
mod departure;
mod dialer;
mod discovery;
mod endpoint;
mod flight;
mod handshake;
mod lanes;
mod node;
mod once;
mod pd;
mod pipeline;
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
mod way;
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
