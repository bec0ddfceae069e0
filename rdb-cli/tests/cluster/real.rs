//! The commands against a placement driver and a node as they are, by TLS with certificates on both sides.

use std::path::PathBuf;
use std::sync::Arc;

use rdb_engine_mem::MemConfig;
use rdb_pd::PdConfig;
use rdb_server::service::Bound;
use rdb_server::settings::{PdConfig as Membership, PdTls};
use rdb_server::{NodeConfig, Serving as _, TlsConfig, serve_in_cluster};

use super::fake::certificates::Authority;
use crate::shell::Shell;

#[tokio::test]
async fn a_cluster_that_asks_for_certificates_is_used_by_its_placement_drivers_address_alone() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    let issue = |name: &str| -> (PathBuf, PathBuf) {
        let identity = authority.issue(&["localhost", name]);
        let paths = (path(&format!("{name}.crt")), path(&format!("{name}.key")));
        std::fs::write(&paths.0, identity.certificate).unwrap();
        std::fs::write(&paths.1, identity.key).unwrap();
        paths
    };
    std::fs::write(path("ca"), authority.pem()).unwrap();
    let asking = |name: &str, allowed: &[&str]| {
        let (certificate, key) = issue(name);
        let mut tls = TlsConfig::new(certificate, key);
        tls.client_authorities = Some(path("ca"));
        tls.allowed_clients = allowed.iter().map(ToString::to_string).collect();
        tls
    };
    let engine = || Arc::new(rdb_engine_mem::open(&MemConfig::default()).unwrap());
    let mut config = PdConfig::on_free_ports();
    config.server.tls = Some(asking("pd", &["node", "operator"]));
    let driver = rdb_pd::serve(engine(), config).await.unwrap();
    let pd = format!("localhost:{}", driver.addr().port());
    let mut config = NodeConfig::on_free_ports();
    config.tls = Some(asking("node", &["operator"]));
    let bound = Bound::new(config).await.unwrap();
    let mut membership = Membership::new([pd.parse().unwrap()]);
    membership.advertise = Some(format!("localhost:{}", bound.addr().port()).parse().unwrap());
    let mut tls = PdTls::new(path("ca"));
    tls.identity = Some((path("node.crt"), path("node.key")));
    membership.tls = Some(tls);
    let node = serve_in_cluster(bound, engine(), membership, None).await.unwrap();

    let shell = Shell::new().await; // of another node, which is not asked
    let as_who = |name: &str| {
        let (certificate, key) = issue(name);
        let (ca, certificate, key) =
            (path("ca"), certificate.display().to_string(), key.display().to_string());
        format!("--pd {pd} --tls-ca {} --tls-cert {certificate} --tls-key {key}", ca.display())
    };
    let operator = as_who("operator");
    shell.text(&format!("{operator} put k v")).await;
    assert_eq!(shell.text(&format!("{operator} get k")).await, "v");
    let stores = shell.text(&format!("{operator} stores")).await;
    assert!(stores.contains("up") && stores.contains(&node.addr().port().to_string()), "{stores}");
    assert_eq!(shell.text(&format!("{operator} tso --count 3")).await.lines().count(), 3);
    let backup = path("all.backup").display().to_string();
    let ran = shell.rdb(format!("{operator} backup {backup}").split(' ')).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    shell.text(&format!("verify {backup}")).await;

    for (line, code) in [
        (format!("{} get k", as_who("stranger")), 5),
        (format!("{} tso", as_who("stranger")), 5),
        (format!("--pd {pd} --tls-ca {} get k", path("ca").display()), 5),
        (format!("--pd {pd} get k"), 2),
    ] {
        let ran = shell.rdb(line.split(' ')).await;
        assert_eq!((ran.code, ran.out.len()), (code, 0), "{line}: {}", ran.err);
    }
    node.shutdown().await.unwrap();
    driver.shutdown().await.unwrap();
}
