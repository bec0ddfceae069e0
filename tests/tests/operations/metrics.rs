//! What is exported, what `docs/metrics.md` lists, and what the dashboard and the alerts ask for agree.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_parse::{Scrape, Value};
use rdb_engine_api::{Engine, EngineExt as _, Key};
use rdb_engine_mem::MemConfig;
use rdb_engine_rocks::RocksConfig;
use rdb_engine_sled::SledConfig;
use rdb_server::service::Bound;
use rdb_server::settings::PdConfig;
use rdb_server::{NodeConfig, Serving, TlsConfig, serve, serve_in_cluster};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

type Names = BTreeSet<String>;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in the first column of the tables.
fn documented() -> Names {
    let rows = file("docs/metrics.md");
    rows.lines().filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

/// Every word in a file that looks like the name of a metric of ours; that of a histogram without what its
/// samples have behind it.
fn used(path: &str) -> Names {
    let text = file(path);
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("flaredb_") || word.starts_with("process_"));
    ours.map(|word| family(word).to_owned()).collect()
}

/// No name of ours ends like this but a histogram's samples.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

async fn metrics(addr: SocketAddr) -> String {
    metrics_over(TcpStream::connect(addr).await.unwrap()).await
}

async fn metrics_over(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let exchange = async {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

fn parse(text: &str) -> Scrape {
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let described: Names = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(names(&scrape), described, "what the parser understood is what there is");
    scrape
}

/// Serves an engine, and parses what a scrape of its node shows.
async fn scrape(engine: impl Engine) -> Scrape {
    engine.put(&Key::new("k").unwrap(), "v").await.unwrap();
    let node = serve(Arc::new(engine), NodeConfig::on_free_ports()).await.unwrap();
    let text = metrics(node.ops_addr()).await;
    node.shutdown().await.unwrap();
    parse(&text)
}

/// Serves a placement driver and a node that belongs to it and talks TLS, and parses what scrapes of both show.
async fn scrape_cluster() -> [Scrape; 2] {
    let engine = || Arc::new(rdb_engine_mem::open(&MemConfig::default()).unwrap());
    let driver = rdb_pd::serve(engine(), rdb_pd::PdConfig::on_free_ports()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("node.crt"), directory.path().join("node.key"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let mut config = NodeConfig::on_free_ports();
    config.tls = Some(TlsConfig::new(certificate, key));
    let bound = Bound::new(config).await.unwrap();
    let pd = PdConfig::new([driver.addr().to_string().parse().unwrap()]);
    let node = serve_in_cluster(bound, engine(), pd, None).await.unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(node.ops_addr()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    let scrapes = [parse(&metrics(driver.ops_addr()).await), parse(&metrics_over(stream).await)];
    node.shutdown().await.unwrap();
    driver.shutdown().await.unwrap();
    scrapes
}

fn names(scrape: &Scrape) -> Names {
    scrape.samples.iter().map(|sample| family(&sample.metric).to_owned()).collect()
}

/// By nodes on every engine, and by a cluster.
async fn exported() -> Names {
    let (sled, rocks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let scrapes = [
        scrape(rdb_engine_mem::open(&MemConfig::default()).unwrap()).await,
        scrape(rdb_engine_sled::open(&SledConfig::new(sled.path())).unwrap()).await,
        scrape(rdb_engine_rocks::open(&RocksConfig::new(rocks.path())).unwrap()).await,
    ];
    scrapes.iter().chain(&scrape_cluster().await).flat_map(names).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_every_documented_one_is_exported() {
    let (documented, exported) = (documented(), exported().await);
    let missing: Vec<_> = exported.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:#?}");
    let gone: Vec<_> = documented.difference(&exported).collect();
    assert!(gone.is_empty(), "in docs/metrics.md, but not exported: {gone:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_and_the_alerts_ask_for_nothing_that_is_not_exported() {
    let (exported, documented) = (exported().await, documented());
    for path in ["deploy/grafana-dashboard.json", "deploy/alerts.yaml"] {
        let used = used(path);
        assert!(used.len() > 10, "{path} uses metrics: {used:?}");
        let unknown: Vec<_> = used.difference(&exported).collect();
        assert!(unknown.is_empty(), "{path} asks for what is not exported: {unknown:#?}");
        let unlisted: Vec<_> = used.difference(&documented).collect();
        assert!(unlisted.is_empty(), "{path} asks for what is not documented: {unlisted:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_every_metric() {
    let shown = used("deploy/grafana-dashboard.json");
    let hidden: Vec<_> = documented().difference(&shown).cloned().collect();
    assert!(hidden.is_empty(), "in no panel: {hidden:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_rocks_is_seen_in_its_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let scrape = scrape(rdb_engine_rocks::open(&RocksConfig::new(directory.path())).unwrap()).await;
    let number = |name: &str| {
        let found = scrape.samples.iter().find(|sample| sample.metric == name);
        match &found.unwrap_or_else(|| panic!("no `{name}`")).value {
            Value::Counter(number) | Value::Gauge(number) => *number,
            other => panic!("{name}: {other:?}"),
        }
    };
    for grown in ["wal_syncs_total", "wal_written_bytes_total", "written_bytes_total", "write_buffers_bytes"]
    {
        let name = format!("flaredb_engine_rocksdb_{grown}");
        assert!(number(&name) > 0.0, "{name}");
    }
    assert_eq!(number("flaredb_engine_rocksdb_keys"), 1.0);
    assert_eq!(number("flaredb_engine_rocksdb_background_errors_total"), 0.0);
}
