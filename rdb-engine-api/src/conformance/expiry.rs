//! Records with a time to live.
//!
//! Whether a record was removed too early is judged by the caller's own clock, from before the call that put it
//! to after the first answer without it. How late it was is judged generously: the machine may be busy.

use std::time::Duration;

use tokio::time::Instant;

use super::Context;
use super::db::{Db, committed, conflicted, key, must, record_of, refused, together, unchanged, until};
use crate::{Batch, Condition, EngineExt as _, ErrorKind, KeyRange, MAX_TTL, Record, Scan, WriteOptions};

/// What a busy machine may add to the lag that an engine declares.
const SLACK: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Puts a witness that is due after everything put before with the same time to live, and waits until it is
/// gone: whatever is to be removed with it was due as well.
async fn outlive(db: &Db, ttl: Duration) {
    for round in 0..2 {
        let name = format!("witness {round}");
        db.put_for(&name, "v", ttl).await;
        db.gone(&name).await;
    }
}

/// C15: a record is never removed before its time is over.
pub(super) async fn c15_a_record_is_never_removed_early(cx: &Context) {
    let db = cx.open().await;
    let lives = [1, 2, 3, 5, 10, 20, 50, 100, 150, 200, 300, 500].map(ms);
    together(lives.into_iter().cycle().take(48).enumerate().map(|(number, ttl)| {
        let db = db.clone();
        async move {
            let name = format!("k{number}");
            let begin = Instant::now();
            db.put_for(&name, "v", ttl).await;
            db.gone(&name).await;
            let lived = begin.elapsed();
            assert!(lived >= ttl, "a record is never removed early (C15): after {lived:?} of {ttl:?}");
        }
    }))
    .await;
}

/// C15: a record is removed when its time is over, late by at most the declared lag.
pub(super) async fn c15_a_record_is_removed_in_time(cx: &Context) {
    let db = cx.open().await;
    let lag = db.engine().info().limits.expiry_lag;
    for ttl in [1, 30, 300].map(ms) {
        db.put_for("k", "v", ttl).await;
        let latest = Instant::now() + ttl + lag + SLACK;
        while db.get("k").await.is_some() {
            assert!(Instant::now() < latest, "a record is removed when its time is over (C15): {ttl:?}");
            tokio::time::sleep(ms(2)).await;
        }
    }
}

/// C4, C15: a removal is a commit, with a version of its own.
pub(super) async fn c15_a_removal_is_a_commit(cx: &Context) {
    let db = cx.open().await;
    for round in 0..3 {
        db.put_for("k", "v", ms(100)).await;
        let last = db.put("other", format!("{round}")).await;
        let view = until(async || {
            let view = db.get_many(&["k"]).await;
            view.data[0].is_none().then_some(view)
        })
        .await;
        assert!(
            view.version > last,
            "a removal is a commit, with a version of its own (C4, C15): the view without the record is {}, \
             the last write {last}",
            view.version
        );
    }
}

/// C15: a put without a time to live clears the one that the record had.
pub(super) async fn c15_a_put_without_a_time_to_live_clears_it(cx: &Context) {
    let db = cx.open().await;
    let ttl = ms(200);
    db.put_for("put", "v", ttl).await;
    db.put_for("swapped", "v", ttl).await;
    let put = db.put("put", "for ever").await;
    let swapped = Batch::new().when(key("other"), Condition::Absent).put(key("swapped"), "for ever");
    let swapped = db.commit(swapped).await.version;
    for (name, version) in [("put", put), ("swapped", swapped)] {
        let there = db.get(name).await.map(|record| (record.version, record.expires_at));
        let promised = "a put without a time to live clears it (C15)";
        assert_eq!(there, Some((version, None)), "{promised}");
        outlive(&db, ttl).await;
        let there = db.get(name).await.map(|record| (record.version, record.expires_at));
        assert_eq!(there, Some((version, None)), "{promised}");
    }
}

