//! The sides that the library's runner does not drive: programs that measure themselves, and loops without it.

mod import;
mod in_process;
#[cfg(feature = "rocks")]
mod raw;
#[cfg(feature = "rocks")]
mod raw_target;
mod redis_benchmark;
mod whole_scan;

pub(crate) use import::Import;
pub(crate) use in_process::InProcess;
#[cfg(feature = "rocks")]
pub(crate) use raw::{Raw, Work};
#[cfg(feature = "rocks")]
pub(crate) use raw_target::RawTarget;
pub(crate) use redis_benchmark::RedisBenchmark;
pub(crate) use whole_scan::{WholeScan, whole};
