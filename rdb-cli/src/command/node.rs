use std::time::Duration;

use rdb_client::{Client, Engine, EngineInfo, Health, Limits, MAX_KEY_BYTES};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Shows what a node is and how it fares.
pub(crate) async fn status(client: &Client, endpoints: &str, out: &mut Output) -> Result<(), Failure> {
    let status = client.node_status().await?;
    let EngineInfo { name, format, capabilities, default_durability, best_durability, limits, .. } =
        client.info();
    let Limits {
        max_value_bytes,
        max_batch_len,
        max_batch_bytes,
        max_get_many_keys,
        max_scans,
        max_waiting_reads,
        max_queued_writes,
        max_queued_bytes,
        scan_idle,
        ..
    } = limits;
    // The names are those of the node's own answers; programs rely on them.
    out.sections(&[
        &[
            ("endpoints", json!(endpoints)),
            ("state", json!(status.state.to_string())),
            ("server_version", json!(client.server_version())),
            ("uptime_ms", json!(ms(status.uptime))),
            ("open_connections", json!(status.open_connections)),
            ("open_requests", json!(status.open_requests)),
            ("open_scans", json!(status.open_scans)),
        ],
        &[
            ("engine", json!(name)),
            ("format", json!(format)),
            ("expiry", json!(capabilities.expiry)),
            ("watch", json!(capabilities.watch)),
            ("sessions", json!(capabilities.sessions)),
            ("default_durability", json!(default_durability.name())),
            ("best_durability", json!(best_durability.name())),
        ],
        &[
            ("max_key_bytes", json!(MAX_KEY_BYTES)),
            ("max_value_bytes", json!(max_value_bytes)),
            ("max_batch_len", json!(max_batch_len)),
            ("max_batch_bytes", json!(max_batch_bytes)),
            ("max_get_many_keys", json!(max_get_many_keys)),
            ("max_scans", json!(max_scans)),
            ("scan_idle_ms", json!(ms(*scan_idle))),
            ("max_waiting_reads", json!(max_waiting_reads)),
            ("max_queued_writes", json!(max_queued_writes)),
            ("max_queued_bytes", json!(max_queued_bytes)),
            ("max_message_bytes", json!(client.max_message_bytes())),
        ],
    ])
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
