//! Everything that the contract promises, as far as it applies to this engine.

use engine_redb::{RedbConfig, open};
use rdb_engine_api::conformance::LocalHarness;

rdb_engine_api::conformance_suite!(LocalHarness::new(|directory, limits| {
    open(&RedbConfig::new(directory).with_limits(limits))
}));
