//! Exactly-once writes: settling, windows, and how sessions and lives of an engine end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Context;
use super::caller::{Caller, nth};
use super::db::{committed, conflicted, key, must, refused, until};
use super::sessions::check_unknown;
use crate::{Batch, Condition, ErrorKind, Limits, Outcome, SessionOptions, WriteOptions};

fn put(name: &str) -> Batch {
    Batch::new().put(key(name), "v")
}

/// C17: asking what became of a write gets its first outcome.
pub(super) async fn c17_settling_tells_the_first_outcome(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    db.put("k", "v").await;
    let conflict = || Batch::new().when(key("k"), Condition::Absent).put(key("k"), "w");
    let answers = [
        caller.write(1, put("new")).await,
        caller.write(2, conflict()).await,
        caller.write(3, Batch::new().delete(key("absent"))).await,
    ];
    for _ in 0..2 {
        for (number, first) in (1..).zip(&answers) {
            let settled = must(caller.settle(number).await, "asking what became of a write");
            let settled = settled.expect("what was executed is told (C17)");
            assert_eq!(
                (settled.succeeded(), settled.version()),
                (first.succeeded(), first.version()),
                "settling tells the first outcome (C17)"
            );
        }
    }
}

/// C17: a write that is settled as not executed never is: it is refused whenever it arrives.
pub(super) async fn c17_what_is_settled_as_not_executed_never_is(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    let before = db.version().await;
    for number in [1, 7] {
        let what = "a write that was settled as not executed (C17)";
        for _ in 0..2 {
            let settled = must(caller.settle(number).await, "asking what became of a write");
            assert_eq!(settled, None, "what was not executed is said not to be (C17)");
            let error = caller.refused(caller.stamp(number), put("never"), what).await;
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {}", error.report());
            assert_eq!(db.version().await, before, "{what} is never executed");
        }
    }
    committed(caller.write(2, put("k")).await);
}

/// C17: settling and the write itself at the same time: one of them is first, and both agree on it.
pub(super) async fn c17_settling_among_arrivals_agrees_with_them(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    for round in 1..=60 {
        let name = format!("k{round}");
        let write = |delay: u64| {
            let (caller, batch) = (caller.clone(), put(&name));
            tokio::spawn(async move {
                for _ in 0..delay {
                    tokio::task::yield_now().await;
                }
                caller.send(round, batch).await
            })
        };
        let writes = [write(round % 3), write(round % 5)];
        for _ in 0..round % 4 {
            tokio::task::yield_now().await;
        }
        let settled = must(caller.settle(round).await, "asking what became of a write");
        for write in writes {
            let answer = write.await.expect("a write does not panic");
            let agree = match (&settled, &answer) {
                (Some(outcome), Ok(answer)) => outcome.version() == answer.version(),
                (None, Err(error)) => error.kind() == ErrorKind::Unavailable,
                _ => false,
            };
            assert!(
                agree,
                "settling and the write agree on what became of it (C17): {settled:?}, {answer:?}"
            );
        }
        let there = db.get(&name).await.map(|record| record.version);
        let promised = settled.map(|outcome| outcome.version());
        assert_eq!(there, promised, "what is there is what was told (C17)");
    }
}

/// C17: a number beyond the window, or acknowledged, is never executed; each acknowledgement moves the window.
pub(super) async fn c17_a_number_outside_the_window_is_never_executed(cx: &Context) {
    let db = cx.open_with(Limits { session_window: 16, ..Limits::default() }).await;
    let caller = Caller::open(&db).await;
    let window = caller.session.window.get();
    let stamp = |number, acknowledged| caller.session.stamp(nth(number), acknowledged);
    check_unknown(&db, &caller, stamp(window + 1, 0), "a number beyond the window (C17)").await;
    committed(caller.write(window, put("last")).await);
    committed(caller.write(1, put("first")).await);
    check_unknown(&db, &caller, stamp(1, 1), "a number that was acknowledged (C17)").await;
    check_unknown(&db, &caller, stamp(1, 0), "a number that was acknowledged (C17)").await;
    let next =
        must(caller.send_as(stamp(window + 1, 1), put("next")).await, "a number within the moved window");
    committed(next);
    check_unknown(&db, &caller, stamp(window + 2, 0), "a number beyond the moved window (C17)").await;
    check_unknown(&db, &caller, stamp(u64::MAX, 1), "the last number of all (C17)").await;
    // What is not acknowledged is still remembered.
    let again = committed(caller.write(window, put("last")).await).version;
    assert_eq!(Some(again), db.get("last").await.map(|record| record.version));
}

