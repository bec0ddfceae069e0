//! The FlareDB node: gRPC services, health, reflection and metrics over any engine.
//!
//! [`serve`] is all of it, and [`run`] the rest of a program around it; the binary calls them too. They do not
//! know which engine they serve, so a stranger serves their own with them.
//!
//! ```
//! use std::sync::Arc;
//!
//! use rdb_server::{NodeConfig, serve};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> rdb_engine_api::Result<()> {
//! let engine = rdb_engine_mem::open(&Default::default())?;
//! let node = serve(Arc::new(engine), NodeConfig::on_free_ports()).await?;
//! println!("listening on {}", node.addr());
//! node.shutdown().await
//! # }
//! ```
//!
//! [`service`] is the chassis below, for programs that serve something else, such as the placement driver, and
//! [`settings`] are what their command lines have in common. [`serve_in_cluster`] makes a node a store of a cluster.
//!
//! # What becomes of a request
//! It takes a place among the requests in flight when its headers are there, and room for its bytes as they
//! arrive, or is refused as `Exhausted`. It ends by its deadline: the client's (`grpc-timeout`) or the
//! node's, whichever is sooner. What is not whole by then is `Unavailable` and certainly not applied. After
//! that, a read that is cut off is `Unavailable`; a write that is cut off, or whose handling panics, is
//! `Unknown` (C10). Whatever is refused before it reached the engine says so in its details.
//!
//! A watch, and a write that may wait for its conditions (C20), give their places and bytes back once the engine
//! has them, which bounds them itself: they must not keep out the requests that they wait for.
//!
//! A pipeline carries many requests on one stream. It takes no place itself; each command on it is a request of its
//! own, from its place among those in flight to its counters.

mod accept;
mod allowed_clients;
mod answers;
mod arrival;
mod certificates;
mod config;
mod deadline;
mod descriptors;
mod engine_metrics;
mod exposition;
mod flow;
mod gate;
mod grpc;
mod handlers;
mod handshake;
mod identity;
mod kv;
mod membership;
mod messages;
mod method;
mod metrics;
mod node;
mod node_service;
mod open;
mod ops;
mod outgoing;
mod pipeline;
mod process_metrics;
mod reload;
mod request_id;
mod restore;
mod run;
mod scan;
mod seldom;
mod server;
pub mod service;
pub mod settings;
mod state;
mod systemd;
mod tls;
mod transport;
mod watch;

pub use config::NodeConfig;
pub use descriptors::raise_descriptor_limit;
pub use engine_metrics::EngineMetrics;
pub use membership::{Member, serve_alone, serve_in_cluster};
pub use node::{Node, serve, serve_on};
pub use run::{Serving, run, run_with};
pub use tls::TlsConfig;
