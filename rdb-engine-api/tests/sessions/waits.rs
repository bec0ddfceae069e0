//! Writes that wait for their conditions to hold (C20).

use std::time::Duration;

use futures::stream;
use rdb_engine_api::{
    Batch, Condition, Engine as _, EngineExt as _, ErrorKind, Limits, Outcome, Result, Version, View,
    WriteOptions,
};
use tokio::task::JoinHandle;

use crate::bench::{Bench, committed, key, number};
use crate::shelf::Failing;

const LONG: Duration = Duration::from_secs(60);

fn waiting() -> WriteOptions {
    WriteOptions::default().wait(LONG)
}

/// Takes the lock for `holder`.
fn lock(holder: &str) -> Batch {
    Batch::new().when(key("lock"), Condition::Absent).put(key("lock"), holder.to_owned())
}

fn unlock(holder: &str) -> Batch {
    Batch::new().when(key("lock"), Condition::Value(holder.to_owned().into())).delete(key("lock"))
}

/// The kind of error that a write ended in.
async fn refused(sent: JoinHandle<Result<Outcome>>) -> ErrorKind {
    sent.await.unwrap().unwrap_err().kind()
}

/// Sends a write that waits, and sees it wait.
async fn block(bench: &Bench, batch: &Batch, options: WriteOptions) -> JoinHandle<Result<Outcome>> {
    let before = bench.metric("blocked_writes");
    let sent = bench.send(batch, options);
    bench.until("blocked_writes", before + 1.0).await;
    sent
}

#[tokio::test]
async fn hundred_waiters_of_one_lock_have_it_in_the_order_in_which_they_came() {
    let bench = Bench::new();
    assert!(bench.engine.write(lock("first"), WriteOptions::default()).await.unwrap().succeeded());
    let mut waiters = Vec::new();
    for place in 0..100 {
        waiters.push(block(&bench, &lock(&place.to_string()), waiting()).await);
    }
    let mut holder = "first".to_owned();
    let mut last = Version::MIN;
    for (place, waiter) in waiters.into_iter().enumerate() {
        assert_eq!(bench.value("lock").await.unwrap(), holder);
        assert!(bench.engine.write(unlock(&holder), WriteOptions::default()).await.unwrap().succeeded());
        let version = committed(&waiter.await.unwrap().unwrap());
        assert!(version > last);
        (holder, last) = (place.to_string(), version);
        assert_eq!(bench.value("lock").await.unwrap(), holder);
    }
    bench.until("blocked_writes", 0.0).await;
}

#[tokio::test]
async fn nobody_who_comes_later_takes_the_lock_before_a_waiter_not_even_in_the_same_group() {
    let bench = Bench::new();
    let _ = bench.engine.write(lock("first"), WriteOptions::default()).await.unwrap();
    let waiter = block(&bench, &lock("waiter"), waiting()).await;
    let held = bench.hold_committer().await;
    let release = bench.send(&unlock("first"), WriteOptions::default());
    bench.until("queue_writes", 1.0).await;
    let barger = bench.send(&lock("barger"), WriteOptions::default());
    bench.until("queue_writes", 2.0).await;
    let commits = bench.shelf.commits();
    bench.shelf.release();
    assert!(held.await.unwrap().is_ok());
    let released = committed(&release.await.unwrap().unwrap());
    assert_eq!(committed(&waiter.await.unwrap().unwrap()).get(), released.get() + 1);
    assert!(matches!(barger.await.unwrap().unwrap(), Outcome::Conflict(_)));
    assert_eq!(bench.value("lock").await.unwrap(), "waiter");
    assert_eq!(bench.shelf.commits(), commits + 1, "all of it is one group");
}

