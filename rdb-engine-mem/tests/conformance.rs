//! The contract's cases, run on this engine.

mod direct {
    mod mem {
        use rdb_engine_api::conformance::LocalHarness;
        use rdb_engine_mem::MemConfig;

        rdb_engine_api::conformance_suite!(LocalHarness::new(|_, limits| {
            let mut config = MemConfig::default();
            config.local.limits = limits;
            rdb_engine_mem::open(&config)
        }));
    }
}
