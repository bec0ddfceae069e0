//! What is there after a power cut, since this engine declares `synced`. Wants root on Linux; else each case
//! says that it was skipped.

use engine_redb::{RedbConfig, open};
use rdb_engine_api::conformance::LocalHarness;

rdb_engine_api::power_cut_suite!(LocalHarness::new(|directory, limits| {
    open(&RedbConfig::new(directory).with_limits(limits))
}));
