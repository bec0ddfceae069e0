//! The contract's cases, run on this engine.

mod direct {
    mod sled {
        use rdb_engine_api::conformance::LocalHarness;
        use rdb_engine_sled::SledConfig;

        rdb_engine_api::conformance_suite!(LocalHarness::new(|directory, limits| {
            let mut config = SledConfig::new(directory);
            config.local.limits = limits;
            rdb_engine_sled::open(&config)
        }));
    }
}
