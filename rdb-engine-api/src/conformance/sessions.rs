//! Exactly-once writes: what becomes of a write that arrives again.

use std::collections::BTreeSet;

use super::Context;
use super::caller::{Caller, nth};
use super::db::{Db, Numbers, committed, conflicted, filler, key, must, refused, together, unchanged};
use crate::{Batch, Condition, Durability, ErrorKind, Outcome, SessionOptions, Version, WriteOptions};

/// C17: a write that arrives again is not applied again, and answers as it did.
pub(super) async fn c17_a_write_that_arrives_again_is_applied_once(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let batch = || Batch::new().put(key("k"), "first").delete(key("gone"));
    let first = committed(caller.write(1, batch()).await).version;
    for _ in 0..3 {
        let again = committed(caller.write(1, batch()).await).version;
        assert_eq!(again, first, "a write that arrives again gets its first outcome (C17)");
        assert_eq!(db.version().await, first, "and is not applied again (C17)");
    }
    let later = db.put("k", "later").await;
    let again = committed(caller.write(1, batch()).await).version;
    assert_eq!(again, first, "a write that arrives again gets its first outcome (C17)");
    let there = db.get("k").await.map(|record| record.version);
    assert_eq!(there, Some(later), "a write that arrives again does not undo a later one (C17)");
    let second = committed(caller.write(2, batch()).await).version;
    assert!(second > later, "the same batch under the next number is another write (C17)");
}

/// C4, C17: that nothing changed is an outcome, too, and is the one of every arrival.
pub(super) async fn c17_a_write_that_changed_nothing_is_not_judged_again(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "v").await;
    let caller = Caller::open(&db).await;
    let delete = || Batch::new().delete(key("absent"));
    let holds = || Batch::new().when(key("k"), Condition::Present);
    let first = [
        unchanged(caller.write(1, delete()).await).version,
        unchanged(caller.write(2, holds()).await).version,
    ];
    db.put("absent", "there now").await;
    db.remove("k").await;
    let again = [
        unchanged(caller.write(1, delete()).await).version,
        unchanged(caller.write(2, holds()).await).version,
    ];
    assert_eq!(again, first, "a write that changed nothing answers as it did (C17)");
    assert!(db.get("absent").await.is_some(), "a write that changed nothing is not judged again (C17)");
}

/// C7, C17: a conflict is not judged again, even where its condition holds by now.
pub(super) async fn c17_a_conflict_is_not_judged_again(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    db.put("lock", "taken").await;
    let batch = || {
        Batch::new()
            .when(key("other"), Condition::Absent)
            .when(key("lock"), Condition::Absent)
            .put(key("lock"), "mine")
    };
    let first = conflicted(caller.write(1, batch()).await);
    let now = db.remove("lock").await;
    let again = match caller.write(1, batch()).await {
        Outcome::Conflict(again) => again,
        other => panic!("a conflict is not judged again (C17), saw {other:?}"),
    };
    assert_eq!(
        (again.index, &again.key, again.version),
        (first.index, &first.key, first.version),
        "a conflict is told again with its place and its version (C17)"
    );
    assert_eq!(db.get("lock").await, None, "and is not applied where its condition holds by now (C17)");
    assert_eq!(db.version().await, now, "and takes no version (C4, C17)");
}

