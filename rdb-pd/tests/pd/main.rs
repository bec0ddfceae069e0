//! The placement driver as its users meet it: in process and over TCP, on an engine that can be told to misbehave.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

mod double;
mod harness;
mod oracle;
mod oracle_faults;
mod state;
mod stores;
mod timestamps;
