//! The same by TLS, with certificates on both sides of every connection.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rdb_client::{Client, Pd, Pem, StoreState, TlsConfig};
use rdb_engine_api::{Engine as _, EngineExt as _, ErrorKind};
use rdb_pd::PdConfig;
use rdb_server::service::Bound;
use rdb_server::{NodeConfig, Serving as _, serve_in_cluster};

use crate::harness::{INTERVAL, flags, key, mem, sled, until};

struct Files {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the cluster's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate for this host, known as `name`, and its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(["localhost".to_owned(), name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    /// What a server asks of its clients: a certificate of the authority, with one of these names.
    fn server(&self, name: &str, allowed: &[&str]) -> rdb_server::TlsConfig {
        let (certificate, key) = self.issue(name);
        let mut tls = rdb_server::TlsConfig::new(certificate, key);
        tls.client_authorities = Some(self.path("ca"));
        tls.allowed_clients = allowed.iter().map(ToString::to_string).collect();
        tls
    }

    fn trusting(&self) -> TlsConfig {
        TlsConfig::default().authorities(Pem::file(self.path("ca")))
    }

    fn client(&self, name: &str) -> TlsConfig {
        let (certificate, key) = self.issue(name);
        self.trusting().identity(Pem::file(certificate), Pem::file(key))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn a_cluster_goes_by_client_certificates_alone() {
    let (files, directory) = (Files::new(), tempfile::tempdir().unwrap());
    let mut config = PdConfig::on_free_ports();
    config.heartbeat_interval = INTERVAL;
    config.server.tls = Some(files.server("pd", &["node", "app"]));
    let driver = rdb_pd::serve(mem(), config).await.unwrap();
    let pd_address = format!("localhost:{}", driver.addr().port());
    let engine = sled(directory.path());
    let member = async |certificate: Option<&str>| {
        let mut config = NodeConfig::on_free_ports();
        config.tls = Some(files.server("node-server", &["app"]));
        let bound = Bound::new(config).await.unwrap();
        let advertised = format!("localhost:{}", bound.addr().port());
        let mut arguments = vec!["--pd".to_owned(), pd_address.clone(), "--advertise".to_owned(), advertised];
        arguments.extend(["--pd-tls-ca".to_owned(), text(&files.path("ca"))]);
        if let Some(name) = certificate {
            let (certificate, key) = files.issue(name);
            arguments.extend(["--pd-tls-cert".to_owned(), text(&certificate)]);
            arguments.extend(["--pd-tls-key".to_owned(), text(&key)]);
        }
        let directory = Some(directory.path().to_owned());
        serve_in_cluster(bound, std::sync::Arc::clone(&engine), flags(&arguments), directory).await
    };
    let client = async |tls: TlsConfig| Client::builder().pd([pd_address.clone()]).tls(tls).connect().await;

    // Whom nobody knows is told why, and changes nothing.
    let error = member(None).await.unwrap_err();
    assert!(error.report().contains("server wants a client certificate"), "{}", error.report());
    let error = member(Some("stranger")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());

    let node = member(Some("node")).await.unwrap();
    let app = files.client("app");
    let pd = Pd::builder().endpoint(&pd_address).tls(app.clone()).connect().await.unwrap();
    let known = pd.stores().await.unwrap();
    assert_eq!((known.len(), known[0].state), (1, StoreState::Up));
    assert!(pd.timestamp().await.unwrap() < pd.timestamp().await.unwrap());
    let found = client(app.clone()).await.unwrap();
    let put = found.put(&key("k"), "v").await.unwrap();

    for stranger in [files.trusting(), files.client("stranger")] {
        let error = client(stranger).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    }
    // A node's certificate is good for the placement driver, and for no other node.
    let error = client(files.client("node")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    let plain = Client::builder().pd([pd_address.clone()]).connect().await.unwrap_err();
    assert_eq!(plain.kind(), ErrorKind::InvalidArgument, "{}", plain.report());

    // It is heard of, leaves, comes back on another port, and is followed there.
    until("heartbeats", async || {
        pd.stores().await.unwrap()[0].silent_for.is_some_and(|silence| silence < INTERVAL)
    })
    .await;
    drop(node);
    let before = found.endpoint().to_string();
    let node = member(Some("node")).await.unwrap();
    let mut version = None;
    until("followed", async || {
        version = found.get(&key("k")).await.ok().flatten().map(|record| record.version);
        version.is_some()
    })
    .await;
    assert_eq!(version, Some(put.version));
    assert_ne!(found.endpoint().to_string(), before);
    assert_eq!(pd.stores().await.unwrap().len(), 1);
    node.shutdown().await.unwrap();
    assert_eq!(pd.stores().await.unwrap()[0].state, StoreState::Leaving);
}
