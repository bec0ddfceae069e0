//! Single keys: reads, writes, conditions and versions.

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;

use super::Context;
use super::db::{Db, committed, conflicted, key, refused, text_of, unchanged};
use crate::{
    Batch, Condition, ErrorKind, KeyRange, MAX_KEY_BYTES, Op, Outcome, Scan, Session, SessionOptions,
    Version, Watch, WriteOptions,
};

/// C1: a read that begins after a write has returned sees it, by every way of reading.
pub(super) async fn c01_a_read_sees_every_write_that_returned_before_it(cx: &Context) {
    let db = cx.open().await;
    for round in 0..20 {
        let value = format!("value {round}");
        let version = db.put("k", value.clone()).await;

        let got = db.get("k").await.expect("a get sees the put that returned before it (C1)");
        assert_eq!((text_of(&got), got.version), (value, version), "a get sees the latest put (C1)");
        let many = db.get_many(&["k"]).await;
        assert_eq!(many.data, [Some(got.clone())], "a get of several keys sees the latest put (C1)");
        let scanned = db.scan(Scan::new(KeyRange::all())).await;
        assert_eq!(scanned.data[0].record, Some(got), "a scan sees the latest put (C1)");
    }
    committed(db.delete("k").await);
    assert_eq!(db.get("k").await, None, "a get sees the delete that returned before it (C1)");
    assert_eq!(db.get_many(&["k"]).await.data, [None], "a get of several keys sees the delete (C1)");
    assert_eq!(db.scan(Scan::new(KeyRange::all())).await.data, [], "a scan sees the delete (C1)");
}

/// C1: a key that was never written has no record.
pub(super) async fn c01_a_key_never_written_has_no_record(cx: &Context) {
    let db = cx.open().await;
    assert_eq!(db.get("k").await, None);
    assert_eq!(db.get_many(&["k", "l"]).await.data, [None, None]);
    db.put("k", "v").await;
    for neighbour in ["j", "k\0", "kk", "l", "\0"] {
        assert_eq!(db.get(neighbour).await, None, "`k` was written, `{}` was not", neighbour.escape_debug());
    }
}

/// C4: each commit's version is greater than that of every earlier commit, whatever key it is on.
pub(super) async fn c04_versions_grow_over_all_keys(cx: &Context) {
    let db = cx.open().await;
    let mut last = db.version().await;
    for round in 0..5 {
        for name in ["a", "b", "c", "d"] {
            let version = db.put(name, format!("{round}")).await;
            assert!(
                version > last,
                "a commit's version is greater than that of every earlier commit of the engine (C4), \
                 but a put of `{name}` got {version} after {last}"
            );
            let record = db.get(name).await.expect("the record was just put (C1)");
            assert_eq!(record.version, version, "a record carries the version of its commit (C4)");
            last = version;
        }
    }
}

/// C4: a put is a change, even of an equal value.
pub(super) async fn c04_a_put_of_an_equal_value_is_a_commit(cx: &Context) {
    let db = cx.open().await;
    let first = db.put("k", "same").await;
    let Outcome::Committed(second) = db.write(Batch::new().put(key("k"), "same")).await else {
        panic!("a put of an equal value is a commit of its own (C4), but was answered as no change");
    };
    let second = second.version;
    assert!(second > first, "a put of an equal value is a commit of its own (C4): {second} after {first}");
    let record = db.get("k").await.expect("the record is there");
    assert_eq!(record.version, second, "the record carries the later put's version (C4)");
}

/// C4: a delete of an absent key is no commit, and answers with the version of the view.
pub(super) async fn c04_a_delete_of_an_absent_key_takes_no_version(cx: &Context) {
    let db = cx.open().await;
    let put = db.put("k", "v").await;
    let answer = unchanged(db.delete("other").await);
    assert_eq!(answer.version, put, "a batch without effect answers with the version of its view (C4)");
    assert_eq!(db.version().await, put, "a batch without effect takes no version (C4)");
}

