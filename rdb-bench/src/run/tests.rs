use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use rdb_engine_api::{Durability, Engine, Key, KeyRange, Scan};
use rdb_engine_mem::MemConfig;
use tokio::time::sleep;

use super::*;
use crate::{EngineTarget, Seen, Swap};

/// Answers each request after a time; the one of a number takes a second.
#[derive(Debug)]
struct Stalling {
    asked: AtomicUsize,
    stalls_at: usize,
}

#[async_trait]
impl Target for Stalling {
    fn info(&self) -> TargetInfo {
        TargetInfo::new("stalling", "1", "volatile")
    }

    async fn get(&self, _key: &Key) -> Result<Option<Seen>> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        sleep(if number == self.stalls_at { Duration::from_secs(1) } else { Duration::from_millis(1) }).await;
        Ok(None)
    }

    async fn get_many(&self, _keys: &[Key]) -> Result<Vec<Option<Seen>>> {
        Err("not here".to_owned())
    }

    async fn put(&self, _key: &Key, _value: Bytes) -> Result<()> {
        std::future::pending().await
    }

    async fn swap(&self, _key: &Key, _version: u64, _value: Bytes) -> Result<Swap> {
        Err("not here".to_owned())
    }

    async fn scan(&self, _from: &Key, _limit: u64) -> Result<u64> {
        Err("not here".to_owned())
    }

    async fn load(&self, _records: Vec<(Key, Bytes)>) -> Result<()> {
        Err("not here".to_owned())
    }
}

fn stalling(stalls_at: usize) -> Arc<dyn Target> {
    Arc::new(Stalling { asked: AtomicUsize::new(0), stalls_at })
}

fn mem() -> (Arc<dyn Engine>, Arc<dyn Target>) {
    let engine: Arc<dyn Engine> = Arc::new(rdb_engine_mem::open(&MemConfig::default()).unwrap());
    (Arc::clone(&engine), Arc::new(EngineTarget::new(engine, "mem", Some(Durability::Volatile))))
}

/// Small, and for so many operations.
fn settings(workload: Workload, operations: u64) -> Settings {
    Settings {
        records: 500,
        callers: 4,
        outstanding: 2,
        warm_up: Duration::ZERO,
        time: Duration::from_secs(60),
        operations: Some(operations),
        batch_records: 20,
        ..Settings::new(workload)
    }
}