/// C7, C17: a conflict that is told again carries the record that it met as long as that is there, and then
/// says which one it was; never a later one.
pub(super) async fn c17_a_conflict_told_again_carries_what_it_met(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let met = db.put("k", "met").await;
    let insert = || Batch::new().when(key("k"), Condition::Absent).put(key("k"), "mine");
    let first = conflicted(caller.write(1, insert()).await);
    db.put("other", "changes nothing of it").await;
    let again = conflicted(caller.write(1, insert()).await);
    assert_eq!(again, first, "a conflict is told again with the record that is still there (C17)");
    for change in ["replaced", "deleted"] {
        match change {
            "replaced" => drop(db.put("k", "met").await),
            _ => drop(db.remove("k").await),
        }
        let again = conflicted(caller.write(1, insert()).await);
        assert_eq!(
            (again.current, again.replaced, again.version),
            (None, Some(met), first.version),
            "a conflict told again names the record that it met and that is gone since (C17): {change}"
        );
    }
    let swap = || Batch::new().when(key("l"), Condition::Present).put(key("l"), "mine");
    let first = conflicted(caller.write(2, swap()).await);
    assert_eq!((&first.current, first.replaced), (&None, None));
    db.put("l", "there now").await;
    let again = conflicted(caller.write(2, swap()).await);
    assert_eq!(again, first, "a conflict that met no record is told again as one that met none (C17)");
}

/// C17: of many arrivals at once one is executed, and all get its outcome.
pub(super) async fn c17_many_arrivals_at_once_are_one_write(cx: &Context) {
    const ARRIVALS: usize = 32;
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    for round in 1..=8 {
        let batch = move || match round % 2 {
            1 => Batch::new().put(key("k"), format!("{round}")),
            // Holds for the first one that is judged alone.
            _ => Batch::new()
                .when(key(format!("k{round}")), Condition::Absent)
                .put(key(format!("k{round}")), "v"),
        };
        let before = db.version().await;
        let answers = together((0..ARRIVALS).map(|_| {
            let caller = caller.clone();
            async move { caller.write(round, batch()).await }
        }))
        .await;
        let versions: BTreeSet<Version> =
            answers.into_iter().map(|answer| committed(answer).version).collect();
        assert_eq!(
            versions.len(),
            1,
            "many arrivals at once are one write (C17): {versions:?} after {before}"
        );
        assert_eq!(db.version().await, *versions.first().expect("one"), "and one commit (C17)");
    }
}

/// C17: a number that was given to another batch is refused, whatever makes the batch another one.
pub(super) async fn c17_a_number_given_to_another_batch_is_refused(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let base = || Batch::new().when(key("c"), Condition::Absent).put(key("k"), "v");
    let first = committed(caller.write(1, base()).await).version;
    let others = [
        Batch::new(),
        Batch::new().put(key("k"), "v"),
        Batch::new().when(key("c"), Condition::Absent),
        Batch::new().when(key("c"), Condition::Present).put(key("k"), "v"),
        Batch::new().when(key("d"), Condition::Absent).put(key("k"), "v"),
        base().put(key("l"), "v"),
        Batch::new().when(key("c"), Condition::Absent).put(key("k"), "w"),
        Batch::new().when(key("c"), Condition::Absent).put(key("l"), "v"),
        Batch::new().when(key("c"), Condition::Absent).delete(key("k")),
    ];
    for other in others {
        let what = "a number that was given to another batch (C17)";
        let error = caller.refused(caller.stamp(1), other.clone(), what).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {other:?}: {}", error.report());
        assert_eq!(db.version().await, first, "{what} executes nothing: {other:?}");
    }
    assert_eq!(committed(caller.write(1, base()).await).version, first, "the first outcome stays (C17)");
}

/// C15, C17: the time to live is a part of the batch.
pub(super) async fn c15_c17_a_number_given_to_another_life_is_refused(cx: &Context) {
    use std::time::Duration;
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let hours = |number: u64| Batch::new().put_for(key("k"), "v", Duration::from_secs(3600 * number));
    let first = committed(caller.write(1, hours(1)).await).version;
    for other in [hours(2), Batch::new().put(key("k"), "v")] {
        let what = "a number that was given to a batch with another time to live (C17)";
        let error = caller.refused(caller.stamp(1), other, what).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {}", error.report());
    }
    let record = db.get("k").await;
    assert_eq!(committed(caller.write(1, hours(1)).await).version, first);
    assert_eq!(db.get("k").await, record, "a write that arrives again prolongs no life (C15, C17)");
}