/// C4: a delete of a record is a commit.
pub(super) async fn c04_a_delete_of_a_record_is_a_commit(cx: &Context) {
    let db = cx.open().await;
    let put = db.put("k", "v").await;
    let deleted = committed(db.delete("k").await).version;
    assert!(deleted > put, "a delete is a commit with a version of its own (C4): {deleted} after {put}");
    assert_eq!(db.version().await, deleted, "the view after a delete has the delete's version (C4)");
    assert_eq!(unchanged(db.delete("k").await).version, deleted, "the second delete changes nothing (C4)");
}

/// C5: a key that is deleted and made anew gets a version that nobody has seen.
pub(super) async fn c05_a_recreated_key_gets_a_greater_version(cx: &Context) {
    let db = cx.open().await;
    let mut last = db.put("k", "v").await;
    for _ in 0..5 {
        let deleted = committed(db.delete("k").await).version;
        let created = db.put("k", "v").await;
        assert!(
            deleted > last && created > deleted,
            "delete and re-create get greater versions (C5): put {last}, delete {deleted}, put {created}"
        );
        last = created;
    }
}

async fn holds(db: &Db, name: &str, condition: Condition) -> bool {
    db.write(Batch::new().when(key(name), condition)).await.succeeded()
}

/// C6: `Absent` holds where there is no record, and nowhere else.
pub(super) async fn c06_absent_holds_where_there_is_no_record(cx: &Context) {
    let db = cx.open().await;
    committed(db.put_when("k", Condition::Absent, "first").await);
    conflicted(db.put_when("k", Condition::Absent, "second").await);
    assert_eq!(
        db.text("k").await.as_deref(),
        Some("first"),
        "a put whose condition fails changes nothing (C7)"
    );
    committed(db.delete("k").await);
    committed(db.put_when("k", Condition::Absent, "third").await);
}

/// C6: `Present` holds where there is a record, whatever it holds.
pub(super) async fn c06_present_holds_where_there_is_a_record(cx: &Context) {
    let db = cx.open().await;
    conflicted(db.put_when("k", Condition::Present, "v").await);
    assert_eq!(db.get("k").await, None, "a put whose condition fails changes nothing (C7)");
    db.put("k", "").await;
    assert!(holds(&db, "k", Condition::Present).await, "an empty value is a record, which is present (C6)");
    assert!(!holds(&db, "k", Condition::Absent).await, "an empty value is a record, and not absent (C6)");
    committed(db.put_when("k", Condition::Present, "v").await);
}

/// C6: `Version` holds of the record's own version, and of no other.
pub(super) async fn c06_version_holds_of_the_latest_commit_alone(cx: &Context) {
    let db = cx.open().await;
    let old = db.put("k", "1").await;
    let new = db.put("k", "2").await;
    assert!(holds(&db, "k", Condition::Version(new)).await, "the record's version is {new} (C6)");
    assert!(!holds(&db, "k", Condition::Version(old)).await, "the record's version is no longer {old} (C6)");
    let future = Version::new(new.get() + 1_000_000).expect("not zero");
    assert!(!holds(&db, "k", Condition::Version(future)).await, "nobody was given version {future} (C6)");
    assert!(!holds(&db, "absent", Condition::Version(new)).await, "no record has no version (C6)");
    // A view's version is not the version of a record that another commit wrote.
    let other = db.put("other", "3").await;
    assert!(
        !holds(&db, "k", Condition::Version(other)).await,
        "version {other} is on `other`, not on `k` (C6)"
    );
}

/// C6: `Value` compares all bytes.
pub(super) async fn c06_value_compares_every_byte(cx: &Context) {
    let db = cx.open().await;
    let value = |bytes: &'static [u8]| Condition::Value(Bytes::from_static(bytes));
    db.put("k", Bytes::from_static(b"\x00\xffabc")).await;
    assert!(holds(&db, "k", value(b"\x00\xffabc")).await, "the value equals itself (C6)");
    for other in [&b""[..], b"\x00", b"\x00\xffab", b"\x00\xffabd", b"\x00\xffabc\x00", b"abc"] {
        let said = holds(&db, "k", Condition::Value(Bytes::copy_from_slice(other))).await;
        assert!(!said, "the value is not `{}` (C6)", other.escape_ascii());
    }
    db.put("k", "").await;
    assert!(holds(&db, "k", value(b"")).await, "an empty value equals the empty value (C6)");
    assert!(!holds(&db, "absent", value(b"")).await, "no record is not an empty value (C6)");
}

