//! Writes of unknown outcome: what they may explain, and what they may not.

use rdb_checker::{Condition, Current, Operation};

use crate::builder::*;

/// A record at version 1, and a write of unknown outcome from time 10; then some more.
fn with(request: rdb_checker::Request, more: Vec<Operation>) -> Vec<Operation> {
    let begin = vec![done(0, 5, put("a", "1"), committed(1)), unknown(10, request)];
    begin.into_iter().chain(more).collect()
}

fn at(time: u64, request: rdb_checker::Request, answer: rdb_checker::Answer) -> Operation {
    done(time, time + 5, request, answer)
}

#[test]
fn an_unknown_write_may_never_take_effect_or_at_any_time() {
    right(with(put("a", "2"), vec![at(20, get("a"), found("1", 1))]));
    right(with(put("a", "2"), vec![at(20, get("a"), found("1", 1)), at(30, get("a"), found("2", 2))]));
    wrong(
        with(put("a", "2"), vec![at(20, get("a"), found("2", 2)), at(30, get("a"), found("1", 1))]),
        "found key \"a\"",
        &[3, 1],
    );
}

#[test]
fn an_unknown_write_takes_effect_once() {
    let more = vec![
        at(20, get("a"), found("2", 2)),
        at(30, put("a", "3"), committed(3)),
        at(40, get("a"), found("2", 4)),
    ];
    wrong(with(put("a", "2"), more), "it took effect twice", &[1]);
}

#[test]
fn an_unknown_write_is_not_seen_before_its_call() {
    let seen = |returned| vec![done(2, returned, get("b"), found("2", 2))];
    right(with(put("b", "2"), seen(10)));
    wrong(with(put("b", "2"), seen(9)), "was called later", &[1, 2]);
}

#[test]
fn an_unknown_batch_that_was_seen_took_effect_whole() {
    let batch = || write(&[], &[("a", None), ("b", Some("2")), ("c", Some("2"))]);
    let more =
        |c| vec![at(20, get("b"), found("2", 2)), at(30, get_many(&["a", "c"]), records(2, &[None, c]))];
    right(with(batch(), more(Some(record("2", 2)))));
    wrong(with(batch(), more(None)), "found key \"c\" absent", &[3, 1]);
    wrong(
        with(batch(), vec![at(20, get("b"), found("2", 2)), at(30, get("a"), found("1", 1))]),
        "found key \"a\"",
        &[3, 1],
    );
}

#[test]
fn the_conditions_of_an_unknown_batch_that_was_seen_held() {
    let cas = |version| write(&[("a", Condition::Version(version))], &[("b", Some("2"))]);
    right(with(cas(1), vec![at(20, get("b"), found("2", 2))]));
    wrong(
        with(cas(1), vec![at(14, put("a", "3"), committed(2)), at(20, get("b"), found("2", 3))]),
        "operation 1 found key \"a\"",
        &[1],
    );
}

#[test]
fn the_current_record_of_a_conflict_shows_an_unknown_write() {
    let failed = |version| conflict(0, 2, Current::Present(record("2", version)));
    let cas = || write(&[("a", Condition::Version(1))], &[("a", None)]);
    right(with(put("a", "2"), vec![at(20, cas(), failed(2)), at(30, get("a"), found("2", 2))]));
    wrong(with(put("a", "2"), vec![at(20, cas(), failed(2)), at(30, get("a"), MISSING)]), "absent", &[3]);
}

#[test]
fn a_condition_on_a_version_shows_an_unknown_write_too() {
    let cas = || write(&[("a", Condition::Version(2))], &[("a", Some("3"))]);
    right(with(put("a", "2"), vec![at(20, cas(), committed(3))]));
    wrong(with(put("b", "2"), vec![at(20, cas(), committed(3))]), "no write can have been given it", &[2]);
}

#[test]
fn an_unknown_delete_explains_a_record_that_vanished() {
    right(with(delete("a"), vec![at(20, get("a"), MISSING)]));
    right(with(delete("a"), vec![at(20, get("a"), found("1", 1)), at(30, scan("a", "b"), entries(2, &[]))]));
    right(with(delete("a"), vec![at(20, delete("a"), unchanged(2))]));
    right(with(
        delete("a"),
        vec![at(20, write(&[("a", Condition::Absent)], &[("a", Some("2"))]), committed(3))],
    ));
    right(with(
        delete("a"),
        vec![at(20, write(&[("a", Condition::Present)], &[]), conflict(0, 2, Current::Absent))],
    ));
    wrong(with(delete("b"), vec![at(20, get("a"), MISSING)]), "found key \"a\" absent", &[0, 2]);
    wrong(with(put("a", "2"), vec![at(20, get("a"), MISSING)]), "found key \"a\" absent", &[0, 2]);
}

