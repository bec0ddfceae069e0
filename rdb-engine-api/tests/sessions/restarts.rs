//! What a restart leaves of sessions.

use futures::stream;
use rdb_engine_api::{
    Batch, Condition, Durability, Engine as _, EngineExt as _, Entry, ErrorKind, KeyRange, Outcome, Record,
    Scan, SessionOptions, View, Watch, WriteOptions,
};
use std::sync::Arc;
use std::time::Duration;

use crate::bench::{Bench, committed, create, key, number};

#[tokio::test]
async fn what_was_committed_is_remembered_over_restarts_and_its_late_copy_is_stale() {
    let mut bench = Bench::new();
    let session = bench.session().await;
    let old = session.stamp(number(1), 0);
    let version = committed(&bench.write(&create("k"), old).await.unwrap());
    for round in 0..4 {
        if round % 2 == 0 {
            bench.reopen().await;
        } else {
            let left = bench.shelf.after_power_cut();
            bench.reopen_on(left);
        }
        assert_eq!(bench.kind(&create("k"), old).await, ErrorKind::Stale);
        assert_eq!(bench.engine.settle(old).await.unwrap_err().kind(), ErrorKind::Stale);
        let session = bench.resumed(session).await;
        assert_eq!(
            bench.kind(&create("other"), session.stamp(number(1), 0)).await,
            ErrorKind::InvalidArgument
        );
        let again = bench.write(&create("k"), session.stamp(number(1), 0)).await.unwrap();
        assert_eq!(committed(&again), version);
        assert_eq!(bench.engine.settle(session.stamp(number(1), 0)).await.unwrap(), Some(again));
    }
    assert_eq!(bench.metric("session_writes_stale"), 1.0);
}

#[tokio::test]
async fn rows_with_different_acknowledgements_are_put_together_at_an_opening() {
    let mut bench = Bench::new();
    let session = bench.session().await;
    let mut versions = Vec::new();
    for (sequence, acknowledged) in [(3, 0), (1, 0), (4, 1), (5, 1), (6, 3), (8, 3)] {
        let stamp = session.stamp(number(sequence), acknowledged);
        let outcome = bench.write(&create(&format!("k{sequence}")), stamp).await.unwrap();
        versions.push((sequence, committed(&outcome)));
    }
    bench.reopen().await;
    let session = bench.resumed(session).await;
    for (sequence, version) in versions {
        let again = bench.write(&create(&format!("k{sequence}")), session.stamp(number(sequence), 0)).await;
        match sequence {
            ..=3 => assert_eq!(again.unwrap_err().kind(), ErrorKind::Unknown),
            _ => assert_eq!(committed(&again.unwrap()), version, "{sequence}"),
        }
    }
}

/// A conflict is not stored: its late copy must not be judged after the restart.
#[tokio::test]
async fn late_copy_of_a_conflict_does_nothing_after_a_restart() {
    let mut bench = Bench::new();
    let session = bench.session().await;
    bench.engine.put(&key("k"), "v").await.unwrap();
    let stamp = session.stamp(number(1), 0);
    assert!(matches!(bench.write(&create("k"), stamp).await.unwrap(), Outcome::Conflict(_)));
    let _ = bench.engine.delete(&key("k")).await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.kind(&create("k"), stamp).await, ErrorKind::Stale);
    assert_eq!(bench.value("k").await, None);
}

#[tokio::test]
async fn power_cut_takes_the_outcome_away_with_the_record_and_never_one_without_the_other() {
    let mut bench = Bench::new();
    let session = bench.session().await;
    let volatile = |sequence| {
        WriteOptions::default().stamp(session.stamp(number(sequence), 0)).durability(Durability::Volatile)
    };
    let _ = bench.engine.write(create("a"), volatile(1)).await.unwrap();
    let _ = bench.engine.write(create("b"), volatile(2).durability(Durability::Synced)).await.unwrap();
    let _ = bench.engine.write(create("c"), volatile(3)).await.unwrap();
    let left = bench.shelf.after_power_cut();
    bench.reopen_on(left);
    let session = bench.resumed(session).await;
    for (sequence, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let settled = bench.engine.settle(session.stamp(number(sequence), 0)).await.unwrap();
        assert_eq!(settled.is_some(), bench.value(name).await.is_some(), "{name}: {settled:?}");
        assert_eq!(settled.is_some(), sequence < 3);
    }
}

