use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rdb_engine_api::{Clock as _, Error, ErrorKind, Result, SystemClock};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::TlsConfig;
use crate::allowed_clients::AllowedClients;

/// What the files of a [`TlsConfig`] hold, ready for handshakes.
pub(crate) struct Certificates {
    /// For the gRPC address.
    pub(crate) grpc: Arc<ServerConfig>,
    /// For the operations address.
    pub(crate) ops: Arc<ServerConfig>,
    /// When the first of the node's certificates expires, in seconds since the Unix epoch.
    pub(crate) expiry: i64,
    /// The bytes of the files, to tell whether they have changed.
    pub(crate) files: Vec<Vec<u8>>,
}

/// When they expire, never what the files say: one of them is the private key.
impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificates").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self> {
        config.check_fields()?;
        let files = read(config)?;
        Self::of(config, files, SystemClock::new().wall())
    }

    /// Makes use of what the files hold, in their order.
    pub(crate) fn of(config: &TlsConfig, files: Vec<Vec<u8>>, now: SystemTime) -> Result<Self> {
        let [certificate, key, authorities @ ..] = &files[..] else {
            return Err(Error::new(ErrorKind::Internal, "a file of the node's certificate was not read"));
        };
        let chain = certificates(&config.certificate, certificate)?;
        let expiry = check_times(&config.certificate, &chain, now)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => invalid("there is no private key in the file", &config.key),
            error => invalid("cannot read private key", &config.key).because(error),
        })?;
        let provider = Arc::new(ring::default_provider());
        let identity = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                invalid("private key does not belong to the certificate", &config.key)
                    .with("certificate", config.certificate.display())
            }
            error => invalid("cannot use private key", &config.key).because(error),
        })?;
        let server = Server {
            provider,
            identity: Arc::new(identity.into()),
            clients: match (&config.client_authorities, authorities) {
                (Some(path), [file, ..]) => Some(authorities_in(path, file)?),
                _ => None,
            },
            allowed: &config.allowed_clients,
        };
        Ok(Self { grpc: server.config("h2")?, ops: server.config("http/1.1")?, expiry, files })
    }
}

/// Reads the files of a configuration, in their order.
pub(crate) fn read(config: &TlsConfig) -> Result<Vec<Vec<u8>>> {
    let read = |path: &Path| fs::read(path).map_err(|error| invalid("cannot read file", path).because(error));
    config.files().map(read).collect()
}

fn invalid(message: &'static str, path: &Path) -> Error {
    Error::new(ErrorKind::InvalidArgument, message).with("path", path.display())
}

fn certificates(path: &Path, file: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file).collect();
    let found = found.map_err(|error| invalid("cannot read certificate", path).because(error))?;
    if found.is_empty() {
        return Err(invalid("there is no certificate in the file", path));
    }
    Ok(found)
}

/// Refuses certificates that are not valid now; returns when the first of them expires.
fn check_times(path: &Path, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<i64> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut expiry = i64::MAX;
    for certificate in chain {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| invalid("cannot read certificate", path).because(error))?;
        let validity = certificate.validity();
        if now > validity.not_after.timestamp() {
            return Err(invalid("certificate has expired", path).with("not_after", date(validity.not_after)));
        }
        if now < validity.not_before.timestamp() {
            return Err(
                invalid("certificate is not valid yet", path).with("not_before", date(validity.not_before))
            );
        }
        expiry = expiry.min(validity.not_after.timestamp());
    }
    Ok(expiry)
}

fn date(time: ASN1Time) -> String {
    time.to_rfc2822().unwrap_or_else(|_| time.to_string())
}

fn authorities_in(path: &Path, file: &[u8]) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, file)? {
        roots
            .add(certificate)
            .map_err(|error| invalid("cannot use certificate of an authority", path).because(error))?;
    }
    Ok(Arc::new(roots))
}

/// What the configurations of the addresses have in common.
struct Server<'a> {
    provider: Arc<CryptoProvider>,
    identity: Arc<SingleCertAndKey>,
    clients: Option<Arc<RootCertStore>>,
    allowed: &'a [String],
}

impl Server<'_> {
    fn config(&self, protocol: &str) -> Result<Arc<ServerConfig>> {
        let internal = |error| Error::new(ErrorKind::Internal, "cannot set up TLS").because(error);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(internal)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let provider = Arc::clone(&self.provider);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
                    .build()
                    .map_err(|error| Error::new(ErrorKind::Internal, "cannot set up TLS").because(error))?;
                builder.with_client_cert_verifier(Arc::new(AllowedClients::new(verifier, self.allowed)))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.identity) as _);
        config.alpn_protocols = vec![protocol.into()];
        // Connections last, so there is little to resume; and each one's certificate is to be judged anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}
