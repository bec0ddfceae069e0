//! Workloads over any FlareDB engine, how they are measured, and how the figures are shown.
//!
//! A [`Target`] is what is measured: any engine by [`EngineTarget`], and whatever else implements the trait.
//! [`Settings`] say what is asked of it, by how many callers, in a closed or an open loop. A [`Run`] does it
//! and answers with a [`Measurement`], which holds all that a reader needs to judge the figures, the raw
//! samples included. A [`Report`] is several of them with the [`Machine`] they were taken on: a table for
//! people, JSON for programs, and one page of HTML with plots.
//!
//! Nothing here knows of RocksDB, gRPC or the SDK.

mod disk;
mod distribution;
mod engine_target;
mod keys;
mod line;
mod machine;
mod measurement;
mod operations;
mod pacer;
mod progress;
mod recorder;
mod report;
mod run;
mod settings;
mod target;
mod values;
mod workload;

pub use disk::Disk;
pub use distribution::Distribution;
pub use engine_target::EngineTarget;
pub use keys::Keys;
pub use machine::Machine;
pub use measurement::{Bucket, Figures, Latency, Measurement};
pub use progress::{Phase, Progress, Stop};
pub use report::Report;
pub use run::Run;
pub use settings::Settings;
pub use target::{Result, Seen, Swap, Target, TargetInfo};
pub use workload::{Kind, Workload};