/// C14, C17: whoever acknowledges can go on for ever, and is remembered what is not acknowledged.
pub(super) async fn c17_acknowledging_frees_what_is_remembered(cx: &Context) {
    let db = cx.open_with(Limits { session_window: 8, ..Limits::default() }).await;
    let caller = Caller::open(&db).await;
    let window = caller.session.window.get();
    let mut versions = Vec::new();
    for number in 1..=20 * window {
        let acknowledged = number.saturating_sub(window);
        let stamp = caller.session.stamp(nth(number), acknowledged);
        versions.push(
            committed(must(caller.send_as(stamp, put("k")).await, "a write within the window")).version,
        );
        let oldest = acknowledged + 1;
        let again = caller.session.stamp(nth(oldest), acknowledged);
        let again =
            committed(must(caller.send_as(again, put("k")).await, "the oldest write that is remembered"));
        assert_eq!(
            again.version,
            versions[oldest as usize - 1],
            "what is not acknowledged is remembered (C17)"
        );
    }
    let there = db.get("k").await.map(|record| record.version);
    assert_eq!(there, versions.last().copied(), "each was applied once (C17)");
}

/// C17: a write of a session that has ended is never executed.
pub(super) async fn c17_a_write_of_an_ended_session_is_never_executed(cx: &Context) {
    let db = cx.open().await;
    let (caller, other) = (Caller::open(&db).await, Caller::open(&db).await);
    committed(caller.write(1, put("k")).await);
    let id = caller.session.id;
    must(db.engine().end_session(id).await, "ending a session");
    for number in [1, 2] {
        let what = "a write of an ended session (C17)";
        check_unknown(&db, &caller, caller.stamp(number), what).await;
    }
    let resumed = Caller::resume(&db, &caller.session).await;
    assert!(resumed.is_none(), "an ended session cannot be resumed (C17)");
    must(db.engine().end_session(id).await, "ending a session that has ended");
    must(db.engine().end_session(nth(u64::MAX)).await, "ending a session that never was");
    committed(other.write(1, put("other")).await);
}

/// C17: a session that is idle for too long is ended, and one that is used is not.
pub(super) async fn c17_an_idle_session_is_ended(cx: &Context) {
    let db = cx.open().await;
    let idle = Duration::from_millis(20);
    let session =
        must(db.engine().open_session(SessionOptions::default().idle(idle)).await, "opening a session");
    let other = Caller::open(&db).await;
    // Asking begins the idle time anew: so ever more seldom.
    let mut pause = idle;
    let caller = loop {
        tokio::time::sleep(pause).await;
        match Caller::resume(&db, &session).await {
            Some(_) => pause *= 2,
            None => break Caller { db: db.clone(), session },
        }
        assert!(pause < Duration::from_secs(20), "a session that is idle for too long is ended (C17)");
    };
    check_unknown(&db, &caller, caller.stamp(1), "a write of a session that was idle for too long (C17)")
        .await;
    committed(other.write(1, put("other")).await);
}

