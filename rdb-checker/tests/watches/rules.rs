//! Each rule of expiry and of watches by a history that keeps it and one that breaks it.

use rdb_checker::{History, Verdict, version_order};

const PUT: &str = r#"{"event":"call","op":0,"process":0,"at":10,"request":{"write":{"ops":[["k","v"]],"ttls":[["k",100]]}}}
{"event":"return","op":0,"at":20,"answer":{"committed":{"version":5}}}
"#;

fn missed(at: u64) -> String {
    format!(
        r#"{{"event":"call","op":1,"process":1,"at":{},"request":{{"get":{{"key":"k"}}}}}}
{{"event":"return","op":1,"at":{at},"answer":{{"record":null}}}}
"#,
        at - 5
    )
}

/// A watch of everything from the beginning on, which saw the put.
fn watch(then: &str) -> String {
    let began = r#"{"event":"watch","watch":0,"at":1,"start":""}
{"event":"watching","watch":0,"at":2,"version":1}
{"event":"delivered","watch":0,"at":30,"what":{"commit":{"version":5,"ops":[["k",{"value":"v","version":5}]]}}}
"#;
    format!("{began}{then}")
}

const REMOVED: &str = r#"{"event":"delivered","watch":0,"at":140,"what":{"commit":{"version":6,"expiry":true,"ops":[["k",null]]}}}
"#;

fn check(parts: &[&str]) -> Verdict {
    version_order::check(&History::read(parts.concat().as_bytes()).expect("a history"))
}

#[track_caller]
fn wrong(parts: &[&str], words: &str) {
    match check(parts) {
        Verdict::Violation(violation) => {
            assert!(violation.message.contains(words), "{}", violation.message);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_record_may_be_missed_from_the_call_of_its_put_and_its_time_to_live_on() {
    assert_eq!(check(&[PUT, &missed(110)]), Verdict::Linearizable);
    wrong(&[PUT, &missed(109)], "found key \"k\" absent");
}

#[test]
fn a_removal_that_a_watch_saw_is_a_write_at_its_version() {
    assert_eq!(check(&[PUT, &watch(REMOVED), &missed(150)]), Verdict::Linearizable);
    let early = REMOVED.replace("140", "109");
    wrong(&[PUT, &watch(&early)], "to stay until 110");
    let of_another = REMOVED.replace("null", r#"{"value":"v","version":6}"#);
    wrong(&[PUT, &watch(&of_another)], "as a removal, but with a record");
    let lasting = PUT.replace(r#","ttls":[["k",100]]"#, "");
    wrong(&[&lasting, &watch(REMOVED)], "to stay for ever");
}

/// The key is put once more at version 9, so that the watch, which has come so far, would have shown it.
#[test]
fn a_record_does_not_vanish_unseen_by_a_watch_that_misses_nothing() {
    let again = r#"{"event":"call","op":2,"process":2,"at":300,"request":{"write":{"ops":[["k","w"]]}}}
{"event":"return","op":2,"at":310,"answer":{"committed":{"version":9}}}
"#;
    let seen = r#"{"event":"delivered","watch":0,"at":320,"what":{"commit":{"version":9,"ops":[["k",{"value":"w","version":9}]]}}}
"#;
    assert_eq!(check(&[PUT, again, &missed(150)]), Verdict::Linearizable);
    wrong(&[PUT, again, &watch(seen), &missed(150)], "found key \"k\" absent");
    let removed = [REMOVED, seen].concat();
    assert_eq!(check(&[PUT, again, &watch(&removed), &missed(150)]), Verdict::Linearizable);
}

#[test]
fn progress_promises_that_everything_before_it_was_delivered() {
    let later = r#"{"event":"call","op":2,"process":2,"at":40,"request":{"write":{"ops":[["l","w"]]}}}
{"event":"return","op":2,"at":50,"answer":{"committed":{"version":7}}}
"#;
    let progress = |version: u64| {
        format!(r#"{{"event":"delivered","watch":0,"at":60,"what":{{"progress":{{"version":{version}}}}}}}"#)
    };
    assert_eq!(check(&[PUT, later, &watch(&progress(6))]), Verdict::Linearizable);
    wrong(&[PUT, later, &watch(&progress(7))], "but not version 7, which operation 1 committed");
    let ended = r#"{"event":"ended","watch":0,"at":60,"why":"exhausted","version":7}"#;
    wrong(&[PUT, later, &watch(ended)], "but not version 7, which operation 1 committed");
    assert_eq!(
        check(&[PUT, later, &watch(&ended.replace("\"version\":7", "\"version\":5"))]),
        Verdict::Linearizable
    );
    wrong(&[PUT, later, &watch(&ended.replace("\"version\":7", "\"version\":4"))], "ended with version 4");
}

#[test]
fn a_write_of_unknown_outcome_that_a_watch_shows_has_happened() {
    let unanswered = r#"{"event":"call","op":3,"process":3,"at":35,"request":{"write":{"ops":[["k",null]]}}}
"#;
    let shown = r#"{"event":"delivered","watch":0,"at":60,"what":{"commit":{"version":6,"ops":[["k",null]]}}}
"#;
    assert_eq!(check(&[PUT, unanswered, &watch(shown), &missed(70)]), Verdict::Linearizable);
    wrong(&[PUT, &watch(shown)], "which nobody can have made");
    let found = missed(90).replace("null", r#"{"value":"v","version":5}"#);
    assert_eq!(check(&[PUT, unanswered, &found]), Verdict::Linearizable);
    wrong(&[PUT, unanswered, &watch(shown), &found], "operation 2 found key \"k\"");
}

#[test]
fn a_watch_begins_where_it_was_asked_to() {
    let other = watch("").replace(r#""start":"""#, r#""start":"","after":0"#);
    wrong(&[PUT, &other], "was asked to begin behind version 0, but began behind 1");
}

#[test]
fn a_watch_that_has_not_begun_delivers_nothing() {
    let lines = watch("").lines().filter(|line| !line.contains("watching")).collect::<Vec<_>>().join("\n");
    let error = History::read(lines.as_bytes()).unwrap_err();
    assert_eq!((error.line, error.problem.as_str()), (2, "watch 0 has not begun"));
}
