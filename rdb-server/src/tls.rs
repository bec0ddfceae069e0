use std::path::{Path, PathBuf};
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};

/// Which certificates a node shows, and which it asks of its clients.
///
/// Files are PEM. They are read again when they change, without a restart: what connects from then on meets the
/// new ones. Changed files that cannot be used are reported, and the old ones stay in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The node's certificate, and behind it those that lead to a certificate authority that clients trust.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The certificate authorities of clients. With it, a client without a certificate of theirs is refused
    /// (mTLS), on both addresses; without it, any client is served.
    pub client_authorities: Option<PathBuf>,
    /// The names that a client's certificate may have: a DNS name, a URI, or its common name. Empty for any
    /// name. Needs `client_authorities`.
    pub allowed_clients: Vec<String>,
    /// How often to look whether a file has changed; 5 s by default.
    pub reload_interval: Duration,
}

impl TlsConfig {
    /// A certificate and its key; any client is served.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_authorities: None,
            allowed_clients: Vec::new(),
            reload_interval: Duration::from_secs(5),
        }
    }

    /// Reads the files and tells whether a node can use them, now.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument), naming the file: it is missing or unreadable, there is no
    /// certificate or key in it, a certificate has expired or is not valid yet, or the key is another's.
    pub fn check(&self) -> Result<()> {
        crate::certificates::Certificates::load(self).map(drop)
    }

    /// Refuses what no file shows.
    pub(crate) fn check_fields(&self) -> Result<()> {
        let invalid = |message| Err(Error::new(ErrorKind::InvalidArgument, message));
        if self.client_authorities.is_none() && !self.allowed_clients.is_empty() {
            return invalid("allowed clients without client authorities: anyone could take their names");
        }
        if self.allowed_clients.iter().any(String::is_empty) {
            return invalid("an allowed client's name is empty");
        }
        Ok(())
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [Some(&self.certificate), Some(&self.key), self.client_authorities.as_ref()];
        files.into_iter().flatten().map(PathBuf::as_path)
    }
}