/// C14, C17: one session too many answers `Exhausted`, and none that lives is ended for it; one that is ended
/// frees its place.
pub(super) async fn c17_a_session_too_many_is_refused_until_one_is_ended(cx: &Context) {
    let db = cx.open_with(Limits { max_sessions: 8, ..Limits::default() }).await;
    let most = db.engine().info().limits.max_sessions;
    assert_eq!(most, 8, "the harness opens with the limits it is given, or skips this case");
    let mut callers = Vec::new();
    let error = loop {
        match db.engine().open_session(SessionOptions::default()).await {
            Ok(session) => callers.push(Caller { db: db.clone(), session }),
            Err(error) => break error,
        }
        assert!(callers.len() <= most, "one session more than the limit is refused (C14, C17)");
    };
    assert_eq!(error.kind(), ErrorKind::Exhausted, "a full place for sessions (C14): {}", error.report());
    // A client may have one for itself.
    assert!(callers.len() + 1 >= most, "as many sessions as declared can be open (C14): {}", callers.len());
    for (number, caller) in callers.iter().enumerate() {
        let version = committed(caller.write(1, put(&format!("k{number}"))).await).version;
        let again = committed(caller.write(1, put(&format!("k{number}"))).await).version;
        assert_eq!(again, version, "no session that lives is ended for another (C17)");
    }
    let last = callers.pop().expect("there were some").session.id;
    must(db.engine().end_session(last).await, "ending a session");
    until(async || db.engine().open_session(SessionOptions::default()).await.ok()).await;
}

/// C5, C17: no session gets an id that another one had, and no life is lived twice, over reopens and crashes.
pub(super) async fn c17_no_id_and_no_life_is_given_twice(cx: &Context) {
    let mut db = cx.open().await;
    let (mut ids, mut lives) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..5 {
        let mut life = BTreeSet::new();
        for _ in 0..4 {
            let session = Caller::open(&db).await.session;
            assert!(ids.insert(session.id), "no session has an id that another one had (C17)");
            life.insert(session.life);
            if round % 2 == 0 {
                must(db.engine().end_session(session.id).await, "ending a session");
            }
        }
        assert_eq!(life.len(), 1, "one opening of an engine is one life (C17): {life:?}");
        assert!(lives.insert(life.pop_first()), "each opening begins another life (C17)");
        db = if round % 2 == 0 { cx.reopen().await } else { cx.crash().await };
    }
}

/// C17: an arrival that was meant for another life of the engine does nothing, not even where its session goes
/// on, and its sender is told to ask again.
pub(super) async fn c17_an_arrival_meant_for_another_life_does_nothing(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    committed(caller.write(1, put("before")).await);
    db.put("k", "v").await;
    let conflict = || Batch::new().when(key("k"), Condition::Absent).put(key("k"), "w");
    drop(conflicted(caller.write(2, conflict()).await));
    let mut other = caller.clone();
    other.session.life = nth(u64::MAX);
    let what = "an arrival that was meant for another life (C17)";
    let error = other.refused(other.stamp(3), put("never"), what).await;
    assert_eq!(error.kind(), ErrorKind::Stale, "{what}: {}", error.report());

    let db = cx.reopen().await;
    drop(db.delete("k").await);
    let before = db.version().await;
    let late = Caller { db: db.clone(), session: caller.session };
    for (number, batch) in [(1, put("before")), (2, conflict()), (3, put("never"))] {
        let error = late.refused(late.stamp(number), batch, what).await;
        assert_eq!(error.kind(), ErrorKind::Stale, "{what}: {}", error.report());
        assert_eq!(db.version().await, before, "{what} does nothing");
    }
    let error = refused(late.settle(3).await, what);
    assert_eq!(error.kind(), ErrorKind::Stale, "{what}: {}", error.report());
    if let Some(resumed) = Caller::resume(&db, &caller.session).await {
        assert_ne!(resumed.session.life, caller.session.life, "each opening begins another life (C17)");
        committed(resumed.write(4, put("after")).await);
    }
}

