//! Writes that wait for their conditions to hold.
//!
//! No answer tells a caller that a write waits. So where a case needs one that does, it gives the write a
//! moment, and is true of the engine as well where the moment was too short.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Context;
use super::db::{Db, committed, conflicted, key, must, refused, together, until};
use crate::{Batch, Condition, EngineExt as _, ErrorKind, Limits, Outcome, Result, Version, WriteOptions};

/// Longer than any case takes that does not fail.
const LONG: Duration = Duration::from_secs(50);
/// How late a busy machine may be.
const SLACK: Duration = Duration::from_secs(10);

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Sends a write that may wait this long.
fn send(db: &Db, batch: Batch, wait: Duration) -> JoinHandle<Result<Outcome>> {
    let db = db.clone();
    tokio::spawn(async move { db.engine().write(batch, WriteOptions::default().wait(wait)).await })
}

async fn answer(write: JoinHandle<Result<Outcome>>) -> Outcome {
    must(write.await.expect("a write does not panic"), "a write that may wait")
}

/// A moment for a write to arrive and wait.
async fn moment() {
    tokio::time::sleep(ms(20)).await;
}

fn take(name: &str, owner: impl ToString) -> Batch {
    Batch::new().when(key(name), Condition::Absent).put(key(name), owner.to_string())
}

/// Answers a write that is to be committed without delay.
async fn in_time(write: JoinHandle<Result<Outcome>>, promise: &str) -> Version {
    let answer = tokio::time::timeout(SLACK, answer(write)).await;
    committed(answer.unwrap_or_else(|_| panic!("{promise}: it still waits"))).version
}

/// C20: a write whose conditions hold does not wait.
pub(super) async fn c20_a_write_whose_conditions_hold_does_not_wait(cx: &Context) {
    let db = cx.open().await;
    let promise = "a write whose conditions hold does not wait (C20)";
    let first = in_time(send(&db, take("k", "me"), LONG), promise).await;
    in_time(send(&db, Batch::new().put(key("other"), "v"), LONG), promise).await;
    in_time(
        send(&db, Batch::new().when(key("k"), Condition::Version(first)).delete(key("k")), LONG),
        promise,
    )
    .await;
}

/// C20: a write waits until its condition holds, whichever condition it is, and is then applied.
pub(super) async fn c20_a_write_is_applied_when_its_condition_holds(cx: &Context) {
    let db = cx.open().await;
    let value = |text: &'static str| Condition::Value(text.into());
    for round in 0..4 {
        let name = format!("k{round}");
        let taken = db.put(&name, "taken").await;
        let wait = |condition| {
            send(&db, Batch::new().when(key(&name), condition).put(key(format!("{name}/done")), "v"), LONG)
        };
        let (absent, equal) = (wait(Condition::Absent), wait(value("that")));
        let swapped = send(&db, Batch::new().when(key(&name), value("this")).put(key(&name), "that"), LONG);
        moment().await;
        for text in ["neither", "thi", "this "] {
            db.put(&name, text).await;
        }
        let this = db.put(&name, "this").await;
        let promise = "a write is applied when its condition holds (C20)";
        let that = in_time(swapped, promise).await;
        assert!(this > taken && that > this, "a write that waited is applied when its condition holds (C20)");
        assert!(in_time(equal, promise).await > that, "a commit of a write that waited wakes others (C20)");
        let deleted = db.remove(&name).await;
        assert!(in_time(absent, promise).await > deleted, "a delete wakes those who wait for it (C20)");
        let present = wait(Condition::Present);
        moment().await;
        let there = db.put(&name, "there").await;
        assert!(in_time(present, promise).await > there, "a put wakes those who wait for it (C20)");
    }
}

/// C15, C20: the removal of a record whose time is over wakes the writes that wait for it: a lock whose owner
/// went away.
pub(super) async fn c15_c20_a_removal_wakes_those_who_wait_for_it(cx: &Context) {
    let db = cx.open().await;
    for ttl in [ms(50), ms(300)] {
        let begin = Instant::now();
        db.put_for("lock", "gone away", ttl).await;
        let write = send(&db, take("lock", "next"), LONG);
        in_time(write, "a removal wakes those who wait for it (C15, C20)").await;
        let waited = begin.elapsed();
        assert!(waited >= ttl, "nobody takes a lock before its time is over (C15): {waited:?} of {ttl:?}");
        assert_eq!(db.text("lock").await.as_deref(), Some("next"));
        db.remove("lock").await;
    }
}