/// C15: a put with another time to live replaces the one that the record had, be it longer or shorter.
pub(super) async fn c15_a_put_begins_the_life_anew(cx: &Context) {
    let db = cx.open().await;
    let ttl = ms(200);
    db.put_for("longer", "v", ttl).await;
    db.put_for("shorter", "v", HOUR).await;
    let longer = db.put_for("longer", "v", HOUR).await;
    db.put_for("shorter", "v", ttl).await;
    outlive(&db, ttl).await;
    let there = db.get("longer").await.map(|record| record.version);
    assert_eq!(there, Some(longer), "a put begins the record's life anew (C15)");
    db.gone("shorter").await;
}

/// C15: what was to happen to a record that was deleted does not happen to the one made anew.
pub(super) async fn c15_a_record_made_anew_is_not_removed_by_the_old_time(cx: &Context) {
    let db = cx.open().await;
    let ttl = ms(200);
    for name in ["at once", "in one batch", "to live on"] {
        db.put_for(name, "old", ttl).await;
    }
    db.remove("at once").await;
    db.remove("to live on").await;
    let anew = [
        ("at once", db.put("at once", "new").await),
        (
            "in one batch",
            db.commit(Batch::new().delete(key("in one batch")).put(key("in one batch"), "new")).await.version,
        ),
        ("to live on", db.put_for("to live on", "new", HOUR).await),
    ];
    outlive(&db, ttl).await;
    for (name, version) in anew {
        let there = db.get(name).await.map(|record| record.version);
        assert_eq!(there, Some(version), "a record made anew is not removed by the old time (C15): {name}");
    }
}

/// C15: until its removal a record is there for every read and every condition, and after it for none: what
/// they see depends on the view, and on no clock.
pub(super) async fn c15_reads_and_conditions_see_a_record_until_its_removal(cx: &Context) {
    const KEYS: u64 = 60;
    let db = cx.open().await;
    let names: Vec<String> = (0..KEYS).map(|number| format!("k{number:02}")).collect();
    for (number, name) in names.iter().enumerate() {
        db.put_for(name, "v", ms(5 * (1 + number as u64))).await;
    }
    loop {
        let found = db.get_many(&names).await;
        let gone: Vec<&String> = names
            .iter()
            .zip(&found.data)
            .filter(|(_, record)| record.is_none())
            .map(|(name, _)| name)
            .collect();
        let all_gone = gone.iter().fold(Batch::new(), |batch, name| batch.when(key(name), Condition::Absent));
        let answer = db.write(all_gone).await;
        assert!(
            answer.succeeded(),
            "reads and conditions see a record until its removal, and none after it (C15): {answer:?}"
        );
        let scan = db.scan(Scan::new(KeyRange::prefix("k")).keys_only()).await.data;
        let back = scan.iter().find(|entry| gone.iter().any(|name| name.as_bytes() == entry.key.as_bytes()));
        assert_eq!(back, None, "a scan sees no record that was removed before (C15)");
        if gone.len() == names.len() {
            return;
        }
        tokio::time::sleep(ms(1)).await;
    }
}

/// C6, C15: a condition on its version holds of an expiring record as of any other, until it is removed.
pub(super) async fn c15_a_version_condition_holds_until_the_removal(cx: &Context) {
    let db = cx.open().await;
    let first = db.put_for("k", "one", HOUR).await;
    let swap = |version| Batch::new().when(key("k"), Condition::Version(version));
    let second = db.commit(swap(first).put_for(key("k"), "two", HOUR)).await.version;
    let conflict = conflicted(db.write(swap(first).put(key("k"), "three")).await);
    let current = conflict.current.expect("the conflict carries the record that is there (C7)");
    assert_eq!((current.version, current.expires_at.is_some()), (second, true), "with its expiry (C7, C15)");
    let last = db.commit(swap(second).put_for(key("k"), "three", ms(50))).await.version;
    db.gone("k").await;
    let conflict = conflicted(db.write(swap(last).put(key("k"), "four")).await);
    assert_eq!(
        conflict.current, None,
        "a version condition does not hold of a record that was removed (C15)"
    );
    assert!(conflict.version > last, "the view after a removal is a later one (C4, C15)");
}

