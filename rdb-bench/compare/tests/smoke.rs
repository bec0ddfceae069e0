//! The program from end to end, tiny and over memory, with no rival installed.

#![allow(clippy::unwrap_used)] // a helper of a test that panics has failed it

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Rows of contenders that this program holds itself, and rows that need a rival.
const ROWS: [&str; 4] = ["get-ceiling", "get-unary", "cas-exactly-once", "cas-etcd"];

fn rdb_bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-bench"));
    // No rival is found there.
    command.args(arguments).env("PATH", "").output().unwrap()
}

fn row<'a>(performance: &'a Value, name: &str) -> &'a Value {
    performance["rows"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

#[test]
fn a_comparison_measures_what_is_there_and_says_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("performance.json");
    let mut arguments = vec!["compare", "--engine", "mem", "--records", "1000", "--rounds", "2"];
    arguments.extend(["--seconds", "0.05", "--warm-up", "0.01", "--json", json.to_str().unwrap()]);
    arguments.extend(ROWS.iter().flat_map(|row| ["--row", row]));
    let ended = rdb_bench(&arguments);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));

    let performance: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let reason = row(&performance, "cas-etcd")["not_measured"].as_str().unwrap();
    // `cargo test` of the whole workspace builds the node, one of this package alone does not.
    let node = Path::new(env!("CARGO_BIN_EXE_rdb-bench")).with_file_name("rdb-server");
    if node.is_file() {
        assert!(reason.contains("etcd is not installed; on Debian: apt-get install etcd-server"), "{reason}");
        for name in &ROWS[..3] {
            let row = row(&performance, name);
            assert_eq!(row["ours"]["rounds"].as_array().unwrap().len(), 2, "{row}");
            assert_eq!(row["rival"]["rounds"].as_array().unwrap().len(), 2, "{row}");
            assert!(row["not_measured"].is_null(), "{row}");
            assert_eq!(row["ours"]["settings"]["records"], 1_000, "{row}");
            assert_eq!(row["ours"]["durability"], "volatile", "{row}");
        }
    } else {
        assert!(reason.contains("rdb-server is not beside this program"), "{reason}");
    }

    let page = std::fs::read_to_string(json.with_extension("md")).unwrap();
    assert!(
        page.contains("| [SDK durable CAS on own keys against etcd's CAS transaction](#cas-etcd) | - |"),
        "{page}"
    );
    std::fs::remove_file(json.with_extension("md")).unwrap();
    assert!(rdb_bench(&["report", json.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read_to_string(json.with_extension("md")).unwrap(), page);
}

#[test]
fn any_target_is_measured_by_any_workload_that_it_can_do() {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("all.json"), folder.path().join("all.html"));
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut arguments = vec!["run", "a", "cas", "scan", "--target", "mem,sled,bare-stream,etcd"];
    arguments.extend(["--callers", "1,2", "--rounds", "2", "--records", "1000", "--seconds", "0.05"]);
    arguments.extend(["--warm-up", "0.01", "--disk", disk.to_str().unwrap()]);
    arguments.extend(["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()]);
    let ended = rdb_bench(&arguments);
    let (told, said) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{said}");
    assert!(told.contains("a, bare-stream: not measured: it has no put"), "{told}");
    assert!(told.contains("scan, etcd: not measured: etcd is not installed"), "{told}");
    assert!(std::fs::read_dir(&disk).unwrap().next().is_none(), "it leaves nothing behind");

    let report: rdb_bench::Report = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let of = |workload: &str, target: &str| {
        let of = |it: &&rdb_bench::Measurement| {
            it.settings.workload.name() == workload && it.target.name == target && it.errors == 0
        };
        report.measurements.iter().filter(of).map(|it| it.settings.callers).collect::<Vec<_>>()
    };
    for workload in ["a", "cas", "scan"] {
        assert_eq!(of(workload, "mem"), [1, 1, 2, 2], "{workload}");
        assert_eq!(of(workload, "sled"), [1, 1, 2, 2], "{workload}");
    }
    assert_eq!(report.measurements.len(), 24);

    let page = std::fs::read_to_string(&html).unwrap();
    std::fs::remove_file(&html).unwrap();
    assert!(rdb_bench(&["report", json.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read_to_string(&html).unwrap(), page);
}

#[test]
fn a_file_that_cannot_be_written_is_found_before_anything_is_measured() {
    for arguments in [["run", "--html"], ["run", "--json"], ["compare", "--html"], ["compare", "--json"]] {
        let ended = rdb_bench(&[&arguments[..], &["/nowhere/at/all"]].concat());
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.starts_with("rdb-bench: cannot write /nowhere/at/all"), "{said}");
    }
}

#[test]
fn an_unknown_row_is_refused_with_those_that_are_known() {
    let ended = rdb_bench(&["compare", "--row", "nothing"]);
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("no row is named `nothing`; known: get-redis-benchmark, "), "{said}");
}
