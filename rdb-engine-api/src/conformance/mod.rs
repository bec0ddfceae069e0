//! The suite that proves an engine: one case for each thing that the contract promises and a process
//! can check, each named after its clause.
//!
//! The author of an engine writes a [`Harness`], which opens the engine over a directory that the suite
//! gives, and runs everything with one macro. For an engine over [`Local`](crate::Local), or any other
//! that opens with a function call, [`LocalHarness`] is that harness:
//!
//! ```
//! # use rdb_engine_api::{Engine, Limits, Result, conformance::LocalHarness};
//! # fn open<S: rdb_engine_api::Store>(_: &std::path::Path, _: Limits) -> Result<rdb_engine_api::Local<S>> { unreachable!() }
//! // tests/conformance.rs
//! rdb_engine_api::conformance_suite!(LocalHarness::new(|directory, limits| open(directory, limits)));
//! ```
//!
//! Each case becomes one `#[test]`, in a module for its group, on a runtime, in a directory and with an
//! engine of its own, and fails when it takes longer than [`DEADLINE`].
//!
//! # What does not apply
//! Some cases need something that not every engine has: that data outlives the process, or a directory.
//! Whether the engine has it is read from what it declares; what remains, a harness lists with reasons
//! ([`Harness::skips`]). A case that is left out prints `skip: ` and the reason, and the case
//! `suite_runs_what_the_engine_declares`, which cannot be left out, prints the whole list past the test
//! runner's capture and fails where an engine declares something that is then not run.
//!
//! What the suite was seen to catch, and what it does not prove, is in `docs/conformance.md`.
//!
//! Cases of clause C11, and some of others, need a store that fails on demand; they run on
//! [`Local`](crate::Local), in this crate's own tests.

mod batch;
mod concurrency;
mod context;
mod core;
mod damage;
mod db;
mod declared;
mod durability;
mod harness;
mod lifecycle;
mod limits;
mod list;
mod runner;
mod scan;
mod versions;

use context::Context;
pub use harness::{Harness, LocalHarness, Running, Skip};
pub use runner::{Case, DEADLINE, Failure, Group, Need, Verdict, cases, run, run_case};
