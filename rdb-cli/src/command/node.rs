use rdb_client::{Client, Engine, EngineInfo, Health, Limits, MAX_KEY_BYTES};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::{Output, ms};

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
        max_blocked_writes,
        max_sessions,
        session_window,
        session_idle,
        max_watches,
        max_history_ops,
        max_history_bytes,
        history_age,
        expiry_lag,
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
            ("restore", json!(capabilities.restore)),
            ("blocking", json!(capabilities.blocking)),
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
            ("max_blocked_writes", json!(max_blocked_writes)),
            ("max_sessions", json!(max_sessions)),
            ("session_window", json!(session_window)),
            ("session_idle_ms", json!(ms(*session_idle))),
            ("max_watches", json!(max_watches)),
            ("max_history_ops", json!(max_history_ops)),
            ("max_history_bytes", json!(max_history_bytes)),
            ("history_age_ms", json!(ms(*history_age))),
            ("expiry_lag_ms", json!(ms(*expiry_lag))),
            ("max_message_bytes", json!(client.max_message_bytes())),
        ],
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
