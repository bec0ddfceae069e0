//! What sessions take, and how they end.

use std::time::Duration;

use rdb_engine_api::{
    Batch, Condition, Engine as _, EngineExt as _, ErrorKind, Outcome, SessionOptions, WriteOptions,
};

use crate::bench::{Bench, committed, create, key, number};

#[tokio::test]
async fn number_is_executed_at_the_windows_edges_and_not_beyond() {
    let bench = Bench::with(|limits| limits.session_window = 4);
    let session = bench.session().await;
    assert_eq!(session.window.get(), 4);
    let _ = bench.write(&create("a4"), session.stamp(number(4), 0)).await.unwrap();
    assert_eq!(bench.kind(&create("a5"), session.stamp(number(5), 0)).await, ErrorKind::Unknown);
    let settled = bench.engine.settle(session.stamp(number(5), 0)).await;
    assert_eq!(settled.unwrap_err().kind(), ErrorKind::Unknown);
    // With its own word that 1 is done with, there is room for 5.
    let _ = bench.write(&create("a5"), session.stamp(number(5), 1)).await.unwrap();
    assert_eq!(bench.kind(&create("a1"), session.stamp(number(1), 0)).await, ErrorKind::Unknown);
    let _ = bench.write(&create("a2"), session.stamp(number(2), 0)).await.unwrap();
    assert_eq!(bench.kind(&create("a3"), session.stamp(number(3), 7)).await, ErrorKind::Unknown);
    assert_eq!(bench.kind(&create("a4"), session.stamp(number(4), 0)).await, ErrorKind::Unknown, "forgotten");
    let _ = bench.write(&create("a11"), session.stamp(number(11), 0)).await.unwrap();
    let far = session.stamp(number(u64::MAX), u64::MAX - 1);
    let _ = bench.write(&create("far"), far).await.unwrap();
    let names = ["a1", "a2", "a3", "a4", "a5", "a11", "far"];
    let mut there = Vec::new();
    for name in names {
        if bench.value(name).await.is_some() {
            there.push(name);
        }
    }
    assert_eq!(there, ["a2", "a4", "a5", "a11", "far"]);
}

#[tokio::test]
async fn acknowledgement_frees_rows_and_an_acknowledged_number_is_not_executed_after_a_restart_either() {
    let mut bench = Bench::new();
    let session = bench.session().await;
    for sequence in 1..=500 {
        let batch = Batch::new().put(key("k"), sequence.to_string());
        let _ = bench.write(&batch, session.stamp(number(sequence), 0)).await.unwrap();
    }
    assert_eq!(bench.shelf.system_rows(b'o'), 500);
    let _ = bench.write(&create("l"), session.stamp(number(501), 400)).await.unwrap();
    assert_eq!(bench.shelf.system_rows(b'o'), 101);
    let _ = bench.write(&create("m"), session.stamp(number(502), 501)).await.unwrap();
    assert_eq!(bench.shelf.system_rows(b'o'), 1);
    bench.reopen().await;
    let session = bench.resumed(session).await;
    let stamp = session.stamp(number(500), 0);
    assert_eq!(bench.kind(&Batch::new().put(key("k"), "500"), stamp).await, ErrorKind::Unknown);
    assert_eq!(bench.value("k").await.unwrap(), "500");
}

