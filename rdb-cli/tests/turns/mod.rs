//! Writes that wait for their turn, and that take effect once.

use std::time::Duration;

use rdb_client::{Engine, EngineExt, Metric, MetricValue};
use rdb_engine_mem::MemConfig;
use tokio::time::{Instant, timeout};

use crate::key;
use crate::shell::{Shell, ended, start};

/// What the engine says it has of something.
fn gauge(engine: &dyn Engine, name: &str) -> Option<u64> {
    let of = |metric: &Metric| (metric.name == name).then_some(metric.value.clone());
    match engine.metrics().iter().find_map(of)? {
        MetricValue::Gauge(value) => Some(value as u64),
        _ => None,
    }
}

#[tokio::test]
async fn a_swap_waits_until_the_record_is_as_expected() {
    let shell = Shell::new().await;
    shell.text("put lock other").await;
    let waiting = start(&shell.endpoint, "cas lock me --absent --wait 1m".split(' '));
    let waits = async {
        while gauge(&*shell.engine, "blocked_writes") != Some(1) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), waits).await.expect("it waits");
    assert_eq!(shell.text("get lock").await, "other");
    shell.text("delete lock").await;
    let ran = ended(waiting).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(shell.text("get lock").await, "me");
}

#[tokio::test]
async fn a_wait_in_vain_ends_as_a_conflict_when_its_time_is_over() {
    let shell = Shell::new().await;
    shell.text("put lock other").await;
    // Longer than a request may take otherwise.
    let line = "--timeout 200ms cas lock me --absent --wait 600ms";
    let begun = Instant::now();
    let ran = shell.rdb(line.split(' ')).await;
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    assert!(ran.out.ends_with(b"\tother\n"), "{}", ran.out.escape_ascii());
}

#[tokio::test]
async fn a_condition_that_can_never_hold_again_is_not_waited_for() {
    let shell = Shell::new().await;
    let old = shell.engine.put(&key("k"), "v").await.unwrap().version;
    shell.engine.put(&key("k"), "w").await.unwrap();
    let begun = Instant::now();
    let ran = shell.rdb(format!("cas k x --expect-version {old} --wait 1m").split(' ')).await;
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_command_ends_its_session() {
    let mut config = MemConfig::default();
    config.local.limits.max_sessions = 1;
    let shell = Shell::with(config).await;
    for _ in 0..3 {
        shell.text("put k v").await;
    }
    let ran = shell.rdb_with("import --format tsv -".split(' '), b"a\t1\n").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Even one that failed.
    assert_eq!(shell.rdb("cas k w --absent".split(' ')).await.code, 4);
    shell.text("delete k").await;

    let _held = shell.engine.open_session(rdb_client::SessionOptions::default()).await.unwrap();
    let ran = shell.rdb("put k v".split(' ')).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("rdb: exhausted: "), "{}", ran.err);
    shell.text("put k v --exactly-once false").await;
}
