//! Expiry (C15) by the operating system's clocks.

use std::time::Duration;

use rdb_engine_api::{Engine as _, EngineExt as _, Key};
use rdb_engine_mem::MemConfig;
use tokio::time::{Instant, sleep};

#[tokio::test(flavor = "multi_thread")]
async fn records_live_as_long_as_they_were_given_and_go_though_nobody_writes() {
    let engine = rdb_engine_mem::open(&MemConfig::default()).unwrap();
    let lives = [1, 7, 40, 150].map(Duration::from_millis);
    let mut put = Vec::new();
    for (number, life) in lives.into_iter().enumerate() {
        let key = Key::new(format!("k{number}")).unwrap();
        let begun = Instant::now();
        engine.put_for(&key, "v", life).await.unwrap();
        put.push((key, begun + life));
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    for (key, end) in put {
        while engine.get(&key).await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "{key:?} is still there");
            sleep(Duration::from_millis(1)).await;
        }
        assert!(Instant::now() >= end, "{key:?} went early");
    }
}
