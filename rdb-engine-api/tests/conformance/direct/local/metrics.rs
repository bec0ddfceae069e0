//! What `Local` counts, as an operator sees it.

use std::time::Duration;

use rdb_engine_api::{
    Batch, Condition, Durability, Engine, EngineExt as _, ErrorKind, KeyRange, LocalOptions, Metric,
    MetricUnit, MetricValue, Outcome, Scan, WriteOptions,
};

use super::commit::{key, open, open_with};
use crate::double::Fate;

/// The measurement of a name, and of a label where it has one.
fn measured(engine: &impl Engine, name: &str, label: &str) -> Metric {
    let has_label = |metric: &Metric| match &metric.labels[..] {
        [] => label.is_empty(),
        labels => labels.iter().any(|(_, value)| value == label),
    };
    let mut metrics = engine.metrics().into_iter().filter(|metric| metric.name == name && has_label(metric));
    let found = metrics.next().unwrap_or_else(|| panic!("no `{name}` of `{label}`"));
    assert_eq!(metrics.next(), None, "`{name}` of `{label}` is there once");
    found
}

pub(super) fn number(engine: &impl Engine, name: &str, label: &str) -> f64 {
    match measured(engine, name, label).value {
        MetricValue::Counter(value) | MetricValue::Gauge(value) => value,
        other => panic!("{other:?}"),
    }
}

/// The number of observations and their sum.
pub(super) fn observed(engine: &impl Engine, name: &str, label: &str) -> (u64, f64) {
    match measured(engine, name, label).value {
        MetricValue::Histogram { buckets, sum, count } => {
            assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), count);
            assert_eq!(buckets.last().map(|(bound, _)| *bound), Some(f64::INFINITY));
            (count, sum)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_measured_from_its_queue_to_its_answers() {
    let fixture = open();
    let engine = &*fixture.engine;
    let first = fixture.hold_a_commit().await;
    let mut waiting = Vec::new();
    for name in ["a", "b", "c"] {
        waiting.push(fixture.queue_put(name).await);
    }
    assert_eq!(number(engine, "queue_writes", ""), 3.0);
    let bytes = measured(engine, "queue_size", "");
    assert_eq!((bytes.unit, bytes.value), (MetricUnit::Bytes, MetricValue::Gauge(6.0)));
    fixture.clock.advance(Duration::from_secs(2));
    fixture.store.let_all_go();
    let _ = first.await.unwrap();
    for write in waiting {
        let _ = write.await.unwrap();
    }
    assert_eq!(number(engine, "queue_writes", ""), 0.0);
    assert_eq!(observed(engine, "group_writes", ""), (2, 4.0));
    assert_eq!(observed(engine, "group_size", ""), (2, 12.0));
    assert_eq!(observed(engine, "queue_wait", ""), (4, 6.0));
    // The first commit was held for two seconds, the second was not.
    assert_eq!(observed(engine, "commit_duration", "synced"), (2, 2.0));
    assert_eq!(observed(engine, "commit_duration", "process"), (0, 0.0));
    assert_eq!(number(engine, "writes", "committed"), 4.0);
    assert_eq!(number(engine, "writes_reached", "synced"), 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_asked_and_reached_outcomes_and_the_last_version_are_told() {
    let fixture = open();
    let engine = &*fixture.engine;
    let hasty = WriteOptions::default().durability(Durability::Process);
    let outcome = engine.write(Batch::new().put(key("k"), "v"), hasty).await.unwrap();
    let Outcome::Committed(commit) = outcome else { panic!("{outcome:?}") };
    let _ = engine.compare_and_swap(&key("k"), Condition::Absent, "v").await.unwrap();
    let _ = engine.delete(&key("absent")).await.unwrap();
    assert_eq!(number(engine, "writes_asked", "process"), 1.0);
    assert_eq!(number(engine, "writes_asked", "synced"), 2.0);
    assert_eq!(number(engine, "writes_reached", "process"), 1.0);
    for (outcome, count) in [("committed", 1.0), ("conflict", 1.0), ("unchanged", 1.0), ("failed", 0.0)] {
        assert_eq!(number(engine, "writes", outcome), count, "{outcome}");
    }
    assert_eq!(number(engine, "last_version", ""), commit.version.get() as f64);
    // The conflict's key, the deleted key; the committed write needed none.
    assert_eq!(number(engine, "cache_hits", ""), 2.0);
    engine.get(&key("k")).await.unwrap();
    assert_eq!(number(engine, "cache_hits", ""), 3.0);
    engine.get_many(&[key("k"), key("l")]).await.unwrap();
    assert_eq!(number(engine, "cache_hits", ""), 5.0);
    assert_eq!(number(engine, "blocking_reads", ""), 0.0);
    // Too many to keep the caller's thread busy with.
    engine.get_many(&vec![key("k"); 33]).await.unwrap();
    assert_eq!(number(engine, "blocking_reads", ""), 1.0);
    assert_eq!((number(engine, "cache_hits", ""), number(engine, "cache_misses", "")), (5.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stopped_says_so_and_still_tells_its_metrics() {
    let fixture = open();
    let engine = &*fixture.engine;
    assert_eq!(number(engine, "accepts_writes", ""), 1.0);
    let first = fixture.hold_a_commit().await;
    fixture.store.let_one_go(Fate::Fail);
    assert_eq!(first.await.unwrap_err().kind(), ErrorKind::Unknown);
    // The committer closes the queue behind its last answer.
    let error = engine.put(&key("k"), "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(number(engine, "writes", "unknown"), 1.0);
    assert_eq!(number(engine, "accepts_writes", ""), 0.0);
    engine.close().await.unwrap();
    assert_eq!(number(engine, "accepts_writes", ""), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_are_counted_beside_their_limit() {
    let mut options = LocalOptions::default();
    options.limits.max_scans = 1;
    let fixture = open_with(options);
    let engine = &*fixture.engine;
    // More than is read ahead of a reader, so that the scan stays open.
    for name in ["a", "b", "c", "d", "e"] {
        engine.put(&key(name), vec![0; 300 << 10]).await.unwrap();
    }
    let scan = engine.scan(Scan::new(KeyRange::all())).await.unwrap();
    let refused = engine.scan(Scan::new(KeyRange::all())).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert_eq!((number(engine, "scans", ""), number(engine, "scans_refused", "")), (1.0, 1.0));
    assert_eq!(number(engine, "scans_open_limit", ""), 1.0);
    drop(scan);
}
