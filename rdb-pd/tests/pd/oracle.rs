//! What timestamps are, whatever happens to the clock and the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rdb_engine_api::{Clock as _, Engine, EngineExt as _, ErrorKind, Key, ManualClock};
use rdb_engine_sled::SledConfig;
use rdb_pd::{Oracle, OracleOptions};

use crate::harness::{HOUR, NOW_MS, clock, mem, oracle, persisted_end, row, until, wall};

const MAX: u32 = 1 << 18;
const WINDOW: Duration = Duration::from_secs(3);

/// Sets the clock an hour back or forward, or lets some time pass.
fn disturb(clock: &ManualClock, random: &mut StdRng) {
    match random.random_range(0..4) {
        0 => clock.set_wall(clock.wall() - HOUR),
        1 => clock.set_wall(clock.wall() + HOUR),
        _ => clock.advance(Duration::from_millis(random.random_range(0..8_000))),
    }
}

/// Takes some, each greater than all before.
async fn take_some(oracle: &Oracle, clock: &ManualClock, last: &mut u64, random: &mut StdRng) {
    for _ in 0..random.random_range(1..20) {
        let count = random.random_range(1..=MAX);
        let range = oracle.timestamps(count).await.unwrap();
        assert!(range.start > *last, "{} after {last}", range.start);
        assert_eq!(range.end - range.start, u64::from(count));
        *last = range.end - 1;
        if random.random_bool(0.2) {
            disturb(clock, random);
        }
    }
}

#[tokio::test]
async fn they_rise_over_restarts_and_a_clock_that_is_set_back_and_forth() {
    for seed in 0..20 {
        let (mut random, mut last) = (StdRng::seed_from_u64(seed), 0);
        let (engine, clock) = (mem(), clock());
        for _ in 0..20 {
            // Dropped in whatever state it is.
            let oracle = oracle(&engine, &clock).await.unwrap();
            take_some(&oracle, &clock, &mut last, &mut random).await;
            disturb(&clock, &mut random);
        }
    }
}

#[tokio::test]
async fn they_rise_over_twenty_openings_of_an_engine_that_was_never_closed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut random, mut last) = (StdRng::seed_from_u64(0), 0);
    let clock = clock();
    for _ in 0..20 {
        let mut opened = None;
        // Dropped without a close, it frees its directory in its own time.
        until("directory is free", async || {
            opened = match rdb_engine_sled::open(&SledConfig::new(directory.path())) {
                Ok(engine) => Some(Arc::new(engine) as Arc<dyn Engine>),
                Err(error) if error.kind() == ErrorKind::Unavailable => None,
                Err(error) => panic!("{}", error.report()),
            };
            opened.is_some()
        })
        .await;
        let oracle = oracle(&opened.unwrap(), &clock).await.unwrap();
        take_some(&oracle, &clock, &mut last, &mut random).await;
        disturb(&clock, &mut random);
    }
}