/// C6: a version condition is not fooled by a value that changed and changed back; a value condition is.
pub(super) async fn c06_version_is_not_fooled_by_a_value_that_came_back(cx: &Context) {
    let db = cx.open().await;
    let first = db.put("k", "A").await;
    db.put("k", "B").await;
    db.put("k", "A").await;
    let conflict = conflicted(db.put_when("k", Condition::Version(first), "C").await);
    assert_eq!(conflict.current.map(|record| text_of(&record)).as_deref(), Some("A"));
    committed(db.put_when("k", Condition::Value(Bytes::from_static(b"A")), "C").await);

    let seen = db.get("k").await.expect("the record is there").version;
    committed(db.delete("k").await);
    db.put("k", "C").await;
    conflicted(db.put_when("k", Condition::Version(seen), "D").await);
}

/// C7: a conflict carries the condition's place and key, the view's version and the current record.
pub(super) async fn c07_a_conflict_carries_what_is_there(cx: &Context) {
    let db = cx.open().await;
    let version = db.put("k", "current").await;
    let later = db.put("other", "v").await;
    let conflict = conflicted(db.put_when("k", Condition::Absent, "mine").await);
    assert_eq!(conflict.index, 0, "the only condition's place is 0 (C7)");
    assert_eq!(conflict.key, key("k"), "the conflict names the condition's key (C7)");
    assert_eq!(conflict.version, later, "the conflict carries the version of the view it was judged in (C7)");
    let current = conflict.current.expect("the conflict carries the current record (C7)");
    assert_eq!((text_of(&current).as_str(), current.version), ("current", version));
    assert_eq!(Some(current), db.get("k").await, "the conflict's record is the one that a get sees (C7)");
}

/// C7: a conflict says that there is no record where there is none.
pub(super) async fn c07_a_conflict_says_that_there_is_no_record(cx: &Context) {
    let db = cx.open().await;
    let version = db.put("other", "v").await;
    for condition in
        [Condition::Present, Condition::Version(version), Condition::Value(Bytes::from_static(b"v"))]
    {
        let conflict = conflicted(db.put_when("k", condition.clone(), "mine").await);
        assert_eq!(
            conflict.current, None,
            "{condition:?} on a key without a record: the conflict has none (C7)"
        );
        assert_eq!(conflict.version, version, "the conflict carries the version of its view (C7)");
    }
}

/// C7: a conflict changes nothing: no record, no version.
pub(super) async fn c07_a_conflict_changes_nothing(cx: &Context) {
    let db = cx.open().await;
    db.put("a", "1").await;
    let version = db.put("b", "2").await;
    let before = db.scan(Scan::new(KeyRange::all())).await;
    for _ in 0..3 {
        let batch = Batch::new()
            .put(key("a"), "x")
            .delete(key("b"))
            .put(key("c"), "y")
            .when(key("b"), Condition::Absent);
        conflicted(db.write(batch).await);
        let after = db.scan(Scan::new(KeyRange::all())).await;
        assert_eq!(after.data, before.data, "a conflict changes no record (C7)");
        assert_eq!(after.version, version, "a conflict takes no version (C7)");
    }
}

/// C7: from a conflict alone, without another read, the next attempt can be made.
pub(super) async fn c07_a_conflict_is_enough_to_try_again(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "41").await;
    let stale = db.get("k").await.expect("the record is there");
    db.put("k", "42").await;
    let conflict = conflicted(db.put_when("k", Condition::Version(stale.version), "mine").await);
    let current = conflict.current.expect("the conflict carries the current record (C7)");
    assert_eq!(
        text_of(&current),
        "42",
        "the conflict carries the record of its view, not an older one that the caller has seen (C7)"
    );
    committed(db.put_when("k", Condition::Version(current.version), "43").await);
    assert_eq!(db.text("k").await.as_deref(), Some("43"));
}