async fn keys(engine: &dyn Engine) -> usize {
    let entries = engine.scan(Scan::new(KeyRange::all())).await.unwrap().data;
    entries.try_fold(0, |count, some| async move { Ok(count + some.len()) }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_counts_a_stall_that_a_closed_loop_hides() {
    let mut settings = Settings { callers: 1, warm_up: Duration::ZERO, ..Settings::new(Workload::Get) };
    settings.time = Duration::from_secs(10);
    let closed = Run::new(stalling(3), settings.clone()).measure().await.unwrap();
    settings.rate = Some(100.0);
    let open = Run::new(stalling(3), settings).paced_by_runtime().measure().await.unwrap();
    // One request in a closed loop saw it; in the open one, the hundred that should have begun meanwhile.
    assert!(closed.latency.p99_9_us < 5_000.0 && closed.latency.max_us > 990_000.0, "{closed:?}");
    assert!(open.latency.p99_us > 800_000.0 && open.latency.p50_us < 50_000.0, "{open:?}");
    assert!(open.operations.abs_diff(1_000) <= 1, "{}", open.operations);
    assert!(open.begun_late.unwrap().p99_us > 800_000.0);
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_is_not_kept_is_told() {
    let mut settings = Settings { callers: 1, warm_up: Duration::ZERO, ..Settings::new(Workload::Get) };
    (settings.time, settings.rate) = (Duration::from_secs(1), Some(10_000.0));
    // A millisecond each.
    let over = Run::new(stalling(usize::MAX), settings.clone()).paced_by_runtime().measure().await.unwrap();
    assert!((900..=1_000).contains(&over.operations), "{}", over.operations);
    assert!(over.not_begun > 8_500, "{}", over.not_begun);
    settings.rate = Some(100.0);
    let kept = Run::new(stalling(usize::MAX), settings).paced_by_runtime().measure().await.unwrap();
    assert!(kept.not_begun <= 1, "{}", kept.not_begun);
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_is_not_counted() {
    let mut settings = Settings { callers: 1, ..Settings::new(Workload::Get) };
    (settings.warm_up, settings.time) = (Duration::from_secs(2), Duration::from_secs(3));
    // The stall is within the warm-up.
    let measured = Run::new(stalling(3), settings).measure().await.unwrap();
    assert!(measured.latency.max_us < 10_000.0, "{}", measured.latency.max_us);
    assert!((2_000..=3_000).contains(&measured.operations), "{}", measured.operations);
    assert_eq!(measured.each_second.len(), 3);
    assert_eq!(measured.each_second.iter().sum::<u64>(), measured.operations);
    assert!((measured.per_second - measured.operations as f64 / 3.0).abs() < 1.0);
    assert_eq!(measured.misses, measured.operations);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_answered_is_an_error_and_keeps_nobody() {
    let settings = Settings { callers: 3, ..Settings::new(Workload::Put) };
    let measured = Run::new(stalling(0), settings).measure().await.unwrap();
    assert_eq!((measured.operations, measured.errors), (0, 3));
    assert!(measured.error_texts[0].contains("not answered"), "{:?}", measured.error_texts);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_tells_what_it_has() {
    let mut settings = Settings { callers: 2, warm_up: Duration::ZERO, ..Settings::new(Workload::Get) };
    settings.time = Duration::from_secs(3_600);
    for rate in [None, Some(100.0)] {
        settings.rate = rate;
        let stop = Stop::new();
        let run = Run::new(stalling(usize::MAX), settings.clone()).stop_by(stop.clone()).paced_by_runtime();
        let (measured, ()) = tokio::join!(run.measure(), async {
            sleep(Duration::from_secs(2)).await;
            stop.stop();
        });
        let measured = measured.unwrap();
        assert!(measured.stopped && measured.errors == 0, "{measured:?}");
        assert!((1.9..2.1).contains(&measured.elapsed_s), "{}", measured.elapsed_s);
        assert!(measured.operations >= 199, "{}", measured.operations);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_counted_and_shown_once() {
    let measured = Run::new(stalling(0), settings(Workload::Scan, 50)).measure().await.unwrap();
    assert_eq!((measured.operations, measured.errors), (0, 50));
    assert_eq!(measured.error_texts, ["not here"]);
    let failed = Run::new(stalling(0), settings(Workload::Scan, 50)).load().await.unwrap_err();
    assert!(failed.contains("not here"), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_of_each_phase() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let run = Run::new(stalling(usize::MAX), Settings::new(Workload::Get))
        .on_progress(move |progress| lock(&tell).push(progress));
    run.measure().await.unwrap();
    let told = lock(&told).clone();
    let of = |phase| told.iter().filter(move |progress| progress.phase == phase);
    assert!(of(Phase::WarmUp).count() >= 4 && of(Phase::Measure).count() >= 20, "{told:?}");
    assert!(of(Phase::Measure).all(|progress| progress.per_second > 0.0 && progress.done <= 1.0));
}

#[tokio::test]
async fn every_workload_runs_over_an_engine() {
    for workload in Workload::ALL {
        let (engine, target) = mem();
        let settings = settings(workload, 300);
        let run = Run::new(target, settings.clone());
        if workload.needs_records() {
            let loaded = run.load().await.unwrap();
            assert_eq!(loaded.kinds[&Kind::Load].records, 500, "{workload}");
            assert_eq!(keys(&*engine).await, 500, "{workload}");
        }
        let measured = run.measure().await.unwrap();
        assert_eq!((measured.errors, measured.misses), (0, 0), "{workload}: {:?}", measured.error_texts);
        assert_eq!(measured.operations, 300, "{workload}");
        let kinds: u64 = measured.kinds.values().map(|figures| figures.operations).sum();
        assert_eq!(kinds, 300, "{workload}");
        let inserted = measured.kinds.get(&Kind::Insert).map_or(0, |figures| figures.operations);
        let there = keys(&*engine).await as u64;
        match workload {
            Workload::Counter => {
                let counter = engine.get(&settings.keys().unwrap().counter()).await.unwrap().unwrap();
                assert_eq!(&counter.value[..], b"300");
            }
            Workload::Load => assert_eq!(there, 300 * 20),
            _ => assert_eq!(there, 500 + inserted, "{workload}"),
        }
    }
}

#[tokio::test]
async fn swaps_of_own_keys_meet_no_conflict_and_those_of_a_stranger_are_no_operations() {
    let (engine, target) = mem();
    let run = Run::new(Arc::clone(&target), settings(Workload::Cas, 2_000));
    run.load().await.unwrap();
    let measured = run.measure().await.unwrap();
    assert_eq!((measured.operations, measured.conflicts), (2_000, 0));

    let shared = Arc::new(Shared {
        target,
        settings: settings(Workload::Cas, 1_000),
        keys: run.settings.keys().unwrap(),
        pool: Values::pool(100, 1),
        stop: Stop::new(),
        inserted: AtomicU64::new(500),
        insert_end: u64::MAX,
        begun: AtomicU64::new(0),
    });
    let line = Line::prepare(shared, 0).await.unwrap();
    let stranger = Run::new(mem_of(&engine), settings(Workload::Put, 2_000));
    assert_eq!(stranger.measure().await.unwrap().operations, 2_000);
    let recorder = Mutex::new(Recorder::default());
    let now = Instant::now();
    line.run(&Times { measured: now, end: now + Duration::from_secs(60), pacer: None }, &recorder).await;
    let recorder = lock(&recorder);
    let swaps = recorder.kinds[Kind::Swap as usize].as_ref().unwrap();
    let counted: u64 = swaps.times.latency().buckets.iter().map(|bucket| bucket.count).sum();
    assert!(recorder.conflicts > 0);
    assert_eq!((swaps.done.records + recorder.conflicts, counted), (1_000, swaps.done.records));
}

fn mem_of(engine: &Arc<dyn Engine>) -> Arc<dyn Target> {
    Arc::new(EngineTarget::new(Arc::clone(engine), "mem", None))
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    for (wrong, because) in [
        (Settings { callers: 0, ..settings(Workload::Get, 1) }, "callers"),
        (Settings { records: 0, ..settings(Workload::A, 1) }, "needs records"),
        (Settings { records: 7, ..settings(Workload::Cas, 1) }, "record of its own"),
        (Settings { rate: Some(0.0), ..settings(Workload::Get, 1) }, "rate"),
        (Settings { key_bytes: 8, ..settings(Workload::Get, 1) }, "too short"),
    ] {
        let refused = Run::new(stalling(0), wrong).measure().await.unwrap_err();
        assert!(refused.contains(because), "{refused}");
    }
}