/// C17: numbers are a session's own: the same one in another session is another write.
pub(super) async fn c17_the_same_number_in_two_sessions_is_two_writes(cx: &Context) {
    let db = cx.open().await;
    let callers = [Caller::open(&db).await, Caller::open(&db).await];
    assert_ne!(callers[0].session.id, callers[1].session.id, "no two sessions have one id (C17)");
    let mut versions = BTreeSet::new();
    for caller in &callers {
        for number in [1, 2] {
            versions.insert(committed(caller.write(number, Batch::new().put(key("k"), "v")).await).version);
        }
    }
    assert_eq!(versions.len(), 4, "the same number in two sessions is two writes (C17)");
}

/// C17: numbers need not come in order: a later one does not close those before it.
pub(super) async fn c17_numbers_may_come_in_any_order(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let mut numbers: Vec<u64> = (1..=40).collect();
    let mut random = Numbers(17);
    for place in (1..numbers.len()).rev() {
        numbers.swap(place, random.below(place + 1));
    }
    let mut versions = Vec::new();
    for number in &numbers {
        let batch = Batch::new().put(key(format!("k{number}")), "v");
        versions.push(committed(caller.write(*number, batch).await).version);
    }
    for (number, version) in numbers.iter().zip(versions) {
        let batch = Batch::new().put(key(format!("k{number}")), "v");
        let again = committed(caller.write(*number, batch).await).version;
        assert_eq!(again, version, "each of 40 outcomes is remembered in whatever order they came (C17)");
    }
}

/// C9, C17: a write that arrives again and asks for more is answered as that safe.
pub(super) async fn c17_a_level_asked_later_is_reached(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let best = db.engine().info().best_durability;
    for (number, asked) in [Durability::Volatile, best, Durability::Volatile, best].into_iter().enumerate() {
        let options = WriteOptions::default().stamp(caller.stamp(1)).durability(asked);
        let answer = committed(db.write_as(Batch::new().put(key("k"), "v"), options).await);
        let reached = answer.durability;
        assert!(reached >= asked, "arrival {number} is as safe as it asked (C9, C17): {reached} < {asked}");
    }
    if best > Durability::Volatile {
        let db = cx.crash().await;
        assert_eq!(
            db.text("k").await.as_deref(),
            Some("v"),
            "what was answered as {best} survives (C9, C17)"
        );
    }
}

/// C14, C17: a write that was refused before anything happened is not remembered as executed.
pub(super) async fn c17_a_refused_write_executes_nothing(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let before = db.version().await;
    let limits = db.engine().info().limits.clone();
    let too_many = (0..=limits.max_batch_len)
        .fold(Batch::new(), |batch, number| batch.put(key(format!("k{number}")), filler("v", 1)));
    let what = "a batch beyond the limits, in a session too (C14)";
    for _ in 0..2 {
        let error = caller.refused(caller.stamp(1), too_many.clone(), what).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {}", error.report());
    }
    assert_eq!(db.version().await, before, "{what} executes nothing");
    let settled = must(caller.settle(1).await, "asking what became of a write");
    assert_eq!(settled, None, "a refused write was not executed (C17)");
}

/// C17: callers who send each write again at random, now and then to a write that is long past, count exactly.
pub(super) async fn c17_a_counter_with_random_duplicates_is_exact(cx: &Context) {
    const CALLERS: u64 = 8;
    const EACH: u64 = 30;
    let db = cx.open().await;
    db.put("counter", "0").await;
    together((0..CALLERS).map(|number| {
        let db = db.clone();
        async move {
            let caller = Caller::open(&db).await;
            count(&caller, Numbers(number + 1), EACH).await;
        }
    }))
    .await;
    let total = db.text("counter").await;
    let promised = (CALLERS * EACH).to_string();
    assert_eq!(total, Some(promised), "each increment is applied once, however often it arrives (C17)");
}