/// C7, C20: when the time is over, the answer is the conflict, not earlier and without delay; and what was
/// answered as a conflict is never applied.
pub(super) async fn c20_when_the_time_is_over_the_answer_is_the_conflict(cx: &Context) {
    let db = cx.open().await;
    let taken = db.put("lock", "taken").await;
    for wait in [Duration::ZERO, ms(1), ms(50), ms(400)] {
        let begin = Instant::now();
        let write = send(&db, take("lock", "mine"), wait);
        let answered = tokio::time::timeout(wait + SLACK, answer(write)).await;
        let outcome = answered.unwrap_or_else(|_| {
            panic!("when the time is over, the answer is the conflict, without delay (C20): {wait:?}")
        });
        let waited = begin.elapsed();
        assert!(
            waited >= wait,
            "nobody is turned away before the time is over (C20): {waited:?} of {wait:?}"
        );
        let conflict = conflicted(outcome);
        let current = conflict.current.map(|record| record.version);
        assert_eq!(
            (conflict.index, &conflict.key, current),
            (0, &key("lock"), Some(taken)),
            "the conflict carries what is there (C7, C20)"
        );
    }
    let freed = db.remove("lock").await;
    for _ in 0..20 {
        moment().await;
        let view = db.get_many(&["lock"]).await;
        assert_eq!(
            (view.version, &view.data[0]),
            (freed, &None),
            "what was answered as a conflict is never applied (C10, C20)"
        );
    }
}

/// C20: a condition that can never hold again is not waited for: a version that was replaced, or was there when
/// the record was deleted, never comes back (C5).
pub(super) async fn c20_what_can_never_hold_again_is_answered_at_once(cx: &Context) {
    let db = cx.open().await;
    let old = db.put("k", "old").await;
    let new = db.put("k", "new").await;
    let promise = "a condition that can never hold again is not waited for (C5, C20)";
    let swap = |version| Batch::new().when(key("k"), Condition::Version(version)).put(key("k"), "mine");
    let at_once = async |batch| {
        let answered = tokio::time::timeout(SLACK, answer(send(&db, batch, LONG))).await;
        conflicted(answered.unwrap_or_else(|_| panic!("{promise}: it waits")))
    };
    let conflict = at_once(swap(old)).await;
    assert_eq!(conflict.current.map(|record| record.version), Some(new), "{promise}");
    db.remove("k").await;
    assert_eq!(at_once(swap(new)).await.current, None, "{promise}");
    // Not what it waits for, but what comes behind that, is over meanwhile.
    let there = db.put("k", "there").await;
    let both = Batch::new().when(key("first"), Condition::Present).when(key("k"), Condition::Version(there));
    let write = send(&db, both.put(key("k"), "mine"), LONG);
    moment().await;
    db.put("k", "replaced").await;
    db.put("first", "there").await;
    let answered = tokio::time::timeout(SLACK, answer(write)).await;
    let conflict = conflicted(answered.unwrap_or_else(|_| panic!("{promise}: it waits")));
    assert_eq!(
        (conflict.index, conflict.key),
        (1, key("k")),
        "the conflict is the one that ended it (C3, C20)"
    );
}

/// C3, C20: a write with several conditions waits until all of them hold at once.
pub(super) async fn c20_all_conditions_hold_at_once(cx: &Context) {
    let db = cx.open().await;
    for round in 0..3 {
        let names = ["a", "b", "c"].map(|name| format!("{round}/{name}"));
        for name in &names {
            db.put(name, "taken").await;
        }
        let all = names.iter().fold(Batch::new(), |batch, name| batch.when(key(name), Condition::Absent));
        let all = names.iter().fold(all, |batch, name| batch.put(key(name), "mine"));
        let write = send(&db, all, LONG);
        moment().await;
        // Never two of them free at once, and in another order than that of the conditions.
        for name in names.iter().rev().chain(&names) {
            db.remove(name).await;
            moment().await;
            db.put(name, "taken again").await;
        }
        db.remove(&names[2]).await;
        db.remove(&names[0]).await;
        moment().await;
        let b = db.get(&names[1]).await.map(|record| record.value);
        assert_eq!(b.as_deref(), Some(&b"taken again"[..]), "no condition is passed over (C3, C20)");
        let last = db.remove(&names[1]).await;
        let promise = "a write waits until all its conditions hold at once (C3, C20)";
        assert!(in_time(write, promise).await > last, "{promise}");
        let mine = db.get_many(&names).await.data;
        let mine = mine.iter().flatten().filter(|record| record.value == "mine").count();
        assert_eq!(mine, 3, "and is then applied whole (C2, C20)");
    }
}

