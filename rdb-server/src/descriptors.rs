use rdb_engine_api::{Error, ErrorKind, Result};
use rlimit::{INFINITY, Resource, increase_nofile_limit};

use crate::NodeConfig;

/// What is left to an engine's files and to the process itself. The engine on RocksDB keeps up to 512 open.
const RESERVED: u64 = 512 + 64;

/// Allows the process as many open files and connections as its hard limit has room for. A program calls it once,
/// when it starts; nothing else here changes the process.
///
/// # Errors
/// [`Unavailable`](ErrorKind::Unavailable) where the operating system refuses. The limit stays what it was, which
/// a node can live with.
pub fn raise_descriptor_limit() -> Result<u64> {
    increase_nofile_limit(INFINITY).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot raise the limit of open files").because(error)
    })
}

/// How many connections there may be: as configured, and no more than the process's open files allow.
pub(crate) fn max_connections(config: &NodeConfig) -> usize {
    let (limit, _) = Resource::NOFILE.get().unwrap_or((INFINITY, INFINITY));
    let allowed = capped(config.max_connections, config.max_ops_connections, limit);
    if allowed < config.max_connections {
        tracing::warn!(
            configured = config.max_connections,
            allowed,
            open_files = limit,
            "fewer connections than configured: the limit of open files is too low"
        );
    }
    allowed
}

fn capped(connections: usize, ops_connections: usize, limit: u64) -> usize {
    let room = limit.saturating_sub(RESERVED).saturating_sub(ops_connections as u64);
    // With fewer still, a node serves some clients until it has no descriptor left, which it survives.
    let room = room.max(limit / 4).max(1);
    connections.min(usize::try_from(room).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_files() {
        for (limit, allowed) in
            [(INFINITY, 10_000), (1 << 20, 10_000), (4096, 3456), (1024, 384), (64, 16), (0, 1)]
        {
            assert_eq!(capped(10_000, 64, limit), allowed, "{limit}");
        }
    }
}
