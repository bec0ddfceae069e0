use rdb_engine_api::LocalOptions;

/// How an in-memory engine behaves.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MemConfig {
    /// Limits and the like, as of every local engine.
    pub local: LocalOptions,
}
