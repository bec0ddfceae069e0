use std::path::PathBuf;

/// Which certificates a node shows, and which it asks of its clients.
///
/// Files are PEM. They are read again when they change, without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The node's certificate, and behind it those that lead to a certificate authority that clients trust.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The certificate authorities of clients. With it, a client without a certificate of theirs is refused
    /// (mTLS); without it, any client is served.
    pub client_authorities: Option<PathBuf>,
    /// The names that a client's certificate may have: a DNS name, a URI, or its common name. Empty for any
    /// name. Needs `client_authorities`.
    pub allowed_clients: Vec<String>,
}

impl TlsConfig {
    /// A certificate and its key; any client is served.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_authorities: None,
            allowed_clients: Vec::new(),
        }
    }
}
