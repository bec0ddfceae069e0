//! Histories made by hand, each with one thing to show, and their verdicts: `handmade/verdicts.tsv` names the
//! file, the verdict of each checker, the rule and the reason.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use rdb_checker::{History, Verdict, version_order, wgl};

struct Case {
    file: String,
    wgl: String,
    versions: String,
    rule: String,
    why: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/handmade")
}

fn cases() -> Vec<Case> {
    let table = fs::read_to_string(folder().join("verdicts.tsv")).expect("a table of verdicts");
    let case = |line: &str| {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let [file, wgl, versions, rule, why] = columns.try_into().expect("five columns");
        Case { file, wgl, versions, rule, why }
    };
    table.lines().skip(1).map(case).collect()
}

fn load(case: &Case) -> History {
    let file = File::open(folder().join(&case.file)).expect(&case.file);
    History::read(BufReader::new(file)).expect(&case.file)
}

/// The cases that a checker judges otherwise than its column says.
fn wrong(column: fn(&Case) -> &str, check: impl Fn(&History) -> Verdict) -> Vec<String> {
    let judge = |case: &Case| {
        let history = load(case);
        let verdict = check(&history);
        let agrees = match (column(case), &verdict) {
            ("linearizable", Verdict::Linearizable) => true,
            // Version order leaves to WGL what takes a search among writes of unknown outcome.
            ("undecided", Verdict::Undecided(_)) => true,
            ("not-linearizable", Verdict::Violation(violation)) => {
                // It tells of operations that there are, for people to look at.
                !violation.operations.is_empty()
                    && violation.operations.iter().all(|place| *place < history.operations.len())
            }
            _ => false,
        };
        let expected = column(case);
        (!agrees).then(|| format!("{} is {expected} ({}), and was judged {verdict}", case.file, case.why))
    };
    cases().iter().filter_map(judge).collect()
}

#[test]
fn wgl_judges_the_handmade_histories_as_the_table_says() {
    let wrong = wrong(|case| &case.wgl, |history| wgl::check(history, Duration::from_secs(60)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn version_order_judges_the_handmade_histories_as_the_table_says() {
    let wrong = wrong(|case| &case.versions, version_order::check);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_every_handmade_history_and_every_rule_goes_both_ways() {
    let cases = cases();
    let named: BTreeSet<String> = cases.iter().map(|case| case.file.clone()).collect();
    let there: BTreeSet<String> = fs::read_dir(folder())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".jsonl"))
        .collect();
    assert_eq!(named, there);
    assert_eq!(named.len(), cases.len(), "a file is named twice");
    let verdicts = |rule: &str| -> BTreeSet<String> {
        let of_rule = cases.iter().filter(|case| case.rule == rule);
        of_rule.flat_map(|case| [case.wgl.clone(), case.versions.clone()]).collect()
    };
    for case in cases.iter().filter(|case| case.rule != "format") {
        assert!(verdicts(&case.rule).len() >= 2, "the rule `{}` has one verdict only", case.rule);
    }
}

#[test]
fn a_handmade_history_is_written_as_it_was_read() {
    for case in cases() {
        let history = load(&case);
        let mut lines = Vec::new();
        history.write(&mut lines).expect("a vector");
        assert_eq!(History::read(lines.as_slice()).expect(&case.file), history, "{}", case.file);
    }
}
