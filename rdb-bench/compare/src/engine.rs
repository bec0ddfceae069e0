use std::path::Path;
use std::sync::Arc;

use rdb_client::Engine;

use crate::failure::Result;

/// Opens an engine in this process, by its name, as `rdb-server` opens it unless it is told otherwise.
pub(crate) fn open(name: &str, data: &Path) -> Result<Arc<dyn Engine>> {
    match name {
        #[cfg(feature = "mem")]
        "mem" => Ok(Arc::new(rdb_engine_mem::open(&rdb_engine_mem::MemConfig::default())?)),
        #[cfg(feature = "sled")]
        "sled" => Ok(Arc::new(rdb_engine_sled::open(&rdb_engine_sled::SledConfig::new(data))?)),
        #[cfg(feature = "rocks")]
        "rocks" => Ok(Arc::new(rdb_engine_rocks::open(&rdb_engine_rocks::RocksConfig::new(data))?)),
        _ => {
            let _ = data;
            Err(format!("this program was built without the engine {name}").into())
        }
    }
}