async fn count(caller: &Caller, mut random: Numbers, increments: u64) {
    let mut sent: Vec<(u64, Batch, Outcome)> = Vec::new();
    let (mut done, mut number) = (0, 0);
    while done < increments {
        let record = caller.db.get("counter").await.expect("the counter is there");
        let next = super::db::text_of(&record).parse::<u64>().expect("the counter is a number") + 1;
        let batch = Batch::new()
            .when(key("counter"), Condition::Version(record.version))
            .put(key("counter"), next.to_string());
        number += 1;
        let copies = 1 + random.below(3);
        let answers = together((0..copies).map(|_| {
            let (caller, batch) = (caller.clone(), batch.clone());
            async move { caller.write(number, batch).await }
        }))
        .await;
        let first = answers[0].clone();
        for answer in &answers {
            check_same(answer, &first);
        }
        done += u64::from(first.succeeded());
        sent.push((number, batch, first));
        if random.below(3) == 0 {
            let (number, batch, first) = &sent[random.below(sent.len())];
            check_same(&caller.write(*number, batch.clone()).await, first);
        }
    }
}

fn check_same(answer: &Outcome, first: &Outcome) {
    let same = (answer.succeeded(), answer.version()) == (first.succeeded(), first.version());
    assert!(same, "every arrival gets the first one's outcome (C17): {first:?}, then {answer:?}");
}

/// C17: a session is as its engine declares, and an idle time beyond the limits is refused.
pub(super) async fn c17_a_session_is_as_declared(cx: &Context) {
    use std::time::Duration;
    let db = cx.open().await;
    let limits = db.engine().info().limits.clone();
    let session = Caller::open(&db).await.session;
    assert_eq!(session.window.get(), limits.session_window as u64, "a session has the declared window (C17)");
    assert_eq!(session.idle, limits.session_idle, "and the declared idle time, where none was asked (C17)");
    let half = limits.session_idle / 2;
    let asked =
        must(db.engine().open_session(SessionOptions::default().idle(half)).await, "opening a session");
    assert_eq!(asked.idle, half, "a session has the idle time that it asked for (C17)");
    for idle in [Duration::ZERO, limits.session_idle + Duration::from_secs(1)] {
        let what = "an idle time of nothing, or above the limit (C17)";
        let error = refused(db.engine().open_session(SessionOptions::default().idle(idle)).await, what);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{what}: {}", error.report());
    }
    let resumed = Caller::resume(&db, &asked).await.expect("a session is open until it ends (C17)");
    assert_eq!(resumed.session, asked, "a session resumed in the same life is as it was (C17)");
}

/// Checks that a write is answered as unknown and never executed.
pub(super) async fn check_unknown(db: &Db, caller: &Caller, stamp: crate::Stamp, what: &str) {
    let before = db.version().await;
    let error = caller.refused(stamp, Batch::new().put(key("never"), "v"), what).await;
    assert_eq!(error.kind(), ErrorKind::Unknown, "{what} is Unknown: {}", error.report());
    assert_eq!(db.get("never").await, None, "{what} is never executed");
    assert_eq!(db.version().await, before, "{what} is never executed");
    let error = refused(db.engine().settle(stamp).await, what);
    assert_eq!(error.kind(), ErrorKind::Unknown, "what became of {what} is Unknown: {}", error.report());
}

/// C17: a write of a session that was never opened is never executed.
pub(super) async fn c17_a_write_of_an_unknown_session_is_never_executed(cx: &Context) {
    let db = cx.open().await;
    let mut caller = Caller::open(&db).await;
    for id in [1, caller.session.id.get() + 1_000_000, u64::MAX] {
        caller.session.id = nth(id);
        check_unknown(&db, &caller, caller.stamp(1), "a write of an unknown session (C17)").await;
        let resumed = Caller::resume(&db, &caller.session).await;
        assert!(resumed.is_none(), "a session that was never opened cannot be resumed (C17)");
    }
}
