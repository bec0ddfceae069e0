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
//! # Random sequences
//! The group `model` runs random sequences of every operation, reopens and crashes among them, against a
//! small model of the contract; where an answer differs, it prints the shortest sequence that it found and
//! how to run it again. The sequences are the same in every run. `FLAREDB_MODEL_SEED=N` begins with another
//! one (1 by default), `FLAREDB_MODEL_SEQUENCES=N` runs more of them in each case (20 by default), and the
//! deadline grows with it.
//!
//! # What does not apply
//! Some cases need something that not every engine has: that data outlives the process, a directory, or a
//! capability; and some that it lacks one, and then refuses what it did not declare (C18). Whether the engine has it is read from what it declares; what remains, a harness lists with reasons
//! ([`Harness::skips`]). A case that is left out prints `skip: ` and the reason, and the case
//! `suite_runs_what_the_engine_declares`, which cannot be left out, prints the whole list past the test
//! runner's capture and fails where an engine declares something that is then not run.
//!
//! What the suite was seen to catch, and what it does not prove, is in `docs/conformance.md`.
//!
//! Cases of clause C11, and some of others, need a store that fails on demand; they run on
//! [`Local`](crate::Local), in this crate's own tests.
//!
//! # Power cuts
//! What `synced` means only a power cut shows. [`power_cut_suite!`](crate::power_cut_suite) runs four cases
//! more, for engines that declare it, on an ext4 file system in a file, which is stopped as when the power
//! goes. That wants root and Linux; elsewhere each case prints `skip: ` and why.
//!
//! # Many callers
//! What the callers of a case of the concurrency group ask and are answered is recorded, and judged as a
//! whole by both checkers of `rdb-checker`, whatever else the case asserts. Anyone can record an engine's
//! callers likewise: [`Recorded`].
//!
//! # What to show
//! [`report`] runs the suite as a program would, case by case, and [`table`] makes of such reports a table
//! for a README. [`expected`] runs nothing and gives the report of a run in which nothing fails: enough for
//! a test that compares the table with the README, where the cases are tests of the same build already.

mod batch;
mod blocking;
mod caller;
mod concurrency;
mod context;
mod core;
mod damage;
mod db;
mod declared;
mod disk;
mod durability;
mod expiry;
mod harness;
mod judged;
mod lifecycle;
mod limits;
mod list;
mod model;
mod power;
mod recorded;
mod report;
mod restore;
mod runner;
mod scan;
mod session_ends;
mod sessions;
mod versions;
mod watch;
mod watch_ends;
mod watching;
mod workload;

use context::Context;
pub use harness::{Harness, LocalHarness, Running, Skip};
pub use rdb_checker::Recorder;
pub use recorded::Recorded;
pub use report::{Report, expected, report, table};
pub use runner::{Case, DEADLINE, Failure, Group, Need, Verdict, cases, run, run_case};
pub use workload::Workload;
