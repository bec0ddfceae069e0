//! The contract's cases on every engine through a served node: the function that the binary itself calls,
//! real TCP, the SDK. Directly they run in each engine's own `tests/conformance.rs`.

mod engines;
mod moved;
mod readme;
mod wire;