#[tokio::test]
async fn session_and_group_have_one_row_however_many_writes_there_are() {
    let mut bench = Bench::new();
    let session = bench.session().await;
    let held = bench.hold_committer().await;
    let batches: Vec<_> = (1..=20).map(|sequence| create(&format!("k{sequence}"))).collect();
    let sent: Vec<_> = (1..=20)
        .map(|sequence| {
            let stamp = session.stamp(number(sequence), 0);
            bench.send(&batches[sequence as usize - 1], rdb_engine_api::WriteOptions::default().stamp(stamp))
        })
        .collect();
    bench.until("queue_writes", 20.0).await;
    bench.shelf.release();
    assert!(held.await.unwrap().is_ok());
    let mut versions = Vec::new();
    for sent in sent {
        versions.push(committed(&sent.await.unwrap().unwrap()));
    }
    assert_eq!(bench.shelf.system_rows(b'o'), 1);
    bench.reopen().await;
    let session = bench.resumed(session).await;
    for (sequence, version) in (1..).zip(versions) {
        let again = bench.write(&batches[sequence as usize - 1], session.stamp(number(sequence), 0)).await;
        assert_eq!(committed(&again.unwrap()), version);
    }
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused_and_none_is_evicted() {
    let bench = Bench::with(|limits| limits.max_sessions = 2);
    let sessions = [bench.session().await, bench.session().await];
    let refused = bench.engine.open_session(SessionOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert_eq!((bench.metric("sessions"), bench.metric("sessions_limit")), (2.0, 2.0));
    for session in sessions {
        bench.resumed(session).await;
    }
    bench.engine.end_session(sessions[0].id).await.unwrap();
    bench.session().await;
}

#[tokio::test]
async fn idle_time_of_nothing_or_above_the_limit_is_an_invalid_argument() {
    let bench = Bench::with(|limits| limits.session_idle = Duration::from_secs(5));
    assert_eq!(bench.session().await.idle, Duration::from_secs(5));
    for idle in [Duration::ZERO, Duration::from_millis(5001)] {
        let error = bench.engine.open_session(SessionOptions::default().idle(idle)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn session_ends_when_it_was_idle_for_its_time_and_nothing_of_it_stays() {
    let mut bench = Bench::new();
    let second = Duration::from_secs(1);
    let options = SessionOptions::default().idle(4 * second);
    let (idle, busy) = (
        bench.engine.open_session(options.clone()).await.unwrap(),
        bench.engine.open_session(options).await.unwrap(),
    );
    let _ = bench.write(&create("k"), idle.stamp(number(1), 0)).await.unwrap();
    bench.clock.advance(3 * second);
    bench.resumed(busy).await;
    bench.clock.advance(second);
    // Nobody asks: the committer looks by itself.
    bench.until("sessions", 1.0).await;
    assert_eq!(bench.kind(&create("l"), idle.stamp(number(2), 0)).await, ErrorKind::Unknown);
    assert_eq!(bench.engine.resume_session(idle.id).await.unwrap(), None);
    assert_eq!(bench.metric("sessions_idle"), 1.0);
    assert_eq!(bench.value("l").await, None);
    let _ = bench.write(&create("m"), busy.stamp(number(1), 0)).await.unwrap();
    assert_eq!((bench.shelf.system_rows(b's'), bench.shelf.system_rows(b'o')), (1, 1));

    bench.clock.advance(3 * second);
    bench.reopen().await;
    bench.clock.advance(3 * second);
    let busy = bench.resumed(busy).await;
    let stamp = busy.stamp(number(1), 0);
    bench.clock.advance(3 * second);
    let _ = bench.write(&create("m"), stamp).await.unwrap();
    bench.clock.advance(3 * second);
    assert!(bench.engine.settle(stamp).await.unwrap().is_some(), "each use begins the time anew");
    bench.clock.advance(4 * second);
    assert_eq!(bench.engine.settle(stamp).await.unwrap_err().kind(), ErrorKind::Unknown);
}

#[tokio::test]
async fn many_idle_sessions_end_piece_by_piece_until_all_rows_are_gone() {
    let bench = Bench::new();
    for _ in 0..200 {
        let session = bench.session().await;
        for sequence in 1..=8 {
            let batch = Batch::new().put(key("k"), "v");
            let _ = bench.write(&batch, session.stamp(number(sequence), 0)).await.unwrap();
        }
    }
    assert_eq!((bench.shelf.system_rows(b's'), bench.shelf.system_rows(b'o')), (200, 1600));
    let commits = bench.shelf.commits();
    bench.clock.advance(Duration::from_secs(600));
    bench.until("sessions", 0.0).await;
    bench.engine.put(&key("k"), "v").await.unwrap();
    let gone = async {
        while bench.shelf.system_rows(b's') + bench.shelf.system_rows(b'o') > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the rows are removed");
    assert!(bench.shelf.commits() > commits + 2, "in pieces");
}

#[tokio::test]
async fn conflicts_are_remembered_in_bounded_memory() {
    let bench = Bench::with(|limits| {
        (limits.max_value_bytes, limits.max_batch_bytes, limits.max_queued_bytes) = (10, 5_000, 10_000);
    });
    let session = bench.session().await;
    let long = |sequence: u64| {
        let name = format!("{sequence:04000}");
        Batch::new().when(key(&name), Condition::Present)
    };
    for sequence in [1, 2] {
        let outcome = bench.write(&long(sequence), session.stamp(number(sequence), 0)).await.unwrap();
        assert!(matches!(outcome, Outcome::Conflict(_)));
    }
    assert_eq!(bench.kind(&long(3), session.stamp(number(3), 0)).await, ErrorKind::Exhausted);
    assert!(bench.write(&create("k"), session.stamp(number(4), 0)).await.unwrap().succeeded());
    let outcome = bench.write(&long(3), session.stamp(number(3), 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Conflict(_)), "an acknowledged one made room");
    bench.engine.end_session(session.id).await.unwrap();
    let session = bench.session().await;
    let outcome = bench.write(&long(5), session.stamp(number(5), 0)).await.unwrap();
    assert!(matches!(outcome, Outcome::Conflict(_)), "the end made room");
}

#[tokio::test]
async fn session_is_not_idle_while_its_write_waits_for_a_slow_commit() {
    let bench = Bench::new();
    let second = Duration::from_secs(1);
    let options = SessionOptions::default().idle(4 * second);
    let (used, idle) = (
        bench.engine.open_session(options.clone()).await.unwrap(),
        bench.engine.open_session(options).await.unwrap(),
    );
    let held = bench.hold_committer().await;
    bench.clock.advance(3 * second);
    let write = bench.send(&create("k"), WriteOptions::default().stamp(used.stamp(number(1), 0)));
    bench.until("queue_writes", 1.0).await;
    bench.clock.advance(3 * second);
    bench.shelf.release();
    assert!(held.await.unwrap().is_ok());
    assert!(write.await.unwrap().unwrap().succeeded());
    bench.until("sessions", 1.0).await;
    assert_eq!(bench.engine.resume_session(idle.id).await.unwrap(), None);
    bench.resumed(used).await;
}