/// C15: a record says when it expires, and the engine what time it is: what is left is the difference.
pub(super) async fn c15_what_is_left_of_a_life_is_told(cx: &Context) {
    let db = cx.open().await;
    let begin = Instant::now();
    db.put_for("k", "v", HOUR).await;
    for _ in 0..20 {
        let told = must(db.engine().get_with_ttl(&key("k")).await, "a get with what is left");
        let (_, left) = told.expect("the record is there for an hour (C15)");
        let left = left.expect("a record with a time to live has some of it left (C15)");
        let lived = begin.elapsed();
        assert!(left <= HOUR + ms(1), "what is left is not more than was given (C15): {left:?}");
        assert!(
            left + lived + ms(1) >= HOUR,
            "what is left and what has passed are together what was given (C15): {left:?} and {lived:?}"
        );
    }
    db.put("lasting", "v").await;
    let told = must(db.engine().get_with_ttl(&key("lasting")).await, "a get with what is left");
    let left = told.map(|(record, left)| (record.expires_at, left));
    assert_eq!(left, Some((None, None)), "a record without a time to live does not expire (C15)");
    let told = must(db.engine().get_with_ttl(&key("absent")).await, "a get with what is left");
    assert_eq!(told, None);
}

/// C15: the engine's time goes forward, also where a reopen lies between.
pub(super) async fn c15_the_time_never_goes_back(cx: &Context) {
    let mut db = cx.open().await;
    let mut last = must(db.engine().time().await, "the time");
    for round in 0..60 {
        if round % 20 == 19 {
            db = cx.reopen().await;
        }
        let now = must(db.engine().time().await, "the time");
        assert!(now >= last, "the engine's time never goes back (C15): {last:?}, then {now:?}");
        last = now;
        db.put_for("k", "v", HOUR).await;
    }
    let before = must(db.engine().time().await, "the time");
    let begin = Instant::now();
    until(async || (db.engine().time().await.ok()? > before).then_some(())).await;
    assert!(begin.elapsed() < SLACK, "the engine's time goes on (C15)");
}

/// C14, C15: a life of nothing, and one above the longest there is, are refused with the whole batch.
pub(super) async fn c15_a_time_to_live_out_of_bounds_is_refused(cx: &Context) {
    let db = cx.open().await;
    let before = db.put("other", "v").await;
    for ttl in [Duration::ZERO, MAX_TTL + ms(1), Duration::MAX] {
        let batch = Batch::new().put(key("k"), "v").put_for(key("l"), "v", ttl);
        let what = "a time to live of nothing, or above the longest (C15)";
        let error = refused(db.engine().write(batch, WriteOptions::default()).await, what);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {}", error.report());
        assert_eq!(db.get_many(&["k", "l"]).await.data, [None, None], "a refused batch is not applied (C10)");
    }
    assert_eq!(db.version().await, before, "a refused write takes no version (C10)");
    db.put_for("longest", "v", MAX_TTL).await;
    assert!(db.get("longest").await.is_some_and(|record| record.expires_at.is_some()));
}

/// C15: each put of a batch gives a life of its own, and of two on one key the last one counts.
pub(super) async fn c15_a_batch_gives_each_key_its_own_life(cx: &Context) {
    let db = cx.open().await;
    let ttl = ms(100);
    let batch = Batch::new()
        .put_for(key("short"), "v", ttl)
        .put_for(key("long"), "v", HOUR)
        .put(key("lasting"), "v")
        .put_for(key("first short"), "v", ttl)
        .put(key("first short"), "v")
        .put(key("last short"), "v")
        .put_for(key("last short"), "v", ttl)
        .put_for(key("deleted"), "v", ttl)
        .delete(key("deleted"));
    let version = db.commit(batch).await.version;
    db.gone("short").await;
    db.gone("last short").await;
    outlive(&db, ttl).await;
    let there: Vec<_> = db.scan(Scan::new(KeyRange::all())).await.data;
    let there: Vec<_> = there
        .iter()
        .map(|entry| (entry.key.to_string(), record_of(entry)))
        .map(|(name, record)| (name, record.version, record.expires_at.is_some()))
        .collect();
    let expected = [("first short", false), ("lasting", false), ("long", true)];
    let expected = expected.map(|(name, expires)| (name.to_owned(), version, expires));
    assert_eq!(there, expected, "each put of a batch gives a life of its own (C15)");
}