#[tokio::test]
async fn wait_ends_at_its_time_with_the_conflict_of_then() {
    let bench = Bench::new();
    let old = bench.engine.put(&key("lock"), "old").await.unwrap().version;
    let waiter = block(&bench, &lock("waiter"), waiting()).await;
    let new = bench.engine.put(&key("lock"), "new").await.unwrap().version;
    bench.clock.advance(LONG - Duration::from_millis(1));
    bench.engine.put(&key("other"), "o").await.unwrap();
    assert_eq!(bench.metric("blocked_writes"), 1.0);
    bench.clock.advance(Duration::from_millis(1));
    let Outcome::Conflict(conflict) = waiter.await.unwrap().unwrap() else { panic!("the lock is taken") };
    assert_eq!(conflict.current.unwrap().version, new);
    assert!(conflict.version > new && new > old);
    // No time to wait is as good as none asked for.
    let at_once = bench.engine.write(lock("w"), WriteOptions::default().wait(Duration::ZERO)).await.unwrap();
    assert!(matches!(at_once, Outcome::Conflict(_)));
}

#[tokio::test]
async fn condition_that_can_never_hold_again_ends_the_wait_at_once() {
    let bench = Bench::new();
    let old = bench.engine.put(&key("k"), "old").await.unwrap().version;
    bench.engine.put(&key("k"), "new").await.unwrap();
    let of = |version| Batch::new().when(key("k"), Condition::Version(version)).put(key("k"), "mine");
    let outcome = bench.engine.write(of(old), waiting()).await.unwrap();
    assert!(matches!(outcome, Outcome::Conflict(_)));

    let future = Version::new(bench.engine.put(&key("k"), "newer").await.unwrap().version.get() + 2).unwrap();
    let waiter = block(&bench, &of(future), waiting()).await;
    bench.engine.put(&key("k"), "1").await.unwrap();
    assert_eq!(bench.metric("blocked_writes"), 1.0);
    let there = bench.engine.put(&key("k"), "2").await.unwrap().version;
    assert_eq!(there, future);
    assert!(waiter.await.unwrap().unwrap().succeeded(), "it held just then");

    let future = Version::new(there.get() + 2).unwrap();
    let waiter = block(&bench, &of(future), waiting()).await;
    for name in ["x", "y", "z", "k"] {
        bench.engine.put(&key(name), "v").await.unwrap();
    }
    assert!(matches!(waiter.await.unwrap().unwrap(), Outcome::Conflict(_)), "that version was another key's");
}

#[tokio::test]
async fn waiter_goes_to_the_end_of_another_keys_line_but_keeps_its_place_in_its_own() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.engine.put(&key(name), "taken").await.unwrap();
    }
    let both = Batch::new()
        .when(key("a"), Condition::Absent)
        .when(key("b"), Condition::Absent)
        .put(key("b"), "both");
    let one = |name: &str| Batch::new().when(key("b"), Condition::Absent).put(key("b"), name.to_owned());
    let both = block(&bench, &both, waiting()).await;
    let first = block(&bench, &one("first"), waiting()).await;
    // It goes over to b's line, behind the first.
    let _ = bench.engine.delete(&key("a")).await.unwrap();
    let last = block(&bench, &one("last"), waiting()).await;
    for (waiter, name) in [(first, "first"), (both, "both"), (last, "last")] {
        let _ = bench.engine.delete(&key("b")).await.unwrap();
        assert!(waiter.await.unwrap().unwrap().succeeded());
        assert_eq!(bench.value("b").await.unwrap(), name);
    }
}

#[tokio::test]
async fn one_waiters_commit_gives_others_their_turns_in_the_same_group() {
    let bench = Bench::new();
    let step = |from: &str, to: &str| {
        Batch::new().when(key(from), Condition::Present).put(key(to), "v").delete(key(from))
    };
    let mut waiters = Vec::new();
    for (from, to) in [("c", "d"), ("b", "c"), ("a", "b")] {
        waiters.push(block(&bench, &step(from, to), waiting()).await);
    }
    let commits = bench.shelf.commits();
    bench.engine.put(&key("a"), "v").await.unwrap();
    for waiter in waiters {
        assert!(waiter.await.unwrap().unwrap().succeeded());
    }
    assert_eq!(bench.shelf.commits(), commits + 1);
    assert!(bench.value("d").await.is_some());
}

