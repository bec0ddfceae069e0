use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rdb_engine_api::{Error, ErrorKind, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a connection is encrypted, whom the client trusts, and how it proves who it is.
///
/// Without anything, the server's certificate must come from an authority that the system trusts.
///
/// ```no_run
/// use rdb_client::{Client, Pem, TlsConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> rdb_client::Result<()> {
/// let tls = TlsConfig::default()
///     .authorities(Pem::file("ca.pem"))
///     .identity(Pem::file("client.pem"), Pem::file("client.key"));
/// let client = Client::builder().endpoint("https://db.example:7440").tls(tls).connect().await?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    authorities: Option<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
}

impl TlsConfig {
    /// Trusts these authorities instead of the system's.
    #[must_use]
    pub fn authorities(mut self, certificates: Pem) -> Self {
        self.authorities = Some(certificates);
        self
    }

    /// Shows this certificate, with what leads to its authority, to a server that asks for one.
    #[must_use]
    pub fn identity(mut self, certificates: Pem, key: Pem) -> Self {
        self.identity = Some((certificates, key));
        self
    }

    /// Expects the server's certificate to be for this name, instead of the host that is dialled.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// Certificates or a key, in PEM. A file is read again whenever a connection is made, so that what was
/// renewed is used from then on; one that then makes no sense is not, and the last that did still is.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Bytes(Bytes),
}

impl Pem {
    /// What this file holds.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// These bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Source::Bytes(bytes.into()))
    }

    fn read(&self) -> Result<Bytes> {
        match &self.0 {
            Source::Bytes(bytes) => Ok(bytes.clone()),
            Source::File(path) => {
                std::fs::read(path).map(Bytes::from).map_err(|error| unreadable(path, error))
            }
        }
    }
}

/// Where it comes from, never what it says: it may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => f.debug_tuple("Pem").field(path).finish(),
            Source::Bytes(bytes) => write!(f, "Pem({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => path.display().fmt(f),
            Source::Bytes(_) => f.write_str("given bytes"),
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    invalid("cannot read file").with("path", path.display()).because(error)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// TLS as it is configured, with what the files say now.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Shared>);

struct Shared {
    config: TlsConfig,
    server_name: Option<ServerName<'static>>,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    material: Material,
    /// Shared by what is loaded later: the system's are not read again.
    roots: Arc<RootCertStore>,
    client: Arc<ClientConfig>,
}

/// What the files say.
#[derive(PartialEq, Eq)]
struct Material {
    authorities: Option<Bytes>,
    identity: Option<(Bytes, Bytes)>,
}

impl Tls {
    /// Reads all that the configuration names. Dials nothing.
    pub(crate) fn load(config: TlsConfig) -> Result<Self> {
        let server_name = match &config.server_name {
            Some(name) => Some(
                ServerName::try_from(name.clone())
                    .map_err(|_| invalid("server name is no host name").with("name", name.escape_debug()))?,
            ),
            None => None,
        };
        let material = config.read()?;
        let roots = config.roots(&material)?;
        let client = config.client(&material, &roots)?;
        let loaded = Mutex::new(Loaded { material, roots, client });
        Ok(Self(Arc::new(Shared { config, server_name, loaded })))
    }

    /// Agrees with the server on the other side, if the name to expect of it is one.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<io::Result<TlsStream<TcpStream>>> {
        let shared = Arc::clone(&self.0);
        let client = match tokio::task::spawn_blocking(move || shared.current()).await {
            Ok(client) => client,
            Err(_) => Arc::clone(&self.0.loaded.lock().client),
        };
        let name = match &self.0.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| invalid("endpoint is no host name").with("host", host))?,
        };
        Ok(TlsConnector::from(client).connect(name, stream).await)
    }
}

impl Shared {
    /// What the files say now, if it makes sense.
    fn current(&self) -> Arc<ClientConfig> {
        let read = self.config.read().and_then(|material| {
            let mut loaded = self.loaded.lock();
            if loaded.material != material {
                let roots = match loaded.material.authorities == material.authorities {
                    true => Arc::clone(&loaded.roots),
                    false => self.config.roots(&material)?,
                };
                let client = self.config.client(&material, &roots)?;
                *loaded = Loaded { material, roots, client };
            }
            Ok(Arc::clone(&loaded.client))
        });
        read.unwrap_or_else(|error| {
            tracing::warn!(error = error.report(), "cannot load TLS files again; those from before are used");
            Arc::clone(&self.loaded.lock().client)
        })
    }
}

impl TlsConfig {
    fn read(&self) -> Result<Material> {
        let authorities = self.authorities.as_ref().map(Pem::read).transpose()?;
        let identity = match &self.identity {
            Some((certificates, key)) => Some((certificates.read()?, key.read()?)),
            None => None,
        };
        Ok(Material { authorities, identity })
    }

    fn roots(&self, material: &Material) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        match (&self.authorities, &material.authorities) {
            (Some(pem), Some(bytes)) => {
                for certificate in certificates(pem, bytes)? {
                    roots.add(certificate).map_err(|error| {
                        invalid("certificate of an authority makes no sense").with("path", pem).because(error)
                    })?;
                }
            }
            _ => {
                let system = rustls_native_certs::load_native_certs();
                let (added, _) = roots.add_parsable_certificates(system.certs);
                if added == 0 {
                    let error = invalid("the system trusts no authority: give the server's");
                    return Err(match system.errors.into_iter().next() {
                        Some(cause) => error.because(cause.to_string()),
                        None => error,
                    });
                }
            }
        }
        Ok(Arc::new(roots))
    }

    fn client(&self, material: &Material, roots: &Arc<RootCertStore>) -> Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Internal, "TLS has no versions").because(error))?
            .with_root_certificates(Arc::clone(roots));
        let mut client = match (&self.identity, &material.identity) {
            (Some((chain_pem, key_pem)), Some((chain, key))) => {
                let chain = certificates(chain_pem, chain)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| invalid("there is no private key in it").with("path", key_pem))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    invalid("client certificate and key do not belong together")
                        .with("certificate", chain_pem)
                        .with("key", key_pem)
                        .because(error)
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(client))
    }
}

fn certificates(pem: &Pem, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|_| invalid("certificates are not in PEM").with("path", pem))?;
    match chain.is_empty() {
        true => Err(invalid("there is no certificate in it").with("path", pem)),
        false => Ok(chain),
    }
}
