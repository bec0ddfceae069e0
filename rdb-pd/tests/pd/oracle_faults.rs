//! Timestamps out of an engine that fails, hangs, and does not say what it did.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rdb_engine_api::{Clock as _, Engine, ErrorKind};
use rdb_pd::{Oracle, OracleOptions};

use crate::double::{Double, Fault};
use crate::harness::{HOUR, NOW_MS, PATIENCE, clock, oracle, persisted_end, until};

#[tokio::test]
async fn an_engine_that_fails_and_does_not_say_what_it_did_never_leads_to_repeats() {
    let mut failed = 0;
    for seed in 0..100 {
        let mut random = StdRng::seed_from_u64(seed);
        let double = Double::new();
        let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
        let (clock, mut open, mut last) = (clock(), None, 0);
        for _ in 0..100 {
            let faults = random.random_range(0..4);
            double.plan((0..faults).map(|_| Fault::ALL[random.random_range(0..Fault::ALL.len())]));
            *double.reads_fail.lock() = random.random_bool(0.1);
            match random.random_range(0..8) {
                0 => open = None,
                1 => clock.set_wall(clock.wall() - HOUR),
                2 => clock.set_wall(clock.wall() + HOUR),
                _ => clock.advance(Duration::from_millis(random.random_range(0..5_000))),
            }
            let given = match &open {
                None => match oracle(&engine, &clock).await {
                    Ok(oracle) => open.insert(oracle).timestamps(10).await,
                    Err(error) => Err(error),
                },
                Some(oracle) => oracle.timestamps(10).await,
            };
            match given {
                Ok(range) => {
                    assert!(range.start > last, "seed {seed}: {} after {last}", range.start);
                    last = range.end - 1;
                    assert!(last >> 18 < persisted_end_of(&double).await, "seed {seed}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "seed {seed}: {}", error.report());
                    failed += 1;
                }
            }
        }
        // And it recovers.
        double.plan([]);
        *double.reads_fail.lock() = false;
        let oracle = match open {
            Some(oracle) => oracle,
            None => oracle(&engine, &clock).await.unwrap(),
        };
        until("recovered", async || oracle.timestamps(1).await.is_ok_and(|range| range.start > last)).await;
    }
    assert!(failed > 100, "the faults have hardly fired: {failed}");
}

async fn persisted_end_of(double: &Double) -> u64 {
    let fail = std::mem::take(&mut *double.reads_fail.lock());
    let end = persisted_end(double).await;
    *double.reads_fail.lock() = fail;
    end
}

#[tokio::test]
async fn a_claim_with_an_unknown_outcome_is_settled_by_reading() {
    for (fault, given) in
        [(Fault::UnknownApplied, true), (Fault::UnknownLost, false), (Fault::Refused, false)]
    {
        let double = Double::new();
        let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
        let clock = clock();
        let oracle = oracle(&engine, &clock).await.unwrap();
        clock.advance(HOUR);
        double.plan([fault]);
        let before = persisted_end(&*engine).await;
        match oracle.timestamps(1).await {
            Ok(range) => {
                assert!(given, "{fault:?}");
                assert_eq!(range.start, (NOW_MS + 3_600_000) << 18);
            }
            Err(error) => {
                assert!(!given, "{fault:?}");
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert_eq!(persisted_end(&*engine).await, before);
                assert!(oracle.timestamps(1).await.is_ok());
            }
        }
    }
}

#[tokio::test]
async fn an_own_claim_that_was_applied_late_is_not_taken_for_anothers() {
    let double = Double::new();
    let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
    let clock = clock();
    let oracle = oracle(&engine, &clock).await.unwrap();
    clock.advance(HOUR);
    double.plan([Fault::UnknownLate]);
    assert_eq!(oracle.timestamps(1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    clock.advance(HOUR);
    until("given", async || oracle.timestamps(1).await.is_ok()).await;
}

#[tokio::test]
async fn while_the_engine_hangs_nothing_beyond_the_persisted_end_is_given() {
    let double = Double::new();
    let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
    let clock = clock();
    let mut options = OracleOptions::default();
    options.patience = Duration::from_millis(20);
    let oracle = Oracle::open(Arc::clone(&engine), Arc::clone(&clock) as _, options).await.unwrap();
    let end = persisted_end(&*engine).await;
    double.plan([Fault::Hangs]);
    clock.advance(Duration::from_millis(2_998));
    tokio::time::timeout(PATIENCE, double.hanging.notified()).await.unwrap();
    // What is left of the window is given meanwhile.
    let mut last = 0;
    for _ in 0..2 {
        let range = oracle.timestamps(1 << 18).await.unwrap();
        assert!(range.start > last);
        last = range.end - 1;
    }
    assert_eq!(last >> 18, end - 1);
    for _ in 0..3 {
        assert_eq!(oracle.timestamps(1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    double.release.notify_one();
    until("given", async || oracle.timestamps(1).await.is_ok_and(|range| range.start > last)).await;
}

#[tokio::test]
async fn a_window_that_can_be_extended_no_more_is_still_used_up() {
    let double = Double::new();
    let engine: Arc<dyn Engine> = Arc::clone(&double) as _;
    let clock = clock();
    let oracle = oracle(&engine, &clock).await.unwrap();
    let end = persisted_end(&*engine).await;
    engine.close().await.unwrap();
    clock.advance(Duration::from_millis(2_999));
    assert_eq!(oracle.timestamps(1 << 18).await.unwrap().end, end << 18);
    assert_eq!(oracle.timestamps(1).await.unwrap_err().kind(), ErrorKind::Closed);
}