#[test]
fn an_unknown_delete_has_a_version_that_is_free() {
    // A view is the state after exactly the commits up to its version: two of one version are the same.
    wrong(
        with(
            delete("a"),
            vec![
                at(20, get_many(&["a"]), records(1, &[Some(record("1", 1))])),
                at(30, get_many(&["a"]), records(1, &[None])),
            ],
        ),
        "found key \"a\" absent",
        &[0, 3],
    );
}

#[test]
fn what_an_unknown_delete_removed_does_not_return() {
    let more = vec![
        at(20, get_many(&["a"]), records(2, &[None])),
        at(30, get_many(&["a"]), records(3, &[Some(record("1", 1))])),
    ];
    wrong(with(delete("a"), more), "what is deleted does not return", &[0, 2, 3]);
}

#[test]
fn an_unknown_delete_explains_nothing_that_returned_before_its_call() {
    let gone = |returned| vec![done(6, returned, get("a"), MISSING)];
    right(with(delete("a"), gone(10)));
    wrong(with(delete("a"), gone(9)), "found key \"a\" absent", &[0, 2]);
}

#[test]
fn an_unknown_delete_stands_behind_all_that_had_returned_before_its_call() {
    // The view is one of version 2, and version 3 was there before the delete was called.
    let operations = |returned| {
        vec![
            done(0, 5, put("a", "1"), committed(1)),
            done(6, returned, put("b", "1"), committed(3)),
            done(7, 20, get_many(&["a"]), records(2, &[None])),
            unknown(10, delete("a")),
        ]
    };
    right(operations(10));
    wrong(operations(9), "found key \"a\" absent", &[0, 2]);
}

#[test]
fn an_unknown_delete_explains_one_record() {
    let more = |again: Vec<Operation>| {
        let once = vec![at(20, get_many(&["a"]), records(2, &[None])), at(30, put("a", "2"), committed(3))];
        once.into_iter().chain(again).chain([at(50, get_many(&["a"]), records(5, &[None]))]).collect()
    };
    right(with(delete("a"), more(vec![at(40, delete("a"), committed(4))])));
    right(with(delete("a"), more(vec![unknown(40, delete("a"))])));
    wrong(with(delete("a"), more(vec![])), "2. record of the key to vanish", &[1, 4]);
}

#[test]
fn the_conditions_of_an_unknown_delete_hold_where_it_is_put() {
    let cas = |condition| write(&[("a", condition)], &[("a", None)]);
    let more = || vec![at(20, get_many(&["a"]), records(2, &[None]))];
    for condition in [Condition::Present, Condition::Version(1), Condition::Value("1".into())] {
        right(with(cas(condition), more()));
    }
    for condition in [Condition::Absent, Condition::Version(9), Condition::Value("9".into())] {
        wrong(with(cas(condition), more()), "do not allow for it", &[0, 2]);
    }
}

#[test]
fn the_most_particular_unknown_delete_is_used_first() {
    // The second explains either record, the first only one of them.
    let operations = vec![
        done(0, 5, put("a", "1"), committed(1)),
        unknown(6, delete("a")),
        unknown(7, write(&[("a", Condition::Version(1))], &[("a", None)])),
        at(20, get_many(&["a"]), records(2, &[None])),
        at(30, put("a", "2"), committed(3)),
        at(40, get("a"), MISSING),
    ];
    right(operations);
}

#[test]
fn gets_on_both_sides_of_an_unknown_delete_find_their_places() {
    // The delete stands behind the first three, though the last of them was called late.
    let more = vec![
        done(20, 60, get("a"), MISSING),
        done(25, 30, get("a"), found("1", 1)),
        done(40, 45, put("b", "1"), committed(2)),
        done(46, 50, get("a"), found("1", 1)),
        done(70, 75, get("a"), MISSING),
    ];
    right(with(delete("a"), more));
    let back =
        vec![at(20, get("a"), MISSING), at(30, put("b", "1"), committed(3)), at(40, get("a"), found("1", 1))];
    assert!(!check(with(delete("a"), back)).is_linearizable());
}

