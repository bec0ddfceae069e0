//! Serves the engine: `engine-redb [DIRECTORY [ADDRESS OPERATIONS-ADDRESS]]`.

use std::{env, net::AddrParseError, process::ExitCode, sync::Arc};

fn main() -> Result<ExitCode, AddrParseError> {
    let mut arguments = env::args().skip(1);
    let redb = engine_redb::RedbConfig::new(arguments.next().unwrap_or("redb-data".to_owned()));
    let mut node = rdb_server::NodeConfig::default();
    for (address, argument) in [&mut node.listen, &mut node.ops_listen].into_iter().zip(arguments) {
        *address = argument.parse()?;
    }
    Ok(rdb_server::run(node, move || Ok(Arc::new(engine_redb::open(&redb)?))))
}