/// C8, C15: a scan shows when its records expire, as a get does, and a removal does not change it.
pub(super) async fn c15_a_scan_shows_when_records_expire(cx: &Context) {
    let db = cx.open().await;
    for number in 0..20 {
        let name = format!("k{number:02}");
        match number % 2 {
            0 => db.put_for(name, "v", HOUR).await,
            _ => db.put(name, "v").await,
        };
    }
    for entry in db.scan(Scan::new(KeyRange::all())).await.data {
        let got = db.get(entry.key.as_bytes()).await;
        assert_eq!(entry.record, got, "a scan shows when a record expires, as a get does (C8, C15)");
    }
    db.put_for("short", "v", ms(300)).await;
    let view = db.open_scan(Scan::new(KeyRange::all())).await;
    let was_there = db.get("short").await.is_some();
    db.gone("short").await;
    let entries = must(super::db::drain(view.data).await, "a scan");
    let shown = entries.iter().any(|entry| entry.key.as_bytes() == b"short");
    assert!(shown || !was_there, "a scan shows its view, whatever is removed meanwhile (C8, C15)");
}

/// C15, C19: a restore keeps when records expire; what is due meanwhile is removed in time.
pub(super) async fn c15_c19_a_restore_keeps_when_records_expire(cx: &Context) {
    let source = cx.open().await;
    source.put_for("long", "v", HOUR).await;
    source.put("lasting", "v").await;
    source.put_for("short", "v", ms(500)).await;
    let before = source.scan(Scan::new(KeyRange::all())).await;
    let view = source.open_scan(Scan::new(KeyRange::all())).await;
    let elsewhere = cx.fresh();
    let target = elsewhere.open().await;
    must(target.engine().restore(view).await, "a restore into an empty engine");
    for entry in before.data.iter().filter(|entry| entry.key.as_bytes() != b"short") {
        let there = target.get(entry.key.as_bytes()).await;
        assert_eq!(there, entry.record, "a restore keeps when records expire (C15, C19)");
    }
    target.gone("short").await;
    elsewhere.stop().await;
}

/// C15: thousands of records are removed in their time, with writers going on, and nothing else is.
pub(super) async fn c15_thousands_of_records_are_removed_in_their_time(cx: &Context) {
    const BATCHES: u64 = 40;
    const KEYS: u64 = 75;
    let db = cx.open().await;
    db.fill("lasting", 500, 10).await;
    let latest = together((0..BATCHES).map(|number| {
        let db = db.clone();
        async move {
            let ttl = ms(100 + (number * 77) % 1_000);
            let batch = (0..KEYS).fold(Batch::new(), |batch, place| {
                batch.put_for(key(format!("k{number:02}/{place:02}")), "v", ttl)
            });
            let begin = Instant::now();
            db.commit(batch).await;
            let latest = Instant::now() + ttl + db.engine().info().limits.expiry_lag + SLACK;
            loop {
                let there = db.scan(Scan::new(KeyRange::prefix(format!("k{number:02}/"))).keys_only()).await;
                let (missing, lived) = (KEYS - there.data.len() as u64, begin.elapsed());
                assert!(
                    missing == 0 || lived >= ttl,
                    "{missing} records were removed early (C15): after {lived:?} of {ttl:?}"
                );
                if there.data.is_empty() {
                    break latest;
                }
                assert!(Instant::now() < latest, "records are removed when their time is over (C15)");
                db.put(format!("writers/{number}"), "go on").await;
                tokio::time::sleep(ms(10)).await;
            }
        }
    }))
    .await;
    assert_eq!(latest.len() as u64, BATCHES);
    let left = db.scan(Scan::new(KeyRange::prefix("lasting")).keys_only()).await.data.len();
    assert_eq!(left, 500, "nothing else is removed (C15)");
}

