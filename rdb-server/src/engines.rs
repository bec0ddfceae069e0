//! The one place that knows engines by name.

use std::sync::Arc;

use rdb_engine_api::{Engine, Result};

use crate::cli::{Cli, EngineName};

/// Opens the engine that the flags ask for.
///
/// # Errors
/// [`Unsupported`](rdb_engine_api::ErrorKind::Unsupported) where it is not compiled in; what opening it reports.
pub(crate) fn open(cli: &Cli) -> Result<Arc<dyn Engine>> {
    match cli.engine {
        EngineName::Rocks => open_rocks(cli),
        EngineName::Sled => open_sled(cli),
        EngineName::Mem => open_mem(cli),
    }
}

#[cfg(feature = "rocks")]
fn open_rocks(cli: &Cli) -> Result<Arc<dyn Engine>> {
    let mut config = rdb_engine_rocks::RocksConfig::new(cli.data_dir());
    config.local = cli.local_options();
    if let Some(size) = cli.cache_size {
        config.block_cache_bytes = size;
    }
    Ok(Arc::new(rdb_engine_rocks::open(&config)?))
}

#[cfg(feature = "sled")]
fn open_sled(cli: &Cli) -> Result<Arc<dyn Engine>> {
    let mut config = rdb_engine_sled::SledConfig::new(cli.data_dir());
    config.local = cli.local_options();
    if let Some(size) = cli.cache_size {
        config.cache_bytes = size as u64;
    }
    Ok(Arc::new(rdb_engine_sled::open(&config)?))
}

#[cfg(feature = "mem")]
fn open_mem(cli: &Cli) -> Result<Arc<dyn Engine>> {
    let mut config = rdb_engine_mem::MemConfig::default();
    config.local = cli.local_options();
    Ok(Arc::new(rdb_engine_mem::open(&config)?))
}

#[cfg(not(feature = "rocks"))]
use not_compiled_in as open_rocks;

#[cfg(not(feature = "sled"))]
use not_compiled_in as open_sled;

#[cfg(not(feature = "mem"))]
use not_compiled_in as open_mem;

#[cfg(not(all(feature = "rocks", feature = "sled", feature = "mem")))]
fn not_compiled_in(cli: &Cli) -> Result<Arc<dyn Engine>> {
    use rdb_engine_api::{Error, ErrorKind};

    let name = cli.engine.name();
    Err(Error::new(
        ErrorKind::Unsupported,
        "this rdb-server was built without the engine; build it with the cargo feature of that name",
    )
    .with("engine", name)
    .with("feature", name))
}
