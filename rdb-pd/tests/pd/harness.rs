use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rdb_engine_api::{Engine, Key, ManualClock, Record, Result};
use rdb_pd::{Oracle, OracleOptions, PdConfig, PlacementDriver, serve};
use rdb_proto::pd::v1::pd_client::PdClient;
use rdb_proto::{Call, from_status};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// 2023-11-14, a time like any other.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) fn wall(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(wall(NOW_MS)))
}

pub(crate) fn mem() -> Arc<dyn Engine> {
    Arc::new(rdb_engine_mem::open(&Default::default()).unwrap())
}

pub(crate) async fn oracle(engine: &Arc<dyn Engine>, clock: &Arc<ManualClock>) -> Result<Oracle> {
    Oracle::open(Arc::clone(engine), Arc::clone(clock) as _, OracleOptions::default()).await
}

/// The end of the window that is persisted, in milliseconds.
pub(crate) async fn persisted_end(engine: &dyn Engine) -> u64 {
    let record = row(engine, "timestamps").await.unwrap();
    u64::from_be_bytes(record.value[..8].try_into().unwrap())
}

pub(crate) async fn row(engine: &dyn Engine, name: &str) -> Option<Record> {
    engine.get(&Key::new(format!("flaredb-pd/{name}")).unwrap()).await.unwrap()
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

/// A placement driver on an engine and a clock that stay when it goes.
pub(crate) struct Served {
    pub(crate) driver: PlacementDriver,
    pub(crate) client: PdClient<Channel>,
}

pub(crate) async fn served(engine: &Arc<dyn Engine>, clock: &Arc<ManualClock>) -> Served {
    let mut config = PdConfig::on_free_ports();
    config.clock = Arc::clone(clock) as _;
    let driver = serve(Arc::clone(engine), config).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", driver.addr())).unwrap();
    let client = PdClient::new(endpoint.connect().await.unwrap());
    Served { driver, client }
}

/// The answer, or the error as the SDK would have it.
pub(crate) fn answer<A>(response: Result<Response<A>, Status>) -> Result<A> {
    response.map(Response::into_inner).map_err(|status| from_status(&status, Call::Write))
}