#[tokio::test]
async fn session_that_was_answered_outlives_a_power_cut_and_an_ended_one_does_not_come_back() {
    let mut bench = Bench::new();
    let options = SessionOptions::default().idle(Duration::from_micros(70_500));
    let asked = bench.engine.open_session(options).await.unwrap();
    assert_eq!(asked.idle, Duration::from_millis(71));
    let ended = bench.session().await;
    let _ = bench.write(&create("k"), ended.stamp(number(1), 0)).await.unwrap();
    bench.engine.end_session(ended.id).await.unwrap();
    let left = bench.shelf.after_power_cut();
    bench.reopen_on(left);
    let resumed = bench.resumed(asked).await;
    assert_eq!((resumed.id, resumed.idle, resumed.window), (asked.id, asked.idle, asked.window));
    assert!(resumed.life > asked.life);
    assert_eq!(bench.engine.resume_session(ended.id).await.unwrap(), None);
    assert_eq!(bench.metric("sessions"), 1.0);
}

#[tokio::test]
async fn damaged_rows_of_sessions_stop_the_opening() {
    for first in [b's', b'o'] {
        let bench = Bench::new();
        let session = bench.session().await;
        let _ = bench.write(&create("k"), session.stamp(number(1), 0)).await.unwrap();
        let left = bench.shelf.after_crash();
        left.damage_system_rows(first);
        assert_eq!(bench.reopen_fails(left).kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn sessions_and_what_they_remember_outlive_a_restore() {
    let mut bench = Bench::new();
    let session = bench.session().await;
    let stamp = session.stamp(number(1), 0);
    let version = committed(&bench.write(&create("k"), stamp).await.unwrap());
    let met = session.stamp(number(2), 0);
    let conflict = Batch::new().when(key("k"), Condition::Absent);
    let Outcome::Conflict(first) = bench.write(&conflict, met).await.unwrap() else { panic!("k is there") };
    let backup = bench.engine.scan(Scan::new(KeyRange::all())).await.unwrap();
    let _ = bench.engine.delete(&key("k")).await.unwrap();
    bench.engine.restore(backup).await.unwrap();
    assert_eq!(committed(&bench.write(&create("k"), stamp).await.unwrap()), version);
    assert_eq!(bench.write(&conflict, met).await.unwrap(), Outcome::Conflict(first.clone()), "it is back");

    let _ = bench.engine.delete(&key("k")).await.unwrap();
    let record = Record::new("foreign".into(), rdb_engine_api::Version::MIN);
    let entries = vec![Ok(vec![Entry::new(key("k"), Some(record))])];
    let foreign = View { version: rdb_engine_api::Version::MIN, data: Box::pin(stream::iter(entries)) as _ };
    bench.engine.restore(foreign).await.unwrap();
    let Outcome::Conflict(again) = bench.write(&conflict, met).await.unwrap() else { panic!("a conflict") };
    assert_eq!((again.current, again.replaced), (None, Some(version)));
    bench.reopen().await;
    let session = bench.resumed(session).await;
    let again = bench.write(&create("k"), session.stamp(number(1), 0)).await.unwrap();
    assert_eq!(committed(&again), version);
    assert_eq!(bench.value("k").await.unwrap(), "foreign");
}

#[tokio::test]
async fn ended_session_does_not_come_back_however_many_rows_of_others_are_still_to_go() {
    let mut bench = Bench::new();
    let sessions = [bench.session().await, bench.session().await, bench.session().await];
    for session in &sessions[..2] {
        for sequence in 1..=700 {
            let write = Batch::new().put(key("k"), "v");
            let _ = bench.write(&write, session.stamp(number(sequence), 0)).await.unwrap();
        }
    }
    let held = bench.hold_committer().await;
    let mut ends = Vec::new();
    for (place, session) in sessions.into_iter().enumerate() {
        let engine = Arc::clone(&bench.engine);
        ends.push(tokio::spawn(async move { engine.end_session(session.id).await }));
        bench.until("queue_writes", place as f64 + 1.0).await;
    }
    bench.shelf.release();
    assert!(held.await.unwrap().is_ok());
    for end in ends {
        end.await.unwrap().unwrap();
    }
    // The first two leave more rows than one commit removes; the commits that go on with them are not synced.
    let left = bench.shelf.after_power_cut();
    bench.reopen_on(left);
    for session in sessions {
        assert_eq!(bench.engine.resume_session(session.id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn watch_from_a_version_that_a_power_cut_took_away_is_compacted_before_the_first_commit_and_after_it() {
    let mut bench = Bench::new();
    let weak = WriteOptions::default().durability(Durability::Volatile);
    let seen = committed(&bench.engine.write(create("k"), weak).await.unwrap());
    let left = bench.shelf.after_power_cut();
    bench.reopen_on(left);
    for _ in 0..2 {
        let refused =
            bench.engine.watch(Watch::new(KeyRange::all()).after(seen)).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Compacted, "{}", refused.report());
        let oldest = refused.version().unwrap();
        let opened = bench.engine.watch(Watch::new(KeyRange::all()).after(oldest)).await.unwrap();
        assert_eq!(opened.version, oldest);
        bench.engine.put(&key("l"), "v").await.unwrap();
    }
}
