//! A history that keeps a rule, and one that breaks it, for every rule of answered operations.

use rdb_checker::{Answer, Condition, Current, Request};

use crate::builder::*;

#[test]
fn the_store_starts_empty() {
    right(in_turn(vec![(get("a"), MISSING), (scan("a", "z"), entries(0, &[]))]));
    wrong(in_turn(vec![(get("a"), found("x", 1))]), "nobody wrote that", &[0]);
}

#[test]
fn a_get_finds_the_last_record() {
    let steps = |answer| {
        in_turn(vec![(put("a", "1"), committed(1)), (put("a", "2"), committed(2)), (get("a"), answer)])
    };
    right(steps(found("2", 2)));
    wrong(steps(found("1", 1)), "found key \"a\" \"1\" at version 1", &[2, 1]);
    wrong(steps(MISSING), "absent", &[2, 1]);
}

#[test]
fn a_record_has_the_value_and_the_version_of_its_commit() {
    let steps = |answer| in_turn(vec![(put("a", "1"), committed(1)), (get("a"), answer)]);
    right(steps(found("1", 1)));
    wrong(steps(found("2", 1)), "which committed version 1, put \"1\" there", &[0, 1]);
    wrong(steps(found("1", 2)), "took effect twice", &[0, 1]);
    let other = vec![(put("a", "1"), committed(1)), (get("b"), found("1", 1))];
    wrong(in_turn(other), "put nothing there", &[0, 1]);
}

#[test]
fn a_get_during_a_write_finds_the_state_before_or_behind_it() {
    for answer in [MISSING, found("1", 1)] {
        right(vec![done(0, 10, put("a", "1"), committed(1)), done(5, 6, get("a"), answer)]);
    }
}

#[test]
fn a_get_does_not_go_back_behind_another() {
    let gets = |second: u64| {
        vec![
            done(0, 20, put("a", "1"), committed(1)),
            done(5, 10, get("a"), found("1", 1)),
            done(second, 18, get("a"), MISSING),
        ]
    };
    right(gets(10));
    wrong(gets(11), "called after operation 1 had returned", &[2, 1, 0]);
}

#[test]
fn a_get_between_a_delete_and_the_next_put_finds_nothing() {
    let steps = |at: u64| {
        vec![
            done(0, 1, put("a", "1"), committed(1)),
            done(2, 10, delete("a"), committed(2)),
            done(12, 20, put("a", "2"), committed(3)),
            done(at, 30, get("a"), MISSING),
        ]
    };
    right(steps(20));
    wrong(steps(21), "absent", &[3, 2]);
}

#[test]
fn no_operation_stands_before_one_that_had_returned_when_it_was_called() {
    let writes =
        |second| vec![done(0, 5, put("a", "1"), committed(2)), done(second, 9, put("b", "1"), committed(1))];
    right(writes(5));
    wrong(writes(6), "took effect first", &[0, 1]);
    let view = |called| {
        vec![done(0, 5, put("a", "1"), committed(1)), done(called, 9, get_many(&["a"]), records(0, &[None]))]
    };
    right(view(5));
    wrong(view(6), "took effect first", &[0, 1]);
    // A view of a commit that was not called yet.
    wrong(
        vec![done(0, 5, get_many(&["b"]), records(1, &[None])), done(6, 9, put("a", "1"), committed(1))],
        "took effect first",
        &[0, 1],
    );
}

#[test]
fn an_absent_get_that_must_stand_behind_a_later_delete_breaks_the_order_of_time() {
    let steps = |returned| {
        vec![
            done(0, 1, put("a", "1"), committed(1)),
            done(2, returned, get("a"), MISSING),
            done(10, 20, delete("a"), committed(2)),
        ]
    };
    right(steps(10));
    wrong(steps(9), "took effect first", &[1, 2]);
}

#[test]
fn ties_are_broken_by_the_time_of_the_call() {
    right(vec![
        done(0, 1, put("a", "1"), committed(1)),
        done(20, 30, get_many(&["a"]), records(1, &[Some(record("1", 1))])),
        done(10, 15, scan("a", "b"), entries(1, &[("a", "1", 1)])),
        done(2, 5, get("a"), found("1", 1)),
    ]);
}

