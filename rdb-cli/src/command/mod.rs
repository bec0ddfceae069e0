//! The commands, each a function of an engine, its arguments, and where the result goes.

mod backup;
mod bench;
mod export;
mod import;
mod node;
mod paper;
mod ping;
mod read;
mod restore;
mod stores;
mod tso;
mod watch;
mod whole;
mod write;

pub(crate) use backup::{backup, verify};
pub(crate) use bench::bench;
pub(crate) use export::export;
pub(crate) use import::import;
pub(crate) use node::{health, status};
pub(crate) use paper::{Completions, Manual, completions, manual};
pub(crate) use ping::{Ping, ping};
pub(crate) use read::{get, scan, ttl};
pub(crate) use restore::restore;
pub(crate) use stores::stores;
pub(crate) use tso::{Tso, tso};
pub(crate) use watch::watch;
pub(crate) use write::{cas, delete, put};
