//! A placement driver, nodes and the SDK put together: in this process, and as programs where one has to be
//! killed or needs a clock of its own.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

#[cfg(feature = "sled")]
mod clocks;
#[cfg(feature = "sled")]
mod directories;
mod follow;
mod hang;
mod harness;
mod identity;
mod lives;
#[cfg(feature = "sled")]
mod program;
mod relay;
mod tls;