#[test]
fn a_version_is_given_once_and_is_never_zero() {
    let writes = |version| {
        vec![done(0, 9, put("a", "1"), committed(1)), done(0, 9, put("b", "1"), committed(version))]
    };
    right(writes(2));
    wrong(writes(1), "given twice", &[0, 1]);
    wrong(writes(0), "version of the empty store", &[1]);
}

#[test]
fn the_version_of_a_view_may_lie_between_commits() {
    let steps = |view, got| {
        vec![
            done(0, 1, put("a", "1"), committed(3)),
            done(2, 20, put("a", "2"), committed(9)),
            done(3, 20, get_many(&["a"]), records(view, &[Some(got)])),
        ]
    };
    for view in [3, 5, 8] {
        right(steps(view, record("1", 3)));
        wrong(steps(view, record("2", 9)), "found key \"a\"", &[2, 0]);
    }
    right(steps(9, record("2", 9)));
}

#[test]
fn all_keys_of_a_get_many_are_read_in_one_view() {
    let steps = |second| {
        in_turn(vec![
            (write(&[], &[("a", Some("1")), ("b", Some("1"))]), committed(1)),
            (get_many(&["a", "b", "c"]), records(1, &[Some(record("1", 1)), second, None])),
        ])
    };
    right(steps(Some(record("1", 1))));
    wrong(steps(None), "found key \"b\" absent", &[0, 1]);
}

fn filled() -> Vec<(Request, Answer)> {
    let all = [("a", Some("1")), ("b", Some("1")), ("c", Some("1")), ("d", Some("1"))];
    vec![(write(&[], &all), committed(1))]
}

#[track_caller]
fn scanned(start: &str, end: Option<&str>, reverse: bool, limit: Option<u64>, got: &[&str], words: &str) {
    let end = end.map(Into::into);
    let request = Request::Scan { start: start.into(), end, reverse, limit };
    let found: Vec<_> = got.iter().map(|key| (*key, "1", 1)).collect();
    for answer in [entries(1, &found), keys(1, got)] {
        let steps: Vec<_> = filled().into_iter().chain([(request.clone(), answer)]).collect();
        if words.is_empty() { right(in_turn(steps)) } else { wrong(in_turn(steps), words, &[1]) }
    }
}

#[test]
fn a_scan_delivers_its_whole_range_and_nothing_else() {
    scanned("b", Some("d"), false, None, &["b", "c"], "");
    scanned("b", None, false, None, &["b", "c", "d"], "");
    scanned("bb", Some("z"), false, None, &["c", "d"], "");
    scanned("c", Some("b"), false, None, &[], "");
    scanned("b", Some("d"), false, None, &["b"], "found key \"c\" absent");
    scanned("b", Some("d"), false, None, &["c"], "found key \"b\" absent");
    scanned("b", None, false, None, &["b", "c"], "found key \"d\" absent");
    scanned("b", Some("d"), false, None, &["b", "c", "d"], "outside the range");
    scanned("b", Some("d"), false, None, &["a", "b", "c"], "outside the range");
    scanned("b", Some("d"), false, None, &["b", "bb", "c"], "\"bb\"");
}

#[test]
fn a_scan_keeps_its_order() {
    scanned("a", None, true, None, &["d", "c", "b", "a"], "");
    scanned("a", None, true, None, &["d", "b", "a"], "found key \"c\" absent");
    scanned("a", None, true, None, &["a", "b", "c", "d"], "out of order");
    scanned("a", None, false, None, &["d", "c", "b", "a"], "out of order");
    scanned("a", Some("c"), false, None, &["a", "a", "b"], "out of order");
}

#[test]
fn a_scan_stops_at_its_limit_and_not_before() {
    scanned("a", None, false, Some(2), &["a", "b"], "");
    scanned("a", None, true, Some(2), &["d", "c"], "");
    scanned("a", None, false, Some(0), &[], "");
    scanned("a", None, false, Some(9), &["a", "b", "c", "d"], "");
    scanned("a", None, false, Some(3), &["a", "b"], "found key \"c\" absent");
    scanned("a", None, false, Some(2), &["a", "c"], "found key \"b\" absent");
    scanned("a", None, true, Some(2), &["d", "b"], "found key \"c\" absent");
    scanned("a", None, false, Some(1), &["a", "b"], "asked for 1 at most");
}