/// Closes the engine while records are alive, and opens it when their time is over.
async fn open_when_due(cx: &Context) -> (Db, Option<Record>) {
    let db = cx.open().await;
    let ttl = ms(200);
    let long = db.put_for("long", "v", HOUR).await;
    for number in 0..20 {
        db.put_for(format!("k{number:02}"), "v", ttl).await;
    }
    // The engine's time has whole milliseconds, and goes on with the wall clock while nobody keeps it.
    let due = Instant::now() + ttl + ms(50);
    let record = db.get("long").await;
    assert_eq!(record.as_ref().map(|record| record.version), Some(long));
    cx.stop().await;
    tokio::time::sleep_until(due).await;
    (must(cx.open_again().await, "a reopen"), record)
}

/// C15: what became due while the engine was closed is removed before the first answer after a reopen.
pub(super) async fn c15_what_is_due_is_gone_before_the_first_answer_after_a_reopen(cx: &Context) {
    let (db, long) = open_when_due(cx).await;
    let there = db.scan(Scan::new(KeyRange::prefix("k")).keys_only()).await.data;
    assert_eq!(
        there.len(),
        0,
        "what became due while the engine was closed is gone before the first answer (C15)"
    );
    assert_eq!(db.get("long").await, long, "what is not due is as it was (C9, C15)");
}

/// C9, C15: a time to live is as safe as its record, and goes on over reopens and crashes.
pub(super) async fn c15_a_life_goes_on_over_reopens_and_crashes(cx: &Context) {
    let mut db = cx.open().await;
    let best = db.engine().info().best_durability;
    for end in ["a reopen", "a crash"] {
        let ttl = ms(1_500);
        let begin = Instant::now();
        let batch = Batch::new().put_for(key("k"), "v", ttl);
        committed(db.write_as(batch, WriteOptions::default().durability(best)).await);
        let before = db.get("k").await;
        db = if end == "a crash" { cx.crash().await } else { cx.reopen().await };
        let (after, lived) = (db.get("k").await, begin.elapsed());
        // Where the machine was too busy, the record may be gone already, and rightly.
        assert!(
            after == before || after.is_none() && lived + ms(50) >= ttl,
            "a record keeps its life over {end} (C9, C15): {before:?}, then {after:?}"
        );
        let latest = Instant::now() + ttl + db.engine().info().limits.expiry_lag + SLACK;
        while db.get("k").await.is_some() {
            assert!(Instant::now() < latest, "a life goes on over {end} (C15)");
            tokio::time::sleep(ms(2)).await;
        }
        // The wall clock that it went on with may differ a little from the caller's own.
        let lived = begin.elapsed() + ms(50);
        assert!(lived >= ttl, "a record is not removed early over {end} (C15): after {lived:?} of {ttl:?}");
    }
}

/// C5, C9, C15: what was removed stays removed, and its version is not given again.
pub(super) async fn c15_what_was_removed_stays_removed(cx: &Context) {
    let mut db = cx.open().await;
    for end in ["a reopen", "a crash"] {
        for number in 0..10 {
            db.put_for(format!("k{number}"), "v", ms(20)).await;
        }
        for number in 0..10 {
            db.gone(format!("k{number}")).await;
        }
        // As safe as it gets, and with it what came before.
        let best = WriteOptions::default().durability(db.engine().info().best_durability);
        let before = unchanged(db.write_as(Batch::new().when(key("k1"), Condition::Absent), best).await);
        db = if end == "a crash" { cx.crash().await } else { cx.reopen().await };
        let view = db.scan(Scan::new(KeyRange::all()).keys_only()).await;
        assert_eq!(view.data.len(), 0, "what was removed does not come back with {end} (C9, C15)");
        let next = db.put("next", "v").await;
        assert!(next > before.version, "the version of a removal is not given again (C5, C15)");
        db.remove("next").await;
    }
}
