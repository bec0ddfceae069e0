//! `rdb bench`: what it shows, and that it leaves alone what is not its own.

use std::time::Duration;

use futures::TryStreamExt;
use rdb_client::{Engine, EngineExt, KeyRange, Scan};
use rdb_engine_mem::MemEngine;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::key;
use crate::shell::{HEEDFUL, Shell, ended, send, start_through};

/// Short enough for a test.
const SMALL: &str = "--time 100ms --warm-up 0ms --records 200";

async fn keys(engine: &MemEngine) -> Vec<String> {
    let view = engine.scan(Scan::new(KeyRange::all()).keys_only()).await.unwrap();
    let entries = view.data.try_concat().await.unwrap();
    entries.iter().map(|entry| entry.key.to_string()).collect()
}

#[tokio::test]
async fn a_benchmark_shows_its_figures_and_leaves_nothing_behind() {
    let shell = Shell::new().await;
    shell.engine.put(&key("mine"), "v").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (json, html) = (directory.path().join("all.json"), directory.path().join("all.html"));
    let files = format!("--json {} --html {}", json.display(), html.display());
    let line = format!("bench get cas a load counter --callers 1,4 {SMALL} {files} -o json");
    let shown = shell.text(&line).await;
    let figures: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = figures.iter().map(|of| (of["workload"].clone(), of["callers"].clone())).collect();
    assert_eq!(figures.len(), 10, "{names:?}");
    for of in &figures {
        assert!(of["operations"].as_u64().unwrap() > 0 && of["per_second"].as_f64().unwrap() > 0.0, "{of}");
        assert_eq!((of["errors"].as_u64(), of["not_found"].as_u64()), (Some(0), Some(0)), "{of}");
        assert!(of["p50_us"].as_f64().unwrap() <= of["p99.9_us"].as_f64().unwrap(), "{of}");
    }
    assert_eq!(keys(&shell.engine).await, ["mine"]);

    let report: rdb_bench::Report = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(report.measurements.len(), 10);
    assert!(report.measurements.iter().all(|of| !of.latency.buckets.is_empty()));
    assert_eq!(report.measurements[0].target.details["engine"], "mem");
    assert!(std::fs::read_to_string(html).unwrap().contains("<svg "));

    let table = shell.text(&format!("bench get --callers 2 --rate 500 {SMALL} -o table")).await;
    assert!(table.starts_with("WORKLOAD") && table.contains("get at 500/s"), "{table}");
    let piped = shell.text(&format!("bench scan --callers 2 {SMALL} --json - -o table")).await;
    let piped: rdb_bench::Report = serde_json::from_str(&piped).unwrap();
    assert_eq!(piped.measurements.len(), 1);
    let raw = shell.text(&format!("bench put --callers 2 {SMALL}")).await;
    assert!(raw.starts_with("put\t2\t") && raw.trim_end().split('\t').count() == 10, "{raw}");
}

#[tokio::test]
async fn records_of_others_are_left_alone_unless_it_is_told_otherwise() {
    let shell = Shell::new().await;
    for name in ["bench/mine", "benign"] {
        shell.engine.put(&key(name), "v").await.unwrap();
    }
    let line = format!("bench get --callers 1 {SMALL}");
    let refused = shell.rdb(line.split(' ')).await;
    assert_eq!((refused.code, refused.out.as_slice()), (1, &b""[..]), "{}", refused.err);
    assert!(refused.err.contains("`bench/mine`") && refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(keys(&shell.engine).await, ["bench/mine", "benign"]);
    shell.text(&format!("{line} --prefix b2/")).await;
    shell.text(&format!("{line} --force")).await;
    assert_eq!(keys(&shell.engine).await, ["benign"]);
}

#[tokio::test]
async fn what_one_run_keeps_the_next_one_removes() {
    let shell = Shell::new().await;
    shell.text(&format!("bench get --callers 1 {SMALL} --keep")).await;
    assert_eq!(keys(&shell.engine).await.len(), 201);
    let fewer = "bench get --callers 1 --time 100ms --warm-up 0ms --records 10";
    shell.text(&format!("{fewer} --keep")).await;
    assert_eq!(keys(&shell.engine).await.len(), 11);
    shell.text(fewer).await;
    assert!(keys(&shell.engine).await.is_empty());
}

#[tokio::test]
async fn a_benchmark_that_is_interrupted_shows_what_it_has_and_tidies_up() {
    let shell = Shell::new().await;
    let line = "bench put --callers 2 --time 60s --warm-up 0ms --records 200";
    let child = start_through(&HEEDFUL, &shell.endpoint, line.split(' '));
    // One batch stores the records, so whatever is committed then is measured.
    let measured = || async {
        let view = shell.engine.scan(Scan::new(KeyRange::all())).await.unwrap();
        let entries = view.data.try_concat().await.unwrap();
        let oldest = entries.iter().filter_map(|entry| Some(entry.record.as_ref()?.version)).min();
        entries.len() == 201 && oldest.is_some_and(|oldest| view.version.get() > oldest.get() + 50)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !measured().await {
        assert!(Instant::now() < deadline, "it measures");
        sleep(Duration::from_millis(5)).await;
    }
    send("INT", &child).await;
    let ran = ended(child).await;
    assert_eq!((ran.code, ran.err.as_str()), (130, "rdb: interrupted\n"));
    assert!(ran.out.starts_with(b"put\t2\t"), "{}", ran.out.escape_ascii());
    assert!(keys(&shell.engine).await.is_empty());
}

#[tokio::test]
async fn a_benchmark_that_cannot_be_is_refused_before_anything_is_stored() {
    let shell = Shell::new().await;
    for line in [
        "bench nothing",
        "bench get --key-size 8",
        "bench cas --records 10",
        "bench get --rate 0",
        "bench get --callers 0",
        "bench get --value-size 99999999999",
        "bench get --json - --html -",
    ] {
        assert_eq!(shell.rdb(line.split(' ')).await.code, 2, "{line}");
    }
    assert_eq!(shell.rdb(["bench", "--prefix", ""]).await.code, 2);
    let ran = shell.rdb(["bench", "--html", "/nowhere/at/all.html"]).await;
    assert!(ran.code == 1 && ran.err.contains("cannot write"), "{}", ran.err);
    let ran = shell.rdb(format!("bench put {SMALL} --durability synced").split(' ')).await;
    assert_eq!((ran.code, ran.out.as_slice()), (1, &b""[..]));
    assert!(ran.err.starts_with("rdb: cannot load the records: unsupported: "), "{}", ran.err);
    assert!(keys(&shell.engine).await.is_empty());
}
