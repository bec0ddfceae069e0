//! Several keys in one write.

use bytes::Bytes;

use super::Context;
use super::db::{committed, conflicted, key, text_of, unchanged};
use crate::{Batch, Condition, KeyRange, Scan};

/// C2: all operations of a batch are applied.
pub(super) async fn c02_a_batch_is_applied_whole(cx: &Context) {
    let db = cx.open().await;
    db.put("old", "gone soon").await;
    let names = db.fill("k", 200, 20).await;
    let batch = names
        .iter()
        .fold(Batch::new().delete(key("old")), |batch, name| batch.put(key(name), format!("new {name}")));
    db.commit(batch).await;
    let expected: Vec<_> = names.iter().map(|name| (name.clone(), format!("new {name}"))).collect();
    assert_eq!(db.dump().await, expected, "every operation of a batch is applied (C2)");
}

/// C2: where a condition fails, no operation of the batch is applied.
pub(super) async fn c02_a_batch_whose_last_condition_fails_applies_nothing(cx: &Context) {
    let db = cx.open().await;
    let names = db.fill("k", 50, 20).await;
    let before = db.dump().await;
    let mut batch = names.iter().fold(Batch::new(), |batch, name| batch.when(key(name), Condition::Present));
    batch = names.iter().fold(batch, |batch, name| batch.delete(key(name))).put(key("new"), "v");
    batch = batch.when(key("missing"), Condition::Present);
    conflicted(db.write(batch).await);
    assert_eq!(db.dump().await, before, "a batch whose condition fails applies nothing (C2, C7)");
}

/// C2: of two operations on one key the last wins.
pub(super) async fn c02_of_two_operations_on_one_key_the_last_wins(cx: &Context) {
    let db = cx.open().await;
    db.put("deleted last", "old").await;
    db.put("put last", "old").await;
    let batch = Batch::new()
        .put(key("twice"), "1")
        .put(key("deleted last"), "1")
        .delete(key("put last"))
        .put(key("twice"), "2")
        .delete(key("deleted last"))
        .put(key("put last"), "2");
    let version = db.commit(batch).await.version;
    let view = db.get_many(&["twice", "deleted last", "put last"]).await;
    let seen: Vec<_> = view
        .data
        .iter()
        .map(|record| record.as_ref().map(|record| (text_of(record), record.version)))
        .collect();
    let put = Some(("2".to_owned(), version));
    assert_eq!(seen, [put.clone(), None, put], "of two operations on one key the last wins (C2)");
    let scanned = db.scan(Scan::new(KeyRange::all())).await.data.len();
    assert_eq!(scanned, 2, "a key that a batch names twice is there once (C2)");
}

/// C3: of several conditions that fail, the first in the order given is reported, with its place.
pub(super) async fn c03_the_first_failing_condition_is_the_one_reported(cx: &Context) {
    let db = cx.open().await;
    db.put("a", "1").await;
    let version = db.put("z", "2").await;
    // The order given is neither that of the keys nor that of the kinds.
    let batch = Batch::new()
        .when(key("z"), Condition::Present)
        .when(key("y"), Condition::Absent)
        .when(key("z"), Condition::Value(Bytes::from_static(b"not this")))
        .when(key("a"), Condition::Absent)
        .when(key("b"), Condition::Present)
        .put(key("new"), "v");
    let conflict = conflicted(db.write(batch).await);
    assert_eq!(conflict.index, 2, "the first condition that fails, in the order given, is reported (C3)");
    assert_eq!(conflict.key, key("z"), "the conflict names that condition's key (C7)");
    assert_eq!(conflict.current.map(|record| record.version), Some(version));
}

/// C3: conditions are judged against the view before the batch, not against its own operations.
pub(super) async fn c03_conditions_are_not_judged_against_the_batch_itself(cx: &Context) {
    let db = cx.open().await;
    committed(db.write(Batch::new().put(key("k"), "v").when(key("k"), Condition::Absent)).await);
    committed(db.write(Batch::new().delete(key("k")).when(key("k"), Condition::Present)).await);
    let conflict =
        conflicted(db.write(Batch::new().put(key("k"), "v").when(key("k"), Condition::Present)).await);
    assert_eq!(
        conflict.current, None,
        "the batch's own put is not there when its conditions are judged (C3)"
    );
    db.put("k", "old").await;
    let swap = Batch::new().put(key("k"), "new").when(key("k"), Condition::Value(Bytes::from_static(b"new")));
    let conflict = conflicted(db.write(swap).await);
    assert_eq!(conflict.current.map(|record| text_of(&record)).as_deref(), Some("old"));
}

