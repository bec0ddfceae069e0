use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rdb_client::{Client, Pd, StoreState};
use rdb_engine_api::{Engine, Key, Result};
use rdb_engine_sled::SledConfig;
use rdb_pd::{PdConfig, PlacementDriver};
use rdb_server::service::Bound;
use rdb_server::settings::PdArgs;
use rdb_server::{Member, NodeConfig, serve_in_cluster};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often nodes are to send heartbeats. A node is silent after five times as long.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);

pub(crate) fn key(key: &str) -> Key {
    Key::new(key.to_owned()).unwrap()
}

pub(crate) fn mem() -> Arc<dyn Engine> {
    Arc::new(rdb_engine_mem::open(&Default::default()).unwrap())
}

pub(crate) fn sled(directory: &Path) -> Arc<dyn Engine> {
    Arc::new(rdb_engine_sled::open(&SledConfig::new(directory)).unwrap())
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) async fn driver(engine: Arc<dyn Engine>) -> PlacementDriver {
    let mut config = PdConfig::on_free_ports();
    config.heartbeat_interval = INTERVAL;
    rdb_pd::serve(engine, config).await.unwrap()
}

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    pd: PdArgs,
}

/// What a node's flags for its placement driver mean.
pub(crate) fn flags<S: AsRef<str>>(flags: &[S]) -> rdb_server::settings::PdConfig {
    let flags = flags.iter().map(|flag| flag.as_ref().to_owned());
    Flags::parse_from(["node".to_owned()].into_iter().chain(flags)).pd.config().unwrap()
}

/// A node on free ports that belongs to the cluster of this placement driver.
pub(crate) async fn node(
    engine: &Arc<dyn Engine>,
    pd: impl ToString,
    directory: Option<&Path>,
) -> Result<Member> {
    node_with(NodeConfig::on_free_ports(), engine, pd, directory).await
}

pub(crate) async fn node_with(
    config: NodeConfig,
    engine: &Arc<dyn Engine>,
    pd: impl ToString,
    directory: Option<&Path>,
) -> Result<Member> {
    let bound = Bound::new(config).await?;
    let pd = flags(&["--pd".to_owned(), pd.to_string()]);
    serve_in_cluster(bound, Arc::clone(engine), pd, directory.map(Path::to_owned)).await
}

/// The SDK, which knows nothing but the placement driver's address.
pub(crate) async fn client(pd: impl ToString) -> Result<Client> {
    Client::builder().pd([pd.to_string()]).connect().await
}

/// The cluster's stores: state and address by id.
pub(crate) async fn stores(pd: &PlacementDriver) -> BTreeMap<u64, (StoreState, String)> {
    let stores = Pd::connect(pd.addr().to_string()).await.unwrap().stores().await.unwrap();
    stores.into_iter().map(|store| (store.id, (store.state, store.info.address))).collect()
}

/// The id and epoch that the key range has.
pub(crate) async fn holder(pd: &PlacementDriver) -> (u64, u64) {
    let location = Pd::connect(pd.addr().to_string()).await.unwrap().locate(&key("k")).await.unwrap();
    (location.store.id, location.epoch)
}

/// A metric without labels.
pub(crate) async fn metric(addr: SocketAddr, name: &str) -> f64 {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no `{name}` in\n{answer}")).parse().unwrap()
}
