use std::time::{Duration, UNIX_EPOCH};

use rdb_client::Bytes;

use super::*;
use crate::output::tests::Sink;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn record(value: &'static [u8], number: u64) -> Record {
    Record::new(Bytes::from_static(value), version(number))
}

fn op(key: &'static [u8], record: Option<Record>, previous: Previous) -> CommittedOp {
    CommittedOp::new(Key::new(key).unwrap(), record, previous)
}

/// What is shown, as text, of what every kind of event there is.
fn shown(print: Print, previous: bool) -> String {
    let sink = Sink::default();
    let mut changes = Changes::new(Output::new(print, Box::new(sink.clone())), previous);
    let asked = |was| if previous { was } else { Previous::NotAsked };
    let mut expiring = record(b"two", 7);
    expiring.expires_at = Some(UNIX_EPOCH + Duration::from_millis(1_500));
    let first = CommittedBatch::new(
        version(7),
        Cause::Write,
        vec![
            op(b"a", Some(record(b"one", 7)), asked(Previous::Absent)),
            op(b"b", Some(expiring), asked(Previous::Record(record(b"old", 3)))),
            op(b"c\xff", None, asked(Previous::Omitted)),
        ],
    );
    let second = CommittedBatch::new(
        version(9),
        Cause::Expiry,
        vec![op(b"b", None, asked(Previous::Record(record(b"two", 7))))],
    );
    let (here, gone, old) = (Key::new("b").unwrap(), Key::new("d").unwrap(), record(b"old", 3));
    changes.difference([(&here, Some(&old)), (&gone, None)].into_iter()).unwrap();
    changes.complete(version(5), 2).unwrap();
    changes.commit(&first).unwrap();
    changes.commit(&second).unwrap();
    changes.progress(version(12)).unwrap();
    sink.text()
}

#[test]
fn a_change_is_an_object_that_says_which_of_its_commit_it_is() {
    let lines = [
        r#"{"event":"record","key":"b","value":"old","version":3}"#,
        r#"{"event":"gone","key":"d"}"#,
        r#"{"event":"snapshot","records":2,"version":5}"#,
        r#"{"event":"put","version":7,"cause":"write","change":1,"changes":3,"key":"a","value":"one"}"#,
        r#"{"event":"put","version":7,"cause":"write","change":2,"changes":3,"key":"b","value":"two","expires_at_ms":1500}"#,
        r#"{"event":"delete","version":7,"cause":"write","change":3,"changes":3,"key_base64":"Y/8="}"#,
        r#"{"event":"delete","version":9,"cause":"expiry","change":1,"changes":1,"key":"b"}"#,
        r#"{"event":"progress","version":12}"#,
    ];
    assert_eq!(shown(Print::Json, false).lines().collect::<Vec<_>>(), lines);
}

#[test]
fn what_was_there_before_is_an_object_or_null() {
    let text = shown(Print::Json, true);
    let previous: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line.get("previous").cloned())
        .collect();
    let expected = [
        None,
        None,
        None,
        Some(Value::Null),
        Some(json!({ "value": "old", "version": 3 })),
        Some(json!({ "omitted": true })),
        Some(json!({ "value": "two", "version": 7 })),
        None,
    ];
    assert_eq!(previous, expected);
}

#[test]
fn raw_lines_have_the_same_fields_whatever_changed() {
    let lines = [
        "3\tsnapshot\trecord\tb\told",
        "\tsnapshot\tgone\td\t",
        "5\tsnapshot",
        "7\twrite\tput\ta\tone",
        "7\twrite\tput\tb\ttwo",
        "7\twrite\tdelete\tc\u{fffd}\t",
        "9\texpiry\tdelete\tb\t",
        "12\tprogress",
    ];
    assert_eq!(shown(Print::Raw, false).lines().collect::<Vec<_>>(), lines);
    let text = shown(Print::Raw, true);
    let lines: Vec<_> = text.lines().collect();
    let expected = [
        "7\twrite\tput\ta\tone\tabsent\t",
        "7\twrite\tput\tb\ttwo\trecord\told",
        "7\twrite\tdelete\tc\u{fffd}\t\tomitted\t",
        "9\texpiry\tdelete\tb\t\trecord\ttwo",
    ];
    assert_eq!(lines[3..7], expected);
}

#[test]
fn a_table_shows_a_commit_under_one_version() {
    let text = shown(Print::Table, true);
    let lines: Vec<_> = text.lines().collect();
    let expected = [
        "         VERSION  CAUSE   CHANGE    KEY               VALUE",
        "               3          record    b                 old",
        "                          gone      d",
        "               5          snapshot",
        "               7  write   put       a                 one  (was absent)",
        "                          put       b                 two  (was: old)",
        r"                          delete    c\xff             (was there, too long to be kept)",
        "               9  expiry  delete    b                 (was: two)",
        "              12          progress",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_commit_is_written_out_at_once() {
    let sink = Sink::default();
    let mut changes = Changes::new(Output::new(Print::Raw, Box::new(sink.clone())), false);
    changes.progress(version(1)).unwrap();
    assert_eq!(sink.text(), "1\tprogress\n");
    let commit = CommittedBatch::new(version(2), Cause::Write, vec![op(b"k", None, Previous::NotAsked)]);
    changes.commit(&commit).unwrap();
    assert!(sink.text().ends_with("2\twrite\tdelete\tk\t\n"));
}
