//! Versions over reopens and crashes.

use std::fs;
use std::time::UNIX_EPOCH;

use super::Context;
use super::db::{committed, conflicted, key};
use super::durability::write_at;
use crate::{Batch, Clock as _, Condition, Durability, SystemClock};

/// C5: no version is given again after an orderly end.
pub(super) async fn c05_a_reopen_gives_no_version_twice(cx: &Context) {
    let mut db = cx.open().await;
    let mut last = db.version().await;
    for _ in 0..3 {
        for name in ["a", "b", "a"] {
            let version = db.put(name, "v").await;
            assert!(version > last, "a reopen gives no version twice (C5): {version} after {last}");
            last = version;
        }
        db = cx.reopen().await;
        let view = db.version().await;
        assert!(view >= last, "the view's version never goes back (C5): {view} after {last}");
    }
}

/// C5: the counter does not come from the records that are left: the newest one may be deleted.
pub(super) async fn c05_deleting_the_newest_record_frees_no_version_at_a_reopen(cx: &Context) {
    let db = cx.open().await;
    db.put("old", "v").await;
    let put = db.put("new", "v").await;
    let deleted = committed(db.delete("new").await).version;
    let db = cx.reopen().await;
    let view = db.version().await;
    assert!(
        view >= deleted,
        "the counter is stored, not rebuilt from live records (C5): {view} after {deleted}"
    );
    let again = db.put("new", "v").await;
    assert!(
        again > deleted,
        "the counter is stored, not rebuilt from live records (C5): put {put}, delete {deleted}, reopen, put {again}"
    );
    conflicted(db.put_when("new", Condition::Version(put), "stale").await);
}

/// C5: the same over a crash.
pub(super) async fn c05_deleting_the_newest_record_frees_no_version_at_a_crash(cx: &Context) {
    let db = cx.open().await;
    let best = db.engine().info().best_durability;
    committed(write_at(&db, Batch::new().put(key("old"), "v"), best).await);
    committed(write_at(&db, Batch::new().put(key("new"), "v"), best).await);
    let deleted = committed(write_at(&db, Batch::new().delete(key("new")), best).await).version;
    let db = cx.crash().await;
    let again = db.put("new", "v").await;
    assert!(again > deleted, "no version is given twice, not after a crash (C5): {again} after {deleted}");
}

/// C5: not even the version of a commit that a crash took away is given again.
pub(super) async fn c05_a_version_that_a_crash_took_away_is_not_given_again(cx: &Context) {
    let mut db = cx.open().await;
    let mut last = db.version().await;
    for _ in 0..3 {
        for number in 0..40 {
            let batch = Batch::new().put(key(format!("k{number}")), "v");
            let version = committed(write_at(&db, batch, Durability::Volatile).await).version;
            assert!(
                version > last,
                "no version that anyone has seen is given twice (C5): {version} after {last}"
            );
            last = version;
        }
        db = cx.crash().await;
    }
    let version = db.put("k", "v").await;
    assert!(version > last, "no version that anyone has seen is given twice (C5): {version} after {last}");
}

/// C5: an engine that keeps nothing begins above the wall clock in microseconds, and so above all that
/// it gave before.
pub(super) async fn c05_a_volatile_start_is_above_the_wall_clock(cx: &Context) {
    let mut last = None;
    for _ in 0..3 {
        let started =
            SystemClock::new().wall().duration_since(UNIX_EPOCH).expect("the clock is set").as_micros();
        let db = cx.open().await;
        let version = db.put("k", "v").await;
        assert!(
            u128::from(version.get()) >= started,
            "a volatile start begins above the wall clock in microseconds (C5): {version} < {started}"
        );
        assert!(
            last.is_none_or(|last| version > last),
            "a restart gives no version twice (C5): {version} after {last:?}"
        );
        for _ in 0..20 {
            last = Some(db.put("k", "v").await);
        }
        cx.stop().await;
    }
}

/// C5: not even an engine whose directory was lost and made anew gives a version twice.
pub(super) async fn c05_a_directory_made_anew_repeats_no_version(cx: &Context) {
    let mut last = None;
    for _ in 0..3 {
        let db = cx.open().await;
        assert_eq!(db.get("k").await, None, "the directory was made anew");
        for _ in 0..20 {
            let version = db.put("k", "v").await;
            assert!(
                last.is_none_or(|last| version > last),
                "a directory made anew repeats no version (C5): {version} after {last:?}"
            );
            last = Some(version);
        }
        cx.stop().await;
        fs::remove_dir_all(cx.directory()).expect("the suite can remove the engine's directory");
        fs::create_dir(cx.directory()).expect("the suite can write in its temporary directory");
    }
}

/// C6: conditions on versions hold across a reopen.
pub(super) async fn c06_a_version_seen_before_a_reopen_still_holds(cx: &Context) {
    let db = cx.open().await;
    let kept = db.put("kept", "v").await;
    let changed = db.put("changed", "v").await;
    db.put("changed", "w").await;
    let db = cx.reopen().await;
    committed(db.put_when("kept", Condition::Version(kept), "new").await);
    conflicted(db.put_when("changed", Condition::Version(changed), "new").await);
}
