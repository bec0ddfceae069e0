//! The chassis of every FlareDB server process: for those who serve other services than a node's, such as the
//! placement driver.
//!
//! A server binds its addresses ([`Bound::new`]), and begins to serve once it is told what ([`Bound::serve`]).
//! It brings the limits, TLS, health, reflection, metrics and the orderly end of
//! [`NodeConfig`](crate::NodeConfig); a service brings its routes and a table of its methods:
//!
//! ```
//! use rdb_server::NodeConfig;
//! use rdb_server::service::{Bound, Method, Reception, Services};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> rdb_engine_api::Result<()> {
//! let bound = Bound::new(NodeConfig::on_free_ports()).await?;
//! let mut services = Services::new();
//! services.names = vec!["flaredb.pd.v1.Pd"];
//! services.descriptors = rdb_proto::FILE_DESCRIPTOR_SET;
//! services.methods = vec![
//!     Method::read("/flaredb.pd.v1.Pd/Cluster", "cluster"),
//!     Method::write("/flaredb.pd.v1.Pd/Timestamps", "timestamps").received(Reception::Dialogue),
//! ];
//! // services.routes = Routes::new(PdServer::new(pd).max_decoding_message_size(usize::MAX));
//! let server = bound.serve(services).await?;
//! server.shutdown().await
//! # }
//! ```
//!
//! Each method of a service hands its request to one of [`unary`], [`upload`] and [`dialogue`], which bring the
//! deadline, the net for panics and the counters.

pub use crate::answers::Answers;
pub use crate::deadline::Deadline;
pub use crate::gate::{dialogue, unary, upload};
pub use crate::identity::DriverDirectory;
pub use crate::messages::Messages;
pub use crate::method::{Method, Reception};
pub use crate::server::{Bound, Close, Server, Services};
