use std::path::Path;

use crate::harness::{Served, exchange, http, put, served};

/// The content type and the text of a scrape that sends this header.
async fn scrape(served: &Served, header: &str) -> (String, String) {
    let (head, body) = exchange(served.node.ops_addr(), "GET", "/metrics", header).await;
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    (kind.to_owned(), body)
}

#[tokio::test]
async fn a_scraper_gets_openmetrics_if_it_accepts_it_and_else_the_older_text_format() {
    let served = served(|_| {}).await;
    let modern = "accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let (kind, text) = scrape(&served, modern).await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.contains("# TYPE flaredb_requests counter\n") && text.ends_with("# EOF\n"), "{text}");
    for older in ["accept: text/plain", "accept: */*", "x-none: 1"] {
        let (kind, text) = scrape(&served, older).await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        assert!(
            text.contains("# TYPE flaredb_requests_total counter\n") && !text.contains("# EOF"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_the_engine_the_process_and_the_limits_say_is_there() {
    let mut served = served(|config| config.max_in_flight = 7).await;
    let _ = served.kv.put(put("k", "v")).await.unwrap();
    let (_, text) = http(served.node.ops_addr(), "GET", "/metrics").await;
    for line in [
        "flaredb_ready 1.0",
        "flaredb_limit{name=\"max_in_flight\"} 7.0",
        "flaredb_engine_accepts_writes 1.0",
        "flaredb_engine_writes_total{outcome=\"committed\"} 1.0",
        "flaredb_engine_group_writes_bucket{le=\"1.0\"} 1",
        "flaredb_engine_group_writes_bucket{le=\"+Inf\"} 1",
        "flaredb_engine_group_size_bytes_sum 2.0",
        "flaredb_engine_mem_records 1.0",
    ] {
        assert!(text.lines().any(|other| other == line), "no `{line}` in\n{text}");
    }
    if cfg!(target_os = "linux") {
        let seen = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            value.unwrap_or_else(|| panic!("no `{name}` in\n{text}"))
        };
        assert!(seen("process_resident_memory_bytes ") > 1e6);
        assert!(seen("process_open_fds ") > 3.0 && seen("process_open_fds ") <= seen("process_max_fds "));
        assert!(seen("process_start_time_seconds ") > 1.6e9);
    }
}

#[tokio::test]
async fn a_node_whose_engine_is_closed_is_not_ready_in_its_metrics_either() {
    let mut served = served(|_| {}).await;
    let _ = served.kv.put(put("closed", "v")).await.unwrap_err();
    crate::harness::metric(served.node.ops_addr(), "flaredb_ready 0.0").await;
}

/// The other way, and other engines: in the tests of the workspace.
#[tokio::test]
async fn every_metric_is_documented() {
    let served = served(|_| {}).await;
    let (_, text) = http(served.node.ops_addr(), "GET", "/metrics").await;
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let list = std::fs::read_to_string(list).unwrap();
    for described in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = described.split_once(' ').unwrap();
        assert!(list.contains(&format!("\n| `{name}` | {kind} |")), "`{name}`, a {kind}, is not in the list");
    }
}
