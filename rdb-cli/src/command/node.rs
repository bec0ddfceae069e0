use rdb_client::{Client, Engine, Health};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Shows what a node is and how it fares.
pub(crate) async fn status(client: &Client, endpoints: &[String], out: &mut Output) -> Result<(), Failure> {
    let status = client.node_status().await?;
    let info = client.info();
    let limits = &info.limits;
    let capabilities: Vec<_> = [
        ("expiry", info.capabilities.expiry),
        ("watch", info.capabilities.watch),
        ("sessions", info.capabilities.sessions),
    ]
    .into_iter()
    .filter_map(|(name, declared)| declared.then_some(name))
    .collect();
    out.pairs(&[
        ("endpoints", json!(endpoints.join(","))),
        ("state", json!(status.state.to_string())),
        ("server_version", json!(client.server_version())),
        ("engine", json!(info.name)),
        ("format", json!(info.format)),
        ("capabilities", json!(capabilities.join(","))),
        ("default_durability", json!(info.default_durability.name())),
        ("best_durability", json!(info.best_durability.name())),
        ("uptime_seconds", json!(status.uptime.as_secs())),
        ("open_connections", json!(status.open_connections)),
        ("open_requests", json!(status.open_requests)),
        ("open_scans", json!(status.open_scans)),
        ("max_value_bytes", json!(limits.max_value_bytes)),
        ("max_batch_len", json!(limits.max_batch_len)),
        ("max_batch_bytes", json!(limits.max_batch_bytes)),
        ("max_get_many_keys", json!(limits.max_get_many_keys)),
        ("max_scans", json!(limits.max_scans)),
        ("scan_idle_seconds", json!(limits.scan_idle.as_secs())),
    ])
}

/// Shows whether a node takes requests.
pub(crate) async fn health(client: &Client, out: &mut Output) -> Result<(), Failure> {
    let health = client.health().await?;
    out.pairs(&[("health", json!(health.to_string()))])?;
    match health {
        Health::Serving => Ok(()),
        _ => {
            out.finish()?;
            Err(Failure::new(Exit::Unavailable, "node is not serving"))
        }
    }
}
