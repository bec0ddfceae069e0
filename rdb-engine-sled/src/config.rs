use std::path::PathBuf;

use rdb_engine_api::LocalOptions;

/// How the sled engine is to be opened.
///
/// ```
/// let mut config = rdb_engine_sled::SledConfig::new("/var/lib/flaredb");
/// config.cache_bytes = 1 << 30;
/// assert_eq!(config.path.to_str(), Some("/var/lib/flaredb"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SledConfig {
    /// The data directory. It is made where it is missing, and belongs to one engine at a time (C12).
    pub path: PathBuf,
    /// The most bytes of pages that sled keeps in memory; at least [`MIN_CACHE_BYTES`](Self::MIN_CACHE_BYTES).
    /// sled's own bookkeeping for every page, resident or not, comes on top.
    pub cache_bytes: u64,
    /// The limits and the default durability of the engine. The best durability of sled is
    /// [`Process`](rdb_engine_api::Durability::Process).
    pub local: LocalOptions,
}

impl SledConfig {
    /// The smallest cache that is accepted: 1 MiB.
    pub const MIN_CACHE_BYTES: u64 = 1 << 20;

    /// The defaults for a data directory: a cache of 256 MiB.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), cache_bytes: 256 << 20, local: LocalOptions::default() }
    }
}
