use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Clock as _, Error, ErrorKind, Result, SystemClock};
use rustls::ServerConfig;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::TlsConfig;
use crate::certificates::{Certificates, read};

/// The certificates in use, which follow their files.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    config: TlsConfig,
    current: Arc<ArcSwap<Certificates>>,
    expiry: Gauge,
    reloads: Counter,
    failed_reloads: Counter,
}

impl Tls {
    /// Reads the files.
    pub(crate) async fn new(config: TlsConfig) -> Result<Self> {
        let files = config.clone();
        let certificates = in_background(move || Certificates::load(&files)).await?;
        let tls = Self {
            config,
            current: Arc::new(ArcSwap::from_pointee(certificates)),
            expiry: Gauge::default(),
            reloads: Counter::default(),
            failed_reloads: Counter::default(),
        };
        tls.expiry.set(tls.current.load().expiry);
        Ok(tls)
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tls_certificate_expiry_timestamp_seconds",
            "When the first of the certificates that are shown to clients expires",
            self.expiry.clone(),
        );
        registry.register("tls_reloads", "Changed certificates that were put to use", self.reloads.clone());
        registry.register(
            "tls_reloads_failed",
            "Changed certificates that cannot be used",
            self.failed_reloads.clone(),
        );
    }

    /// For a handshake at the gRPC address.
    pub(crate) fn grpc(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().grpc)
    }

    /// For a handshake at the operations address.
    pub(crate) fn ops(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().ops)
    }

    /// Looks again and again whether the files have changed, until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut failures = Failures::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.config.reload_interval) => {}
            }
            let tls = self.clone();
            match in_background(move || tls.look()).await {
                Ok(None) => failures = Failures::default(),
                Ok(Some(certificates)) => {
                    failures = Failures::default();
                    self.expiry.set(certificates.expiry);
                    self.current.store(Arc::new(certificates));
                    self.reloads.inc();
                    tracing::info!(path = %self.config.certificate.display(), "new certificates are in use");
                }
                Err(error) => {
                    if failures.is_news(error.report()) {
                        self.failed_reloads.inc();
                        tracing::error!(
                            error = error.report(),
                            "changed certificates cannot be used; the old ones stay in use"
                        );
                    }
                }
            }
        }
    }

    /// Reads the files; none where they have not changed. What they hold is compared: times and places of files
    /// say less, most of all where they are links to links that are swapped, as in Kubernetes.
    fn look(&self) -> Result<Option<Certificates>> {
        let files = read(&self.config)?;
        if files == self.current.load().files {
            return Ok(None);
        }
        Certificates::of(&self.config, files, SystemClock::new().wall()).map(Some)
    }
}

/// What was last wrong with changed files. It is told once, and only when a second look finds the same: a first
/// one may fall between the writing of a certificate and that of its key.
#[derive(Debug, Default)]
struct Failures {
    last: Option<String>,
    is_told: bool,
}

impl Failures {
    fn is_news(&mut self, report: String) -> bool {
        if self.last.as_ref() != Some(&report) {
            *self = Self { last: Some(report), is_told: false };
            return false;
        }
        !std::mem::replace(&mut self.is_told, true)
    }
}

/// A file may be on a disk that does not answer.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Internal, "reading certificates panicked").because(error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_not_before_it_lasts() {
        let mut failures = Failures::default();
        let told = ["a", "b", "b", "b", "a", "a"].map(|report| failures.is_news(report.to_owned()));
        assert_eq!(told, [false, false, true, false, false, true]);
    }
}
