//! The `rdb-check` command: its exit codes, and what it says.
#![cfg(feature = "cli")]

use std::io::Write;
use std::process::{Command, Stdio};

const LOST: &str = r#"{"event":"call","op":70,"process":0,"at":10,"request":{"write":{"ops":[["k","x"]]}}}
{"event":"return","op":70,"at":15,"answer":"applied"}
{"event":"call","op":80,"process":1,"at":20,"request":{"get":{"key":"k"}}}
{"event":"return","op":80,"at":25,"answer":{"record":null}}
"#;

/// The exit code, standard output and standard error.
fn check(arguments: &[&str], history: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-check"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("rdb-check starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(history.as_bytes()).expect("rdb-check reads");
    drop(input);
    let output = child.wait_with_output().expect("rdb-check ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_history_with_an_order_is_code_0() {
    let (code, said, _) = check(&["--checker", "wgl", "-"], &LOST.replace("null", r#"{"value":"x"}"#));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(": linearizable\n"), "{said}");
}

#[test]
fn a_history_without_an_order_is_code_1_and_its_operations_are_told() {
    let (code, said, _) = check(&["--checker", "wgl", "-"], LOST);
    assert_eq!(code, Some(1), "{said}");
    let told = "    operation 0, process 0, 10 to 15: put \"k\" = \"x\" -> applied\n    \
                operation 1, process 1, 20 to 25: get \"k\" -> no record\n";
    assert!(said.ends_with(told), "{said}");
}

#[test]
fn version_order_leaves_a_history_without_versions_undecided_which_is_code_3() {
    let history = LOST.replace("null", r#"{"value":"x"}"#);
    let (code, said, _) = check(&["--checker", "versions", "-"], &history);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("version order") && said.contains(": undecided: "), "{said}");
    let (code, said, _) = check(&["-"], &history);
    assert_eq!(code, Some(0), "WGL alone is asked where nobody asks for more: {said}");
}

#[test]
fn what_is_no_history_is_code_2() {
    let jepsen_or_nothing = "no operation is in it";
    let misspelt = LOST.replace("ops", "conditon\":[],\"ops");
    for (arguments, history, problem) in [
        (&["-"][..], "", jepsen_or_nothing),
        (&["--format", "jepsen", "-"], LOST, jepsen_or_nothing),
        (&["-"], &misspelt, "unknown field `conditon`"),
        (&["/no/such/file"], "", "No such file"),
    ] {
        let (code, said, complained) = check(arguments, history);
        assert_eq!((code, said.as_str()), (Some(2), ""), "{complained}");
        assert!(complained.contains(problem), "{complained}");
    }
}

#[test]
fn a_watch_that_leaves_out_a_commit_is_code_1() {
    let put = LOST
        .lines()
        .take(2)
        .collect::<Vec<_>>()
        .join("\n")
        .replace("\"applied\"", r#"{"committed":{"version":2}}"#);
    let watch = r#"
{"event":"watch","watch":4,"at":1,"start":""}
{"event":"watching","watch":4,"at":2,"version":1}
{"event":"delivered","watch":4,"at":30,"what":{"progress":{"version":2}}}
"#;
    let (code, said, _) = check(&["--checker", "versions", "-"], &format!("{put}{watch}"));
    assert_eq!(code, Some(1), "{said}");
    let told = "watch 0 delivered everything from version 1 to version 2, but not version 2";
    assert!(said.contains("; 1 watches, 1 deliveries\n") && said.contains(told), "{said}");
    let (code, said, _) =
        check(&["-"], &format!("{put}{}", watch.replace(r#""version":2}"#, r#""version":1}"#)));
    assert_eq!(code, Some(0), "{said}");
}