/// The order in which writes that came one after the other were applied, with this pause between them.
async fn order_of(db: &Db, name: &str, pause: Duration) -> Vec<usize> {
    const WAITERS: usize = 8;
    db.put(name, "taken").await;
    let mut writes = Vec::new();
    for number in 0..WAITERS {
        writes.push(send(db, take(name, number), LONG));
        tokio::time::sleep(pause).await;
    }
    let mut order = Vec::new();
    db.remove(name).await;
    for _ in 0..WAITERS {
        let owner = until(async || db.text(name).await).await;
        order.push(owner.parse().expect("owners are numbers"));
        db.remove(name).await;
    }
    for write in writes {
        in_time(write, "each write that waits has its turn (C20)").await;
    }
    order
}

/// C20: writes that wait for one key have their turns in the order in which they came.
pub(super) async fn c20_first_come_first_served(cx: &Context) {
    let db = cx.open().await;
    let mut seen = Vec::new();
    // Between sender and engine a busy machine may change the order of what is sent too soon one after another.
    for (round, pause) in [5, 20, 80, 300, 600].map(ms).into_iter().enumerate() {
        let order = order_of(&db, &format!("lock {round}"), pause).await;
        if order.is_sorted() {
            return;
        }
        seen.push(order);
    }
    panic!("writes that wait for one key have their turns in the order in which they came (C20): {seen:?}");
}

/// C20: a write that waits has its turn right after the commit that it waited for, before anything that comes
/// later is judged.
pub(super) async fn c20_whoever_waits_comes_before_whoever_comes_later(cx: &Context) {
    let db = cx.open().await;
    // A busy machine may bring the write that is to wait later than the others.
    for pause in [5, 20, 80, 300, 1_000].map(ms) {
        let mut first = 0;
        for _ in 0..10 {
            db.put("lock", "taken").await;
            let write = send(&db, take("lock", "waited"), LONG);
            tokio::time::sleep(pause).await;
            db.remove("lock").await;
            let later = db.write(take("lock", "came later")).await;
            first += u32::from(!later.succeeded());
            if later.succeeded() {
                db.remove("lock").await;
            }
            in_time(write, "each write that waits has its turn (C20)").await;
        }
        if first == 10 {
            return;
        }
    }
    panic!("whoever waits has its turn before anything that comes later is judged (C20)");
}

/// C1, C20: a lock that many callers wait for has one owner at a time, and everybody gets it.
pub(super) async fn c20_a_lock_has_one_owner_at_a_time(cx: &Context) {
    const CALLERS: usize = 16;
    const ROUNDS: usize = 4;
    let db = cx.open().await;
    let taken = together((0..CALLERS).map(|caller| {
        let db = db.clone();
        async move {
            for round in 0..ROUNDS {
                let owner = format!("{caller}/{round}");
                let lock = take("lock", &owner).put(key("inside"), owner.clone());
                let mine = in_time(send(&db, lock, LONG), "everybody who waits gets the lock (C20)").await;
                tokio::task::yield_now().await;
                let inside = db.text("inside").await;
                assert_eq!(inside.as_ref(), Some(&owner), "a lock has one owner at a time (C1, C20)");
                let free = Batch::new().when(key("lock"), Condition::Version(mine)).delete(key("lock"));
                committed(db.write(free).await);
            }
            ROUNDS
        }
    }))
    .await;
    assert_eq!(taken.iter().sum::<usize>(), CALLERS * ROUNDS);
}

/// C20: a write that waited wakes those who wait for what it did, however long the chain.
pub(super) async fn c20_a_write_that_waited_wakes_the_next(cx: &Context) {
    let db = cx.open().await;
    let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    let writes: Vec<_> = names
        .windows(2)
        .rev()
        .map(|pair| {
            send(&db, Batch::new().when(key(&pair[0]), Condition::Present).put(key(&pair[1]), "v"), LONG)
        })
        .collect();
    moment().await;
    let mut last = db.put(&names[0], "begin").await;
    for write in writes.into_iter().rev() {
        let version = in_time(write, "a write that waited wakes the next (C20)").await;
        assert!(version > last, "each is a commit of its own, after the one that woke it (C4, C20)");
        last = version;
    }
}