#[test]
fn a_scan_shows_one_view() {
    let steps = |got| {
        in_turn(filled().into_iter().chain([(put("a", "2"), committed(2)), (scan("a", "b"), got)]).collect())
    };
    right(steps(entries(2, &[("a", "2", 2)])));
    wrong(steps(entries(2, &[("a", "1", 1)])), "found key \"a\"", &[1, 2]);
}

#[test]
fn the_conditions_of_a_commit_hold() {
    let present = || (put("a", "1"), committed(1));
    let on_a = |condition| (write(&[("a", condition)], &[("b", Some("1"))]), committed(2));
    let on_b = |condition| (write(&[("b", condition)], &[("b", Some("1"))]), committed(2));
    for condition in [Condition::Present, Condition::Version(1), Condition::Value("1".into())] {
        right(in_turn(vec![present(), on_a(condition.clone())]));
        let gone = vec![present(), (delete("a"), committed(2))];
        let again = (write(&[("a", condition)], &[("b", Some("1"))]), committed(3));
        wrong(in_turn(gone.into_iter().chain([again]).collect()), "operation 2 found key \"a\"", &[1, 2]);
    }
    right(in_turn(vec![present(), on_b(Condition::Absent)]));
    wrong(in_turn(vec![present(), on_b(Condition::Version(1))]), "put nothing there", &[0, 1]);
    wrong(in_turn(vec![present(), on_a(Condition::Absent)]), "operation 1 found key \"a\" absent", &[0, 1]);
    wrong(in_turn(vec![present(), on_a(Condition::Value("2".into()))]), "operation 1 found", &[0, 1]);
    wrong(in_turn(vec![present(), on_a(Condition::Version(7))]), "version 7", &[1]);
}

#[test]
fn conditions_are_judged_before_the_batch() {
    let batch = |condition| write(&[("a", condition)], &[("a", Some("1"))]);
    right(in_turn(vec![(batch(Condition::Absent), committed(1))]));
    wrong(in_turn(vec![(batch(Condition::Present), committed(1))]), "nobody had written it", &[0]);
}

#[test]
fn a_conflict_names_the_first_condition_that_fails() {
    let request = || {
        let conditions = [("a", Condition::Present), ("a", Condition::Version(9)), ("b", Condition::Present)];
        write(&conditions, &[("c", Some("1"))])
    };
    let steps = |index| {
        in_turn(vec![(put("a", "1"), committed(1)), (request(), conflict(index, 1, Current::Unsaid))])
    };
    right(steps(1));
    wrong(steps(0), "found key \"a\" absent", &[0, 1]);
    wrong(steps(2), "version 9", &[1]);
    let absent = |answer| {
        in_turn(vec![
            (put("a", "1"), committed(1)),
            (write(&[("a", Condition::Value("1".into()))], &[("a", None)]), answer),
        ])
    };
    right(absent(committed(2)));
    wrong(absent(conflict(0, 1, Current::Unsaid)), "anything but \"1\"", &[0, 1]);
    wrong(
        in_turn(vec![(write(&[("a", Condition::Absent)], &[("a", None)]), conflict(0, 0, Current::Unsaid))]),
        "found key \"a\" present",
        &[0],
    );
}

#[test]
fn a_conflict_tells_the_current_record() {
    let steps = |current| {
        in_turn(vec![
            (put("a", "0"), committed(1)),
            (put("a", "1"), committed(2)),
            (write(&[("a", Condition::Version(1))], &[("a", None)]), conflict(0, 2, current)),
        ])
    };
    right(steps(Current::Present(record("1", 2))));
    wrong(steps(Current::Absent), "found key \"a\" absent", &[1, 2]);
    wrong(steps(Current::Present(record("0", 1))), "found key \"a\"", &[1, 2]);
}