#[test]
fn an_unknown_put_explains_a_judgement_of_presence() {
    let judged = |key, conditions: &[(&str, Condition)]| {
        with(put(key, "2"), vec![at(20, write(conditions, &[("c", Some("1"))]), committed(4))])
    };
    right(judged("b", &[("b", Condition::Present)]));
    right(judged("b", &[("b", Condition::Value("2".into()))]));
    wrong(judged("d", &[("b", Condition::Present)]), "found key \"b\" present", &[2]);
    wrong(judged("b", &[("b", Condition::Value("3".into()))]), "found key \"b\" \"3\"", &[2]);
    let failed = |key| {
        let absent = write(&[("b", Condition::Absent)], &[("b", None)]);
        with(put(key, "2"), vec![at(20, absent, conflict(0, 4, Current::Unsaid))])
    };
    right(failed("b"));
    wrong(failed("d"), "found key \"b\" present", &[2]);
}

#[test]
fn an_unknown_put_explains_that_a_blind_delete_changed_something() {
    right(with(put("b", "2"), vec![at(20, delete("b"), committed(3)), at(30, get("b"), MISSING)]));
    wrong(with(put("d", "2"), vec![at(20, delete("b"), committed(3))]), "no change", &[2]);
}

#[test]
fn an_unknown_put_explains_a_key_without_its_record() {
    right(with(
        put("b", "2"),
        vec![at(20, scan("b", "c"), keys(3, &["b"])), at(30, delete("b"), committed(4))],
    ));
    wrong(
        with(put("d", "2"), vec![at(20, scan("b", "c"), keys(3, &["b"]))]),
        "found key \"b\" present",
        &[2],
    );
}

#[test]
fn an_unknown_write_explains_that_a_condition_failed() {
    let cas = || write(&[("a", Condition::Version(1))], &[("a", None)]);
    for unknown in [put("a", "2"), delete("a")] {
        right(with(unknown, vec![at(20, cas(), conflict(0, 2, Current::Unsaid))]));
    }
    wrong(
        with(put("b", "2"), vec![at(20, cas(), conflict(0, 2, Current::Unsaid))]),
        "anything but version 1",
        &[0, 2],
    );
}

#[test]
fn an_unknown_put_and_an_unknown_delete_explain_a_key_that_came_and_went() {
    let operations = vec![
        unknown(0, put("a", "1")),
        unknown(1, delete("a")),
        at(10, write(&[("a", Condition::Present)], &[("b", Some("1"))]), committed(5)),
        at(20, get_many(&["a"]), records(7, &[None])),
    ];
    right(operations);
}

#[test]
fn several_unknown_writes_of_one_value_are_told_apart_or_nothing_is_claimed() {
    let twins = |more: Vec<Operation>| {
        let begin = vec![unknown(0, put("a", "1")), unknown(1, put("a", "1"))];
        begin.into_iter().chain(more).collect::<Vec<_>>()
    };
    right(twins(vec![at(10, get("a"), found("1", 3)), at(20, get("a"), found("1", 7))]));
    undecided(
        twins(vec![at(10, get("a"), found("1", 3)), at(20, get("a"), MISSING)]),
        "wrote the same value",
    );
}

#[test]
fn a_condition_of_an_unknown_write_that_was_seen_shows_another_unknown_write() {
    let operations = |first| {
        vec![
            unknown(0, put(first, "1")),
            unknown(1, write(&[("a", Condition::Version(3))], &[("a", Some("2"))])),
            at(10, get("a"), found("2", 5)),
        ]
    };
    right(operations("a"));
    wrong(operations("b"), "version 3", &[1]);
}

#[test]
fn what_an_owner_by_guess_names_proves_nothing() {
    // Either of the two may be what was seen; only of the first, which is guessed, is the condition impossible.
    let impossible = write(&[("z", Condition::Version(99))], &[("a", Some("1"))]);
    undecided(
        vec![unknown(0, impossible), unknown(1, put("a", "1")), done(2, 3, get("a"), found("1", 3))],
        "several writes of unknown outcome wrote the same value",
    );
}