#[tokio::test]
async fn they_are_close_to_the_clock_and_count_within_its_millisecond() {
    let (engine, clock) = (mem(), clock());
    let oracle = oracle(&engine, &clock).await.unwrap();
    assert_eq!(oracle.timestamps(1).await.unwrap(), (NOW_MS << 18)..(NOW_MS << 18) + 1);
    assert_eq!(oracle.timestamps(5).await.unwrap().start, (NOW_MS << 18) + 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(oracle.timestamps(1).await.unwrap().start, (NOW_MS + 1) << 18);
}

#[tokio::test]
async fn behind_a_clock_set_back_they_rise_by_one_and_a_clock_set_forward_they_follow() {
    let (engine, clock) = (mem(), clock());
    let oracle = oracle(&engine, &clock).await.unwrap();
    let first = oracle.timestamps(1).await.unwrap().start;
    clock.set_wall(clock.wall() - HOUR);
    for next in 1..1000 {
        assert_eq!(oracle.timestamps(1).await.unwrap().start, first + next);
    }
    clock.set_wall(clock.wall() + HOUR * 2);
    let ahead = oracle.timestamps(1).await.unwrap().start;
    assert_eq!(ahead, (NOW_MS + 3_600_000) << 18);
    clock.set_wall(clock.wall() - HOUR);
    assert_eq!(oracle.timestamps(1).await.unwrap().start, ahead + 1);
}

#[tokio::test]
async fn a_full_millisecond_goes_on_in_the_next_one() {
    let (engine, clock) = (mem(), clock());
    let oracle = oracle(&engine, &clock).await.unwrap();
    for ms in 0..5 {
        assert_eq!(oracle.timestamps(MAX).await.unwrap().start, (NOW_MS + ms) << 18);
    }
}

#[tokio::test]
async fn counts_out_of_range_are_refused() {
    let oracle = oracle(&mem(), &clock()).await.unwrap();
    for count in [0, MAX + 1, u32::MAX] {
        assert_eq!(oracle.timestamps(count).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn asked_for_faster_than_time_passes_they_are_exhausted_until_some_has_passed() {
    let (engine, clock) = (mem(), clock());
    let oracle = oracle(&engine, &clock).await.unwrap();
    for _ in 0..WINDOW.as_millis() {
        let _ = oracle.timestamps(MAX).await.unwrap();
    }
    let error = oracle.timestamps(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert_eq!(oracle.timestamps(1).await.unwrap_err().kind(), ErrorKind::Exhausted);
    // On a clock that was set back too: it is time passed that counts.
    clock.set_wall(clock.wall() - HOUR);
    clock.advance(Duration::from_secs(1));
    for _ in 0..1_000 {
        let _ = oracle.timestamps(MAX).await.unwrap();
    }
    assert_eq!(oracle.timestamps(1).await.unwrap_err().kind(), ErrorKind::Exhausted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_at_once_get_ranges_of_their_own_above_all_that_was_given_before() {
    let (engine, clock) = (mem(), clock());
    let oracle = Arc::new(oracle(&engine, &clock).await.unwrap());
    let given = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (1..=16)
        .map(|count| {
            let (oracle, given, clock) = (Arc::clone(&oracle), Arc::clone(&given), Arc::clone(&clock));
            tokio::spawn(async move {
                let mut ranges = Vec::new();
                for _ in 0..1_000 {
                    let before = given.load(Ordering::SeqCst);
                    let range = oracle.timestamps(count).await.unwrap();
                    assert!(range.start > before);
                    given.fetch_max(range.end - 1, Ordering::SeqCst);
                    ranges.push(range);
                    // Past the window several times.
                    clock.advance(Duration::from_millis(1));
                }
                ranges
            })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.extend(caller.await.unwrap());
    }
    assert_eq!(all.len(), 16_000);
    all.sort_by_key(|range| range.start);
    assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start));
}

#[tokio::test]
async fn the_window_is_extended_before_it_runs_out() {
    let (engine, clock) = (mem(), clock());
    let _oracle = oracle(&engine, &clock).await.unwrap();
    assert_eq!(persisted_end(&*engine).await, NOW_MS + 3_000);
    clock.advance(WINDOW * 2 / 3);
    until("extension", async || persisted_end(&*engine).await == NOW_MS + 5_000).await;
}

#[tokio::test]
async fn two_oracles_on_one_engine_never_give_the_same_and_the_earlier_one_learns_of_it() {
    let (engine, clock) = (mem(), clock());
    let earlier = oracle(&engine, &clock).await.unwrap();
    let mut all = vec![earlier.timestamps(7).await.unwrap()];
    let later = oracle(&engine, &clock).await.unwrap();
    let mut ended = None;
    for _ in 0..100 {
        all.push(later.timestamps(MAX).await.unwrap());
        match earlier.timestamps(MAX).await {
            Ok(range) if ended.is_none() => all.push(range),
            Ok(range) => panic!("{range:?} after {ended:?}"),
            Err(error) => ended = Some(error),
        }
        clock.advance(Duration::from_millis(100));
    }
    assert_eq!(ended.unwrap().kind(), ErrorKind::Closed);
    let counted = all.len();
    all.sort_by_key(|range| range.start);
    assert!(counted > 101 && all.windows(2).all(|pair| pair[0].end <= pair[1].start));
}

#[tokio::test]
async fn an_oracle_that_has_lost_its_row_leaves_the_rest_of_its_window() {
    let (engine, clock) = (mem(), clock());
    let earlier = oracle(&engine, &clock).await.unwrap();
    let _later = oracle(&engine, &clock).await.unwrap();
    clock.advance(WINDOW * 2 / 3);
    until("closed", async || {
        earlier.timestamps(1).await.is_err_and(|error| error.kind() == ErrorKind::Closed)
    })
    .await;
}

#[tokio::test]
async fn of_oracles_opened_at_once_one_goes_on() {
    let (engine, clock) = (mem(), clock());
    let opened = futures::future::join_all((0..5).map(|_| oracle(&engine, &clock))).await;
    let oracles: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    let mut all = Vec::new();
    for round in 0..2 {
        let mut alive = 0;
        for oracle in &oracles {
            match oracle.timestamps(1).await {
                Ok(range) => {
                    all.push(range.start);
                    alive += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
            }
        }
        assert!(round == 0 || alive == 1, "{alive} alive");
        clock.advance(HOUR);
    }
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn the_last_of_46_bits_are_given_and_none_behind_them() {
    let last_ms = (1 << 46) - 1;
    let engine = mem();
    let clock = Arc::new(ManualClock::new(wall(last_ms - 2)));
    let oracle = self::oracle(&engine, &clock).await.unwrap();
    let first = oracle.timestamps(MAX).await.unwrap();
    let second = oracle.timestamps(MAX).await.unwrap();
    assert_eq!((first.start, second.end), ((last_ms - 2) << 18, last_ms << 18));
    assert_eq!(oracle.timestamps(1).await.unwrap_err().kind(), ErrorKind::Exhausted);
    drop(oracle);
    assert_eq!(self::oracle(&engine, &clock).await.unwrap_err().kind(), ErrorKind::Exhausted);
}

#[tokio::test]
async fn a_clock_beyond_46_bits_is_not_believed() {
    let (engine, clock) = (mem(), clock());
    let oracle = oracle(&engine, &clock).await.unwrap();
    let first = oracle.timestamps(1).await.unwrap().start;
    clock.set_wall(wall(1 << 46));
    assert_eq!(oracle.timestamps(1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    clock.set_wall(wall(NOW_MS));
    assert_eq!(oracle.timestamps(1).await.unwrap().start, first + 1);
}

#[tokio::test]
async fn a_clock_before_1970_gives_timestamps_above_0() {
    let clock = Arc::new(ManualClock::new(wall(0) - HOUR));
    let oracle = oracle(&mem(), &clock).await.unwrap();
    assert_eq!(oracle.timestamps(1).await.unwrap().start, 1);
}

#[tokio::test]
async fn a_persisted_end_that_makes_no_sense_is_corrupt_and_stays() {
    for value in [&[][..], &[0; 15], &[0; 17], &[0xff; 16]] {
        let engine = mem();
        let key = Key::new("flaredb-pd/timestamps").unwrap();
        engine.put(&key, Bytes::copy_from_slice(value)).await.unwrap();
        let error = oracle(&engine, &clock()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(row(&*engine, "timestamps").await.unwrap().value, value);
    }
}

#[tokio::test]
async fn options_out_of_range_are_refused_by_name() {
    for (window, patience, name) in [
        (Duration::ZERO, WINDOW, "window"),
        (WINDOW, Duration::MAX, "patience"),
        (HOUR * 2, WINDOW, "window"),
    ] {
        let mut options = OracleOptions::default();
        (options.window, options.patience) = (window, patience);
        let error = Oracle::open(mem(), clock(), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(&format!("time=`{name}`")), "{error}");
    }
}
