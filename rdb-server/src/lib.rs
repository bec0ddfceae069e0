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
//! # What becomes of a request
//! It takes a place among the requests in flight when its headers are there, and room for its bytes as they
//! arrive, or is refused as `Exhausted`. It ends by its deadline: the client's (`grpc-timeout`) or the
//! node's, whichever is sooner. What is not whole by then is `Unavailable` and certainly not applied. After
//! that, a read that is cut off is `Unavailable`; a write that is cut off, or whose handling panics, is
//! `Unknown` (C10). Whatever is refused before it reached the engine says so in its details.

mod accept;
mod answers;
mod arrival;
mod config;
mod deadline;
mod gate;
mod grpc;
mod kv;
mod messages;
mod method;
mod metrics;
mod node;
mod node_service;
mod ops;
mod restore;
mod run;
mod scan;
mod server;
pub mod service;
mod state;
mod tls;

pub use config::NodeConfig;
pub use node::{Node, serve, serve_on};
pub use run::run;
pub use tls::TlsConfig;
