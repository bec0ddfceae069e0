//! The FlareDB placement driver: what there is once for a whole cluster.
//!
//! It gives timestamps that only ever rise ([`Oracle`]), has the cluster's id, knows its stores and how they fare,
//! gives ids that nobody else is given, and tells which store has a key. [`serve`] is all of it, over any engine
//! and the protocol `flaredb.pd.v1.Pd`; the binary calls it too.
//!
//! ```
//! use std::sync::Arc;
//!
//! use rdb_pd::{PdConfig, serve};
//! use rdb_proto::pd::v1::ClusterRequest;
//! use rdb_proto::pd::v1::pd_client::PdClient;
//! use tonic::transport::Endpoint;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Arc::new(rdb_engine_mem::open(&Default::default())?);
//! let driver = serve(engine, PdConfig::on_free_ports()).await?;
//!
//! let channel = Endpoint::from_shared(format!("http://{}", driver.addr()))?.connect().await?;
//! let cluster = PdClient::new(channel).cluster(ClusterRequest {}).await?.into_inner();
//! assert_eq!(cluster.cluster_id, driver.cluster_id());
//! driver.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # State
//! All of it is a few rows of an engine, under the prefix `flaredb-pd/`: a format version, the cluster's id, the
//! end of the window of timestamps, the next id, the key range, and a row for each store. Each is written at the
//! engine's best durability, by compare-and-swap on its version. Only heartbeats are in memory alone: a placement
//! driver that has just started calls stores silent until they are heard of.
//!
//! It is as safe as its engine. One in memory is a new cluster after every start; one on sled may lose to a power
//! cut what it gave, timestamps included. Production is RocksDB.

mod cluster;
mod config;
mod driver;
mod heartbeats;
mod metrics;
mod oracle;
mod placement;
mod registry;
mod rows;
mod service;
mod table;
mod timestamp;
mod window;

pub use config::PdConfig;
pub use driver::{PlacementDriver, serve, serve_on};
pub use oracle::{Oracle, OracleOptions};
