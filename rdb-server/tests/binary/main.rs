//! The program as an operator meets it: settings, what it prints, signals, exit codes.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

mod configuration;
mod deploy;
mod descriptors;
mod harness;
#[cfg(feature = "sled")]
mod history;
mod life;
mod logs;
mod pages;
mod systemd;
mod usage;
