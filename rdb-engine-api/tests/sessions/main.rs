//! Exactly once (C17) and blocking writes (C20), as `Local` does it for every store.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod random;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod waits;

use std::sync::Arc;

use rdb_engine_api::{
    Batch, Condition, Durability, Engine as _, EngineExt as _, ErrorKind, Outcome, WriteOptions,
};

use bench::{Bench, committed, create, durability, key, number};
use shelf::Failing;

#[tokio::test]
async fn every_arrival_of_a_write_gets_the_outcome_of_the_first() {
    let bench = Bench::new();
    let session = bench.session().await;
    let stamp = session.stamp(number(1), 0);
    let first = bench.write(&create("k"), stamp).await.unwrap();
    let version = committed(&first);
    bench.engine.put(&key("other"), "o").await.unwrap();
    for _ in 0..3 {
        assert_eq!(committed(&bench.write(&create("k"), stamp).await.unwrap()), version);
    }
    // The same write without its stamp is another one.
    let other = bench.engine.write(create("k"), WriteOptions::default()).await.unwrap();
    assert!(matches!(other, Outcome::Conflict(_)));
    assert_eq!(bench.metric("session_writes_again"), 3.0);

    let nothing = Batch::new().delete(key("absent"));
    let stamp = session.stamp(number(2), 1);
    let unchanged = bench.write(&nothing, stamp).await.unwrap();
    bench.engine.put(&key("absent"), "now there").await.unwrap();
    assert_eq!(bench.write(&nothing, stamp).await.unwrap(), unchanged);
    assert_eq!(bench.value("absent").await.unwrap(), "now there");
}

#[tokio::test]
async fn second_arrival_in_the_same_group_is_told_the_first_ones_outcome() {
    let bench = Bench::new();
    let session = bench.session().await;
    let held = bench.hold_committer().await;
    let options = WriteOptions::default().stamp(session.stamp(number(1), 0));
    let arrivals: Vec<_> = (0..5).map(|_| bench.send(&create("k"), options.clone())).collect();
    bench.until("queue_writes", 5.0).await;
    let commits = bench.shelf.commits();
    bench.shelf.release();
    assert!(held.await.unwrap().is_ok());
    let mut versions = Vec::new();
    for arrival in arrivals {
        versions.push(committed(&arrival.await.unwrap().unwrap()));
    }
    versions.dedup();
    assert_eq!(versions.len(), 1);
    assert_eq!(bench.shelf.commits(), commits + 1, "they were one group");
}

#[tokio::test]
async fn conflict_is_told_again_with_the_record_only_while_it_is_the_present_one() {
    let bench = Bench::new();
    let session = bench.session().await;
    let old = bench.engine.put(&key("k"), "old").await.unwrap().version;
    let batch =
        Batch::new().when(key("x"), Condition::Absent).when(key("k"), Condition::Absent).delete(key("k"));
    let stamp = session.stamp(number(1), 0);
    let Outcome::Conflict(first) = bench.write(&batch, stamp).await.unwrap() else { panic!("k is there") };
    assert_eq!((first.index, first.current.as_ref().unwrap().version, first.replaced), (1, old, None));
    bench.engine.put(&key("other"), "o").await.unwrap();
    assert_eq!(bench.write(&batch, stamp).await.unwrap(), Outcome::Conflict(first.clone()));

    bench.engine.put(&key("k"), "new").await.unwrap();
    let mut again = first;
    (again.current, again.replaced) = (None, Some(old));
    assert_eq!(bench.write(&batch, stamp).await.unwrap(), Outcome::Conflict(again.clone()));
    let _ = bench.engine.delete(&key("k")).await.unwrap();
    assert_eq!(bench.write(&batch, stamp).await.unwrap(), Outcome::Conflict(again.clone()));
    assert_eq!(bench.engine.settle(stamp).await.unwrap(), Some(Outcome::Conflict(again)));

    let absent = Batch::new().when(key("gone"), Condition::Present);
    let stamp = session.stamp(number(2), 0);
    let first = bench.write(&absent, stamp).await.unwrap();
    bench.engine.put(&key("gone"), "came").await.unwrap();
    assert_eq!(bench.write(&absent, stamp).await.unwrap(), first, "there was no record, and none is told");
}

#[tokio::test]
async fn number_reused_for_another_batch_is_an_invalid_argument_and_changes_nothing() {
    let bench = Bench::new();
    let session = bench.session().await;
    let stamp = session.stamp(number(1), 0);
    let first = bench.write(&create("k"), stamp).await.unwrap();
    assert_eq!(bench.kind(&create("l"), stamp).await, ErrorKind::InvalidArgument);
    assert_eq!(bench.value("l").await, None);
    let same = WriteOptions::default().stamp(session.stamp(number(1), 0)).durability(Durability::Process);
    let same = bench.engine.write(create("k"), same).await.unwrap();
    assert_eq!(committed(&same), committed(&first), "how it is to be done is not what it is");
}