#[test]
fn a_conflict_changes_nothing() {
    let steps = |answer| {
        in_turn(vec![
            (write(&[("a", Condition::Present)], &[("a", Some("1"))]), conflict(0, 0, Current::Absent)),
            (get("a"), answer),
        ])
    };
    right(steps(MISSING));
    wrong(steps(found("1", 1)), "was answered that nothing changed", &[0, 1]);
}

#[test]
fn a_commit_changes_something() {
    let steps = |answer| {
        in_turn(vec![(put("a", "1"), committed(1)), (delete("a"), committed(2)), (delete("a"), answer)])
    };
    right(steps(unchanged(2)));
    wrong(steps(committed(3)), "no change", &[2]);
    let conditions = |answer| in_turn(vec![(write(&[("a", Condition::Absent)], &[]), answer)]);
    right(conditions(unchanged(0)));
    wrong(conditions(committed(1)), "conditions alone", &[0]);
    let one_of_two = write(&[], &[("a", None), ("b", None)]);
    right(in_turn(vec![(put("a", "1"), committed(1)), (one_of_two, committed(2))]));
}

#[test]
fn an_unchanged_batch_changes_nothing() {
    let steps =
        |request| in_turn(vec![(put("a", "1"), committed(1)), (request, unchanged(1)), (get("b"), MISSING)]);
    right(steps(delete("b")));
    wrong(steps(delete("a")), "found key \"a\" absent", &[0, 1]);
    wrong(steps(put("b", "1")), "which is always a change", &[1]);
    wrong(steps(write(&[("b", Condition::Present)], &[])), "found key \"b\" present", &[1]);
}

#[test]
fn of_two_operations_on_one_key_the_last_wins() {
    let batch = || write(&[], &[("a", Some("1")), ("a", Some("2")), ("b", Some("1")), ("b", None)]);
    let steps = |a, b| in_turn(vec![(batch(), committed(1)), (get("a"), a), (get("b"), b)]);
    right(steps(found("2", 1), MISSING));
    wrong(steps(found("1", 1), MISSING), "put \"2\" there", &[0, 1]);
    wrong(steps(found("2", 1), found("1", 1)), "put nothing there", &[0, 2]);
    let nothing = write(&[], &[("a", Some("1")), ("a", None)]);
    right(in_turn(vec![(nothing, unchanged(0))]));
}

#[test]
fn a_failed_operation_constrains_nothing_but_must_not_be_seen() {
    let steps = |answer| {
        in_turn(vec![(put("a", "1"), Answer::Failed), (scan("a", "b"), Answer::Failed), (get("a"), answer)])
    };
    right(steps(MISSING));
    wrong(steps(found("1", 1)), "said that nothing was applied, but its value was seen", &[0, 2]);
    wrong(
        in_turn(vec![(put("a", "1"), committed(1)), (delete("a"), Answer::Failed), (get("a"), MISSING)]),
        "found key \"a\" absent",
        &[0, 2],
    );
}

#[test]
fn what_the_checker_needs_and_lacks_is_said() {
    undecided(in_turn(vec![(put("a", "1"), Answer::Applied)]), "operation 0 was answered applied");
    undecided(
        in_turn(vec![(put("a", "1"), Answer::Committed { version: None })]),
        "operation 0 has an answer without",
    );
    undecided(
        in_turn(vec![(put("a", "1"), committed(1)), (delete("b"), Answer::Unchanged { version: None })]),
        "operation 1",
    );
    let record = rdb_checker::Record { value: "1".into(), version: None };
    undecided(in_turn(vec![(get("a"), Answer::Record(Some(record.clone())))]), "operation 0");
    undecided(in_turn(vec![(get_many(&["a"]), records(1, &[Some(record.clone())]))]), "operation 0");
    let failed = conflict(0, 1, Current::Present(record));
    undecided(in_turn(vec![(write(&[("a", Condition::Absent)], &[]), failed)]), "operation 0");
    undecided(in_turn(vec![(get("a"), committed(1))]), "does not fit");
    undecided(vec![done(5, 4, get("a"), MISSING)], "before its call");
}
