//! What is persisted, and what of it is refused.

use std::sync::Arc;

use bytes::Bytes;
use rdb_engine_api::{Engine, EngineExt as _, ErrorKind, Key, Result};
use rdb_pd::{PdConfig, serve};
use rdb_proto::pd::v1;

use crate::double::Double;
use crate::harness::{HOUR, answer, clock, mem, row, served, until};

async fn refusal(rows: &[(&str, &[u8])]) -> Result<()> {
    let engine = mem();
    for (name, value) in rows {
        engine.put(&Key::new(name.to_string()).unwrap(), Bytes::copy_from_slice(value)).await.unwrap();
    }
    let driver = serve(Arc::clone(&engine), PdConfig::on_free_ports()).await?;
    driver.shutdown().await
}

#[tokio::test]
async fn a_cluster_is_made_once_and_its_id_stays() {
    let (engine, clock) = (mem(), clock());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut served = served(&engine, &clock).await;
        let cluster = answer(served.client.cluster(v1::ClusterRequest {}).await).unwrap();
        assert_eq!(cluster.server_version, env!("CARGO_PKG_VERSION"));
        assert_eq!(cluster.cluster_id, served.driver.cluster_id());
        ids.push(cluster.cluster_id);
    }
    assert!(ids[0] != 0 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let other = served(&mem(), &clock).await.driver.cluster_id();
    assert_ne!(other, ids[0]);
}

#[tokio::test]
async fn drivers_that_start_at_once_on_one_engine_are_of_one_cluster() {
    let engine = mem();
    let started = (0..4).map(|_| serve(Arc::clone(&engine), PdConfig::on_free_ports()));
    let drivers: Vec<_> = futures::future::join_all(started).await.into_iter().map(Result::unwrap).collect();
    assert!(drivers.iter().all(|driver| driver.cluster_id() == drivers[0].cluster_id()));
}

#[tokio::test]
async fn an_engine_that_holds_something_else_is_refused_and_left_alone() {
    let engine = mem();
    engine.put(&Key::new("user/7").unwrap(), "x").await.unwrap();
    let error = serve(Arc::clone(&engine), PdConfig::on_free_ports()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(row(&*engine, "format").await.is_none());
}

#[tokio::test]
async fn an_unknown_format_is_refused() {
    let error = refusal(&[("flaredb-pd/format", &[0, 0, 0, 2])]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("format=`2`, known=`1`"), "{error}");
}

#[tokio::test]
async fn state_that_makes_no_sense_is_corrupt() {
    let format = ("flaredb-pd/format", &[0, 0, 0, 1][..]);
    let cluster = ("flaredb-pd/cluster", &[1; 8][..]);
    let ids = ("flaredb-pd/ids", &[1; 8][..]);
    assert_eq!(refusal(&[format, cluster, ids]).await.map_err(|error| error.kind()), Ok(()));
    let range = [7; 16];
    for rows in [
        &[("flaredb-pd/format", &[1][..]), cluster, ids][..],
        &[format, ids],
        &[cluster, ids],
        &[format, cluster],
        &[format, ("flaredb-pd/cluster", &[0; 8]), ids],
        &[format, ("flaredb-pd/cluster", &[1; 7]), ids],
        &[format, cluster, ("flaredb-pd/ids", &[0; 8])],
        &[format, cluster, ids, ("flaredb-pd/timestamps", &[0; 15])],
        // The range of a store that is not there, and what is no row at all.
        &[format, cluster, ids, ("flaredb-pd/range", &range)],
        &[format, cluster, ids, ("flaredb-pd/store/\0\0\0\0\0\0\0\x01", &[0xff])],
        &[format, cluster, ids, ("flaredb-pd/store/1", &[])],
        &[format, cluster, ids, ("flaredb-pd/other", &[])],
    ] {
        assert_eq!(refusal(rows).await.unwrap_err().kind(), ErrorKind::Corrupt, "{rows:?}");
    }
}

#[tokio::test]
async fn every_write_asks_for_the_best_durability() {
    let double = Double::new();
    let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
    let clock = clock();
    let mut served = served(&engine, &clock).await;
    let info = v1::StoreInfo { address: "a:1".to_owned(), ..Default::default() };
    let request = v1::RegisterRequest { info: Some(info), ..Default::default() };
    answer(served.client.register(request).await).unwrap();
    answer(served.client.allocate_ids(v1::AllocateIdsRequest { count: 1 }).await).unwrap();
    clock.advance(HOUR);
    until("an extension", async || double.asked.lock().len() >= 5).await;
    let asked = double.asked.lock().clone();
    assert!(asked.iter().all(|asked| *asked == Some(engine.info().best_durability)), "{asked:?}");
}
