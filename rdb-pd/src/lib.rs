//! The FlareDB placement driver.

mod cluster;
mod heartbeats;
mod metrics;
mod oracle;
mod placement;
mod registry;
mod rows;
mod table;
mod timestamp;
mod window;

pub use oracle::{Oracle, OracleOptions};
