//! What goes to standard error while it runs.

use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use crate::harness::{Running, mem};

fn logged(arguments: &[&str]) -> String {
    let mut node = Running::start(mem().args(arguments));
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
    node.error()
}

#[test]
fn lines_of_json_are_whole_objects() {
    let text = logged(&["--log", "info", "--log-format", "json"]);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let serving = lines.iter().find(|line| line["fields"]["message"] == "serving").unwrap();
    assert_eq!(serving["fields"]["engine"], "mem");
    assert_eq!(serving["level"], "INFO");
    assert!(serving["timestamp"].is_string());
    assert!(lines.iter().any(|line| line["fields"]["message"] == "shut down"), "{text}");
}

#[test]
fn a_filter_by_module_lets_through_what_it_names() {
    assert!(logged(&["--log", "off,rdb_server=info"]).contains("serving"));
    assert_eq!(logged(&["--log", "info,rdb_server=off"]), "");
    let mut by_usual_variable = mem();
    by_usual_variable.env_remove("FLAREDB_LOG").env("RUST_LOG", "error");
    let mut node = Running::start(&mut by_usual_variable);
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
    assert_eq!(node.error(), "");
}

/// systemd's journal notes the time of each line itself.
#[test]
fn lines_to_the_journal_have_no_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    for (known, has_time) in [(true, false), (false, true)] {
        let journal = std::fs::File::create(&path).unwrap();
        let metadata = journal.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino() + u64::from(!known));
        let mut command = mem();
        command.args(["--log", "info"]).env("JOURNAL_STREAM", stream);
        let mut node = Running::start_with(&mut command, Stdio::from(journal));
        node.signal("TERM");
        assert_eq!(node.end(), Some(0));
        let text = std::fs::read_to_string(&path).unwrap();
        let line = text.lines().find(|line| line.contains("serving")).unwrap();
        assert_eq!(line.contains("T") && line.contains("Z "), has_time, "{line}");
        assert_eq!(line.trim_start().starts_with("INFO"), !has_time, "{line}");
    }
}