/// Keys and values are opaque: every byte comes back as it was stored.
pub(super) async fn c01_keys_and_values_are_opaque(cx: &Context) {
    let db = cx.open().await;
    let longest = vec![b'x'; MAX_KEY_BYTES];
    let names: [&[u8]; 9] =
        [b"\0", b"\0\0", b"\0\x01", b"a\0b", b"a/b", b"\x7f\x80\xc3\x28", b"\xff", b"\xff\xff\0", &longest];
    for (number, name) in names.iter().enumerate() {
        let value: Vec<u8> = (0..=255).cycle().take(number * 100).collect();
        db.put(name, value).await;
    }
    for (number, name) in names.iter().enumerate() {
        let value: Vec<u8> = (0..=255).cycle().take(number * 100).collect();
        let record = db.get(name).await;
        let stored = record.map(|record| record.value);
        assert_eq!(stored.as_deref(), Some(&value[..]), "the value under `{}` came back changed", key(name));
    }
    let there = db.scan(Scan::new(KeyRange::all())).await.data.len();
    assert_eq!(there, names.len(), "a scan of everything delivers what was written, and nothing else (C1)");
}

/// C18: a watch that is not declared is refused.
pub(super) async fn c18_an_undeclared_watch_is_refused(cx: &Context) {
    let db = cx.open().await;
    let version = db.put("k", "v").await;
    for watch in [Watch::new(KeyRange::all()), Watch::new(KeyRange::prefix("k")).after(version)] {
        let error = refused(db.engine().watch(watch).await.map(drop), "an undeclared watch (C18)");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    }
}

/// C18: a restore that is not declared is refused, into an empty engine too.
pub(super) async fn c18_an_undeclared_restore_is_refused(cx: &Context) {
    let db = cx.open().await;
    let view = db.open_scan(Scan::new(KeyRange::all())).await;
    let error = refused(db.engine().restore(view).await, "an undeclared restore (C18)");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
}

/// C18: a session that is not declared is refused.
pub(super) async fn c18_an_undeclared_session_is_refused(cx: &Context) {
    let db = cx.open().await;
    let error =
        refused(db.engine().open_session(SessionOptions::default()).await, "an undeclared session (C18)");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
}

/// C18: a write with a place in a session is refused where sessions are not declared, and not half done.
pub(super) async fn c18_an_undeclared_stamp_is_refused_and_nothing_applied(cx: &Context) {
    let db = cx.open().await;
    let before = db.put("other", "v").await;
    let one = NonZeroU64::MIN;
    let stamp = Session::new(one, one, one, Duration::from_secs(1)).stamp(one, 0);
    let options = WriteOptions::default().stamp(stamp);
    let written = db.engine().write(Batch::new().put(key("k"), "v"), options).await;
    let error = refused(written, "a write with an undeclared session's stamp (C18)");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    assert_eq!(db.get("k").await, None, "a refused write is not applied (C10, C18)");
    assert_eq!(db.version().await, before, "a refused write takes no version (C10, C18)");
}

/// C18: a time to live is refused where expiry is not declared, with the whole batch.
pub(super) async fn c18_an_undeclared_time_to_live_is_refused_and_nothing_applied(cx: &Context) {
    let db = cx.open().await;
    let before = db.put("other", "v").await;
    let expiring = Op::Put { value: Bytes::from_static(b"v"), ttl: Some(Duration::from_secs(3600)) };
    let batch = Batch::new().put(key("k"), "v").op(key("l"), expiring);
    let error =
        refused(db.engine().write(batch, WriteOptions::default()).await, "an undeclared time to live (C18)");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    assert_eq!(
        db.get_many(&["k", "l"]).await.data,
        [None, None],
        "a refused batch is not applied (C10, C18)"
    );
    assert_eq!(db.version().await, before, "a refused write takes no version (C10, C18)");
}
