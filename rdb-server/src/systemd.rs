//! What systemd is told, where it started the process as `Type=notify`. Elsewhere, nobody is told anything.

use std::net::SocketAddr;

use sd_notify::NotifyState;

/// Sends signs of life from the runtime, as often as systemd wants them twice: where all of the runtime's
/// threads hang, they end.
pub(crate) fn beat() {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(async move {
            let mut beats = tokio::time::interval(limit / 2);
            loop {
                beats.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
        });
    }
}

pub(crate) fn starting() {
    tell(&[NotifyState::Status("opening the engine")]);
}

/// Clients can connect.
pub(crate) fn ready(engine: &str, address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving {engine} on {address}"))]);
}

pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what has begun")]);
}

pub(crate) fn failed(report: &str) {
    // A line of its own would be another message.
    tell(&[NotifyState::Status(&report.replace('\n', " "))]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot tell systemd");
    }
}