/// C3: conditions may be on keys that the batch does not write, and several on one key.
pub(super) async fn c03_all_conditions_are_judged_whatever_the_batch_writes(cx: &Context) {
    let db = cx.open().await;
    let version = db.put("guard", "open").await;
    let guarded = |value: &'static str| {
        Batch::new()
            .when(key("guard"), Condition::Present)
            .when(key("guard"), Condition::Version(version))
            .when(key("guard"), Condition::Value(Bytes::from_static(b"open")))
            .when(key("veto"), Condition::Absent)
            .put(key("k"), value)
    };
    committed(db.write(guarded("first")).await);
    db.put("veto", "").await;
    assert_eq!(conflicted(db.write(guarded("second")).await).index, 3);
    committed(db.delete("veto").await);
    db.put("guard", "open").await;
    assert_eq!(
        conflicted(db.write(guarded("third")).await).index,
        1,
        "the guard's version has changed (C3, C6)"
    );
    assert_eq!(db.text("k").await.as_deref(), Some("first"));
}

/// C3: two conditions on one key that cannot both hold are judged one by one, and the second is reported.
pub(super) async fn c03_contradicting_conditions_never_hold(cx: &Context) {
    let db = cx.open().await;
    let batch = || {
        Batch::new().when(key("k"), Condition::Absent).when(key("k"), Condition::Present).put(key("k"), "v")
    };
    assert_eq!(conflicted(db.write(batch()).await).index, 1);
    db.put("k", "old").await;
    assert_eq!(conflicted(db.write(batch()).await).index, 0);
    assert_eq!(db.text("k").await.as_deref(), Some("old"));
}

/// C4: all records of a batch carry its one version.
pub(super) async fn c04_all_records_of_a_batch_carry_its_version(cx: &Context) {
    let db = cx.open().await;
    db.put("c", "older").await;
    let batch = ["a", "b", "c", "d"].iter().fold(Batch::new(), |batch, name| batch.put(key(name), "v"));
    let commit = db.commit(batch).await;
    for entry in db.scan(Scan::new(KeyRange::all())).await.data {
        let version = entry.record.map(|record| record.version);
        assert_eq!(version, Some(commit.version), "`{}` carries its batch's version (C4)", entry.key);
    }
    let next = db.put("e", "v").await;
    assert!(next > commit.version, "the next commit is greater than the whole batch (C4)");
}

/// C4: a batch of conditions alone is an atomic assertion: no commit, no version.
pub(super) async fn c04_a_batch_of_conditions_alone_takes_no_version(cx: &Context) {
    let db = cx.open().await;
    db.put("a", "1").await;
    let version = db.put("b", "2").await;
    let all_hold = Batch::new().when(key("a"), Condition::Present).when(key("c"), Condition::Absent);
    let answer = unchanged(db.write(all_hold).await);
    assert_eq!(answer.version, version, "an assertion answers with the version of its view (C4)");
    let one_fails = Batch::new().when(key("a"), Condition::Present).when(key("b"), Condition::Absent);
    let conflict = conflicted(db.write(one_fails).await);
    assert_eq!((conflict.index, conflict.version), (1, version));
    assert_eq!(db.version().await, version, "an assertion takes no version (C4)");
}

/// C4: a put that the same batch takes back, on an absent key, changes nothing.
pub(super) async fn c04_a_put_taken_back_on_an_absent_key_changes_nothing(cx: &Context) {
    let db = cx.open().await;
    let version = db.put("other", "v").await;
    let answer = unchanged(db.write(Batch::new().put(key("k"), "v").delete(key("k"))).await);
    assert_eq!(answer.version, version, "a batch without effect answers with the version of its view (C4)");
    assert_eq!(db.get("k").await, None);
    assert_eq!(db.version().await, version, "a batch without effect takes no version (C4)");
}

/// C4: one effective operation among several without effect makes a commit.
pub(super) async fn c04_one_effective_operation_makes_a_commit(cx: &Context) {
    let db = cx.open().await;
    let before = db.put("k", "v").await;
    let batch = Batch::new().delete(key("absent")).delete(key("k")).delete(key("absent too"));
    let deleted = db.commit(batch).await.version;
    assert!(deleted > before, "a batch that deletes one record is a commit (C4)");
    assert_eq!(db.dump().await, [], "nothing is left but what was written (C4)");
}

/// C7: a conflict in a batch carries the record of the failing condition's key, not of another.
pub(super) async fn c07_a_conflict_in_a_batch_carries_the_failing_keys_record(cx: &Context) {
    let db = cx.open().await;
    let a = db.put("a", "1").await;
    let b = db.put("b", "2").await;
    let batch = Batch::new()
        .when(key("a"), Condition::Version(a))
        .when(key("b"), Condition::Version(a))
        .put(key("a"), "x")
        .put(key("b"), "x");
    let conflict = conflicted(db.write(batch).await);
    assert_eq!((conflict.index, &conflict.key, conflict.version), (1, &key("b"), b));
    let current = conflict.current.expect("the conflict carries the current record (C7)");
    assert_eq!((text_of(&current).as_str(), current.version), ("2", b));
}
