//! What an operator has in hand, on every engine.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

mod metrics;
mod moved;
mod moves;