#[tokio::test]
async fn caller_that_gave_up_is_forgotten_and_takes_nothing() {
    let bench = Bench::new();
    let session = bench.session().await;
    let _ = bench.engine.write(lock("first"), WriteOptions::default()).await.unwrap();
    let gone = block(&bench, &lock("gone"), waiting().stamp(session.stamp(number(1), 0))).await;
    let stays = block(&bench, &lock("stays"), waiting()).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let _ = bench.engine.write(unlock("first"), WriteOptions::default()).await.unwrap();
    assert!(stays.await.unwrap().unwrap().succeeded());
    assert_eq!(bench.value("lock").await.unwrap(), "stays");
    assert_eq!(bench.engine.settle(session.stamp(number(1), 0)).await.unwrap(), None);
    // Without a commit that touches the key, too.
    let gone = block(&bench, &lock("gone"), waiting()).await;
    gone.abort();
    bench.until("blocked_writes", 0.0).await;
    bench.until("queue_size", 0.0).await;
}

#[tokio::test]
async fn arrivals_of_a_write_that_waits_share_its_outcome_and_it_is_remembered() {
    let bench = Bench::new();
    let session = bench.session().await;
    let options = waiting().stamp(session.stamp(number(1), 0));
    let _ = bench.engine.write(lock("first"), WriteOptions::default()).await.unwrap();
    let mut arrivals = Vec::new();
    for _ in 0..3 {
        arrivals.push(block(&bench, &lock("mine"), options.clone()).await);
    }
    let other = bench.engine.write(unlock("mine"), options.clone()).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidArgument);
    let _ = bench.engine.write(unlock("first"), WriteOptions::default()).await.unwrap();
    let mut versions = Vec::new();
    for arrival in arrivals {
        versions.push(committed(&arrival.await.unwrap().unwrap()));
    }
    versions.push(committed(&bench.engine.write(lock("mine"), options).await.unwrap()));
    versions.dedup();
    assert_eq!(versions.len(), 1);

    let options = waiting().stamp(session.stamp(number(2), 1));
    let waiter = block(&bench, &lock("again"), options.clone()).await;
    bench.clock.advance(LONG);
    let conflict = waiter.await.unwrap().unwrap();
    assert!(matches!(conflict, Outcome::Conflict(_)));
    assert_eq!(bench.engine.write(lock("again"), options).await.unwrap(), conflict, "it does not wait again");
}

#[tokio::test]
async fn settle_end_and_acknowledgement_certify_that_a_waiting_write_is_never_executed() {
    let bench = Bench::new();
    let session = bench.session().await;
    let _ = bench.engine.write(lock("first"), WriteOptions::default()).await.unwrap();
    let stamp = |sequence| session.stamp(number(sequence), 0);
    let settled = block(&bench, &lock("settled"), waiting().stamp(stamp(1))).await;
    assert_eq!(bench.engine.settle(stamp(1)).await.unwrap(), None);
    assert_eq!(refused(settled).await, ErrorKind::Unavailable);
    assert_eq!(bench.kind(&lock("settled"), stamp(1)).await, ErrorKind::Unavailable);

    let acknowledged = block(&bench, &lock("acknowledged"), waiting().stamp(stamp(2))).await;
    let _ = bench.write(&Batch::new().put(key("k"), "v"), session.stamp(number(3), 2)).await.unwrap();
    assert_eq!(refused(acknowledged).await, ErrorKind::Unavailable);

    let ended = block(&bench, &lock("ended"), waiting().stamp(stamp(4))).await;
    bench.engine.end_session(session.id).await.unwrap();
    assert_eq!(refused(ended).await, ErrorKind::Unavailable);
    let _ = bench.engine.write(unlock("first"), WriteOptions::default()).await.unwrap();
    assert_eq!(bench.value("lock").await, None);
    bench.until("queue_size", 0.0).await;
}