#[tokio::test]
async fn arrival_that_asks_for_more_than_was_reached_gets_a_commit_that_reaches_it() {
    let bench = Bench::new();
    let session = bench.session().await;
    let weak = WriteOptions::default().stamp(session.stamp(number(1), 0)).durability(Durability::Volatile);
    let first = bench.engine.write(create("k"), weak.clone()).await.unwrap();
    assert_eq!(durability(&first), Durability::Volatile);
    let (version, commits) = (committed(&first), bench.shelf.commits());
    let again = bench.engine.write(create("k"), weak.clone()).await.unwrap();
    assert_eq!((committed(&again), bench.shelf.commits()), (version, commits));

    let strong = weak.durability(Durability::Synced);
    let again = bench.engine.write(create("k"), strong.clone()).await.unwrap();
    assert_eq!((committed(&again), durability(&again)), (version, Durability::Synced));
    assert_eq!(bench.shelf.commits(), commits + 1);
    assert_eq!(bench.shelf.after_power_cut().system_rows(b'o'), 1);

    let weak = WriteOptions::default().stamp(session.stamp(number(2), 0)).durability(Durability::Volatile);
    let _ = bench.engine.write(create("l"), weak).await.unwrap();
    let settled = bench.engine.settle(session.stamp(number(2), 0)).await.unwrap().unwrap();
    assert_eq!(durability(&settled), Durability::Synced, "the engine's default");
}

#[tokio::test]
async fn settled_write_that_was_not_executed_never_will_be() {
    let bench = Bench::new();
    let session = bench.session().await;
    let stamp = session.stamp(number(1), 0);
    assert_eq!(bench.engine.settle(stamp).await.unwrap(), None);
    assert_eq!(bench.kind(&create("k"), stamp).await, ErrorKind::Unavailable);
    assert_eq!(bench.engine.settle(stamp).await.unwrap(), None);
    assert_eq!(bench.value("k").await, None);
    let next = session.stamp(number(2), 0);
    let first = bench.write(&create("k"), next).await.unwrap();
    assert_eq!(bench.engine.settle(next).await.unwrap(), Some(first));
}

#[tokio::test]
async fn unknown_session_and_an_ended_one_are_never_executed() {
    let bench = Bench::new();
    let session = bench.session().await;
    let mut foreign = session.stamp(number(1), 0);
    foreign.session = number(session.id.get() + 1);
    assert_eq!(bench.kind(&create("k"), foreign).await, ErrorKind::Unknown);
    assert_eq!(bench.engine.settle(foreign).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(bench.engine.resume_session(foreign.session).await.unwrap(), None);

    let stamp = session.stamp(number(1), 0);
    let _ = bench.write(&create("k"), stamp).await.unwrap();
    bench.engine.end_session(session.id).await.unwrap();
    bench.engine.end_session(session.id).await.unwrap();
    assert_eq!(bench.kind(&create("k"), stamp).await, ErrorKind::Unknown);
    assert_eq!(bench.kind(&create("l"), session.stamp(number(2), 0)).await, ErrorKind::Unknown);
    assert_eq!(bench.engine.settle(stamp).await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(bench.engine.resume_session(session.id).await.unwrap(), None);
    assert_eq!(bench.value("l").await, None);
    assert_eq!((bench.shelf.system_rows(b's'), bench.shelf.system_rows(b'o')), (0, 0));
    assert_ne!(bench.session().await.id, session.id);
}

#[tokio::test]
async fn failed_commit_leaves_arrivals_unknown_and_the_engine_closed() {
    for failing in [Failing::Applied, Failing::Lost] {
        let mut bench = Bench::new();
        let session = bench.session().await;
        let stamp = session.stamp(number(1), 0);
        let held = bench.hold_committer().await;
        let options = WriteOptions::default().stamp(stamp);
        let conflict = Batch::new().when(key("absent"), Condition::Present);
        let arrivals: Vec<_> = (0..3).map(|_| bench.send(&create("k"), options.clone())).collect();
        bench.until("queue_writes", 3.0).await;
        let next = bench.send(&conflict, WriteOptions::default().stamp(session.stamp(number(2), 0)));
        bench.until("queue_writes", 4.0).await;
        let engine = Arc::clone(&bench.engine);
        let settled = tokio::spawn(async move { engine.settle(stamp).await });
        bench.until("queue_writes", 5.0).await;
        let engine = Arc::clone(&bench.engine);
        let opened = tokio::spawn(async move { engine.open_session(Default::default()).await });
        bench.until("queue_writes", 6.0).await;
        bench.shelf.fail(failing);
        bench.shelf.release();
        assert!(held.await.unwrap().is_ok());
        for arrival in arrivals {
            assert_eq!(arrival.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
        }
        assert_eq!(next.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(settled.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
        assert_eq!(opened.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(bench.kind(&create("l"), session.stamp(number(3), 0)).await, ErrorKind::Closed);

        let left = bench.shelf.after_crash();
        bench.reopen_on(left);
        assert_eq!(bench.kind(&create("k"), stamp).await, ErrorKind::Stale);
        let session = bench.resumed(session).await;
        let settled = bench.engine.settle(session.stamp(number(1), 0)).await.unwrap();
        let is_there = bench.value("k").await.is_some();
        assert_eq!(is_there, matches!(failing, Failing::Applied));
        assert_eq!(settled.is_some(), is_there, "{failing:?}: {settled:?}");
    }
}
