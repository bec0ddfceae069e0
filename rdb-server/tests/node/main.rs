//! The node as its clients meet it: over TCP, on an engine that can be told to misbehave.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

mod arrival;
mod certificates;
mod double;
mod drain;
mod exposition;
mod harness;
mod hostile;
mod limits;
mod operations;
mod pipelines;
mod raw;
mod requests;
mod scans;
mod sdk;
mod sessions;
mod streams;
mod tls;
mod uploads;
mod waits;
mod watches;