#[tokio::test]
async fn session_with_a_write_that_waits_is_not_idle() {
    let bench = Bench::with(|limits| limits.session_idle = LONG / 4);
    let session = bench.session().await;
    bench.engine.put(&key("lock"), "first").await.unwrap();
    let waiter = block(&bench, &lock("mine"), waiting().stamp(session.stamp(number(1), 0))).await;
    for _ in 0..3 {
        bench.clock.advance(LONG / 4);
        bench.engine.put(&key("other"), "o").await.unwrap();
    }
    let _ = bench.engine.delete(&key("lock")).await.unwrap();
    assert!(waiter.await.unwrap().unwrap().succeeded());
}

#[tokio::test]
async fn waiting_writes_are_bounded_in_number_and_bytes_and_leave_room_for_others() {
    let bench = Bench::with(|limits: &mut Limits| {
        (limits.max_value_bytes, limits.max_batch_bytes, limits.max_queued_bytes) = (400, 5_000, 10_000);
        limits.max_blocked_writes = 3;
    });
    let _ = bench.engine.write(lock("first"), WriteOptions::default()).await.unwrap();
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(block(&bench, &lock("w"), waiting()).await);
    }
    let error = bench.engine.write(lock("w"), waiting()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(matches!(bench.engine.write(lock("w"), Default::default()).await.unwrap(), Outcome::Conflict(_)));
    assert_eq!(bench.metric("blocked_writes_limit"), 3.0);
    for waiter in waiters {
        waiter.abort();
    }
    bench.until("blocked_writes", 0.0).await;

    let long = Batch::new().when(key(&"k".repeat(3_000)), Condition::Present);
    let waiter = block(&bench, &long, waiting()).await;
    let error = bench.engine.write(long, waiting()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    bench.engine.put(&key(&"k".repeat(3_000)), "v").await.unwrap();
    assert!(waiter.await.unwrap().unwrap().succeeded());
    bench.until("queue_size", 0.0).await;
}

#[tokio::test]
async fn close_failure_and_restore_tell_waiting_writes_that_nothing_was_applied() {
    let bench = Bench::new();
    let create = Batch::new().when(key("k"), Condition::Present).put(key("l"), "v");
    let waiter = block(&bench, &create, waiting()).await;
    bench.engine.close().await.unwrap();
    assert_eq!(refused(waiter).await, ErrorKind::Closed);

    let bench = Bench::new();
    let waiter = block(&bench, &create, waiting()).await;
    bench.shelf.fail(Failing::Lost);
    assert_eq!(bench.engine.put(&key("x"), "v").await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(refused(waiter).await, ErrorKind::Closed);

    let bench = Bench::new();
    let session = bench.session().await;
    let waiter = block(&bench, &create, waiting().stamp(session.stamp(number(1), 0))).await;
    let empty = View { version: Version::MIN, data: Box::pin(stream::iter([])) as _ };
    bench.engine.restore(empty).await.unwrap();
    assert_eq!(refused(waiter).await, ErrorKind::Unavailable);
    assert_eq!(bench.metric("blocked_writes"), 0.0);
    bench.engine.put(&key("k"), "v").await.unwrap();
    assert!(
        bench.write(&create, session.stamp(number(1), 0)).await.unwrap().succeeded(),
        "it may come again"
    );
}

#[tokio::test]
async fn what_is_removed_after_the_end_of_a_wait_is_not_had_by_it() {
    let bench = Bench::new();
    let hour = Duration::from_secs(3600);
    bench.engine.put_for(&key("lock"), "first", LONG + Duration::from_millis(1)).await.unwrap();
    let late = block(&bench, &lock("late"), waiting()).await;
    let other = block(&bench, &lock("other"), WriteOptions::default().wait(hour)).await;
    // The committer finds both over at once.
    bench.clock.advance(LONG + Duration::from_secs(1));
    let Outcome::Conflict(conflict) = late.await.unwrap().unwrap() else { panic!("its wait was over") };
    assert_eq!(conflict.current.unwrap().value, "first");
    assert!(other.await.unwrap().unwrap().succeeded());
    assert_eq!(bench.value("lock").await.unwrap(), "other");
}