/// C9, C17: sessions and the outcomes of commits are as safe as the commits: after a reopen and after a crash a
/// write that was committed answers as it did, and is not applied again.
pub(super) async fn c17_a_committed_write_is_remembered_over_reopens_and_crashes(cx: &Context) {
    let mut db = cx.open().await;
    let mut caller = Caller::open(&db).await;
    let best = WriteOptions::default().durability(db.engine().info().best_durability);
    let mut versions = Vec::new();
    for end in ["a reopen", "a crash", "another reopen"] {
        let next = versions.len() as u64 + 1;
        let mut overwritten = None;
        for number in next..next + 5 {
            if number == next + 4 {
                overwritten = Some(db.write_as(put("k1"), best.clone()).await.version());
            }
            let options = best.clone().stamp(caller.stamp(number));
            versions.push(committed(db.write_as(put(&format!("k{number}")), options).await).version);
        }
        db = if end == "a crash" { cx.crash().await } else { cx.reopen().await };
        let resumed = Caller::resume(&db, &caller.session).await;
        caller = resumed.unwrap_or_else(|| panic!("a session is still there after {end} (C17)"));
        for (number, version) in (1..).zip(&versions) {
            let settled = must(caller.settle(number).await, "asking what became of a write");
            let settled = settled.map(|outcome| outcome.version());
            assert_eq!(settled, Some(*version), "a committed write is remembered over {end} (C17)");
            let again = caller.write(number, put(&format!("k{number}"))).await.version();
            assert_eq!(again, *version, "a committed write is remembered over {end} (C17)");
        }
        let there = db.get("k1").await.map(|record| record.version);
        assert_eq!(there, overwritten, "and is not applied again (C17)");
    }
    let error = caller.refused(caller.stamp(1), put("other"), "a number given to another batch (C17)").await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "over reopens too (C17): {}", error.report());
}

/// C17: a session that was ended stays ended, and what was acknowledged stays forgotten, over a reopen and a
/// crash.
pub(super) async fn c17_an_ended_session_stays_ended_over_reopens_and_crashes(cx: &Context) {
    let mut db = cx.open().await;
    let (ended, kept) = (Caller::open(&db).await, Caller::open(&db).await);
    committed(ended.write(1, put("k")).await);
    must(db.engine().end_session(ended.session.id).await, "ending a session");
    for end in ["a reopen", "a crash"] {
        db = if end == "a crash" { cx.crash().await } else { cx.reopen().await };
        let resumed = Caller::resume(&db, &ended.session).await;
        assert!(resumed.is_none(), "an ended session stays ended over {end} (C17)");
        let life =
            Caller::resume(&db, &kept.session).await.expect("the other session goes on (C17)").session.life;
        let mut again = Caller { db: db.clone(), session: ended.session };
        again.session.life = life;
        check_unknown(&db, &again, again.stamp(2), "a write of an ended session (C17)").await;
    }
}

/// C17, C20: a write that waits is one write as well: every arrival gets its one outcome, and settling agrees.
pub(super) async fn c17_c20_arrivals_of_a_waiting_write_are_one_write(cx: &Context) {
    let db = cx.open().await;
    let caller = Caller::open(&db).await;
    for round in 1..=12 {
        let name = format!("lock {round}");
        db.put(&name, "taken").await;
        let batch = Batch::new().when(key(&name), Condition::Absent).put(key(&name), "mine");
        let arrivals: Vec<_> = (0..6)
            .map(|_| {
                let (db, batch) = (db.clone(), batch.clone());
                let options =
                    WriteOptions::default().stamp(caller.stamp(round)).wait(Duration::from_secs(40));
                tokio::spawn(async move { db.engine().write(batch, options).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(round % 4)).await;
        let settled = match round % 3 {
            0 => Some(must(caller.settle(round).await, "asking what became of a write")),
            _ => None,
        };
        let freed = db.remove(&name).await;
        let mut versions = BTreeSet::new();
        for arrival in arrivals {
            match (arrival.await.expect("a write does not panic"), &settled) {
                (Ok(Outcome::Committed(commit)), None | Some(Some(_))) => versions.extend([commit.version]),
                (Err(error), Some(None)) if error.kind() == ErrorKind::Unavailable => {}
                (answer, _) => panic!(
                    "every arrival of a waiting write gets its one outcome, on which settling agrees \
                     (C17, C20): {answer:?}, {settled:?}"
                ),
            }
        }
        let there = db.get(&name).await.map(|record| record.version);
        assert_eq!(
            versions.into_iter().collect::<Vec<_>>(),
            there.into_iter().collect::<Vec<_>>(),
            "arrivals of a waiting write are one write (C17, C20), after {freed}"
        );
    }
}