/// C20: reads and writes go on while others wait, for the same key too.
pub(super) async fn c20_nobody_is_held_up_by_those_who_wait(cx: &Context) {
    let db = cx.open().await;
    db.put("lock", "taken").await;
    let writes: Vec<_> = (0..64).map(|number| send(&db, take("lock", number), LONG)).collect();
    moment().await;
    let others = async {
        for number in 0..50 {
            let last = db.put("lock", format!("again {number}")).await;
            db.put("other", "v").await;
            assert_eq!(db.get("lock").await.map(|record| record.version), Some(last));
            drop(conflicted(db.put_when("lock", Condition::Absent, "at once").await));
        }
        // Each is let in, so that none is left behind.
        for _ in 0..writes.len() {
            db.remove("lock").await;
            until(async || db.get("lock").await).await;
        }
    };
    let done = tokio::time::timeout(2 * SLACK, others).await;
    assert!(done.is_ok(), "nobody is held up by those who wait (C20)");
    for write in writes {
        in_time(write, "each write that waits has its turn (C20)").await;
    }
}

/// C12, C20: close answers those who wait; what it answers as not applied is not there afterwards.
pub(super) async fn c12_c20_close_answers_those_who_wait(cx: &Context) {
    let db = cx.open().await;
    db.put("lock", "taken").await;
    let write =
        |number| Batch::new().when(key("lock"), Condition::Absent).put(key(format!("k{number}")), "v");
    let writes: Vec<_> = (0..8).map(|number| send(&db, write(number), LONG)).collect();
    moment().await;
    must(db.engine().close().await, "close");
    let mut unknown = 0;
    for write in writes {
        let answered = tokio::time::timeout(SLACK, write).await;
        let answered = answered.unwrap_or_else(|_| panic!("close answers those who wait (C12, C20)"));
        match answered.expect("a write does not panic") {
            Ok(outcome) => drop(conflicted(outcome)),
            Err(error) if error.may_have_been_applied() => unknown += 1,
            Err(error) => {
                let honest = matches!(error.kind(), ErrorKind::Closed | ErrorKind::Unavailable);
                assert!(honest, "close answers those who wait with Closed (C12): {}", error.report());
            }
        }
    }
    let db = cx.reopen().await;
    let there = db.dump().await.into_iter().filter(|(name, _)| name != "lock").count();
    assert!(there <= unknown, "what close answered as not applied is not there (C10, C12, C20): {there}");
}

/// C14, C20: one write too many that would wait answers `Exhausted` and did nothing; whoever has had its turn,
/// or gave up, frees a place.
pub(super) async fn c20_a_wait_too_many_is_refused_until_one_is_over(cx: &Context) {
    let db = cx.open_with(Limits { max_blocked_writes: 4, ..Limits::default() }).await;
    let most = db.engine().info().limits.max_blocked_writes;
    assert_eq!(most, 4, "the harness opens with the limits it is given, or skips this case");
    db.put("lock", "taken").await;
    let wait = |name: &str| Batch::new().when(key("lock"), Condition::Absent).put(key(name), "v");
    let writes: Vec<_> = (0..=most).map(|number| send(&db, wait(&format!("k{number}")), LONG)).collect();
    // One of them has no place, whichever it is.
    let what = "one more write that would wait (C14, C20)";
    let one = until(async || writes.iter().position(JoinHandle::is_finished));
    let refused_one = tokio::time::timeout(SLACK, one).await.unwrap_or_else(|_| panic!("{what} is refused"));
    let mut writes: Vec<_> = writes.into_iter().enumerate().collect();
    let (number, write) = writes.remove(refused_one);
    let error = refused(write.await.expect("a write does not panic"), what);
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{what}: {}", error.report());
    // Whoever need not wait needs no place.
    let at_once =
        must(db.engine().wait_and_swap(&key("free"), Condition::Absent, "v", LONG).await, "a write");
    committed(at_once);
    // One gives up, and another one takes its place.
    writes.pop().expect("there are four").1.abort();
    let next = until(async || {
        let next = send(&db, wait("next"), LONG);
        moment().await;
        (!next.is_finished()).then_some(next)
    })
    .await;
    db.remove("lock").await;
    in_time(next, "each write that waits has its turn (C20)").await;
    for (_, write) in writes {
        in_time(write, "each write that waits has its turn (C20)").await;
    }
    let there = db.get(format!("k{number}")).await;
    assert_eq!(there, None, "a write answered as Exhausted is not applied (C10, C14)");
}

/// C18: a write that is to wait is refused where that is not declared, also where it need not wait.
pub(super) async fn c18_an_undeclared_wait_is_refused_and_nothing_applied(cx: &Context) {
    let db = cx.open().await;
    let before = db.put("k", "v").await;
    for name in ["k", "l"] {
        let options = WriteOptions::default().wait(ms(10));
        let error = refused(db.engine().write(take(name, "me"), options).await, "an undeclared wait (C18)");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    }
    assert_eq!(db.version().await, before, "a refused write takes no version (C10, C18)");
}
