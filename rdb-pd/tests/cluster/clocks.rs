//! Timestamps of the real process, whose clock goes wrong while it is killed and started again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rdb_client::{ErrorKind, Pd};
use rdb_engine_api::{Clock as _, SystemClock};

use crate::harness::{metric, until};
use crate::program::{Program, program};
use crate::relay::{Relay, Way};

const RESTARTS: usize = 20;
const CLIENTS: usize = 4;
const HOUR: f64 = 3_600.0;
/// How much of an hour is seen at least, whatever the seconds that the test takes.
const MOST: f64 = 3_500.0;

/// The library that gives a process another clock.
fn faketime() -> Option<PathBuf> {
    let places = ["/usr/lib", "/usr/local/lib", "/usr/lib64"].map(Path::new);
    let below = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
    let below = below.map(|entry| entry.path());
    let mut all = places.into_iter().map(Path::to_owned).chain(below);
    all.find_map(|place| {
        let library = place.join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    })
}

/// A clock that can be set under a running process.
#[derive(Debug)]
struct Set(PathBuf);

impl Set {
    fn to(&self, offset: f64) {
        // Never half of it.
        let draft = self.0.with_extension("new");
        std::fs::write(&draft, format!("{offset:+}")).unwrap();
        std::fs::rename(draft, &self.0).unwrap();
    }
}

/// What all clients together were given.
#[derive(Debug, Default)]
struct Given {
    /// The greatest timestamp that anyone has.
    greatest: AtomicU64,
    asked: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

/// Asks without end, and records the first and last of each answer.
async fn ask(pd: Pd, given: Arc<Given>, place: u32) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    while !given.stop.load(Ordering::SeqCst) {
        let before = given.greatest.load(Ordering::SeqCst);
        let count = 1 + (ranges.len() as u32 * 7 + place) % 500;
        match pd.timestamps(count).await {
            Ok(mut timestamps) => {
                let first = timestamps.next().unwrap().get();
                let last = timestamps.last().map_or(first, |last| last.get());
                assert!(first > before, "{first} given after {before}");
                assert_eq!(last - first + 1, u64::from(count));
                given.greatest.fetch_max(last, Ordering::SeqCst);
                given.asked.fetch_add(1, Ordering::SeqCst);
                ranges.push((first, last));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
                given.refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    ranges
}

/// How far a timestamp is ahead of the real time, in seconds.
fn ahead(timestamp: u64) -> f64 {
    let now = SystemClock::new().wall().duration_since(std::time::UNIX_EPOCH).unwrap();
    (timestamp >> 18) as f64 / 1_000.0 - now.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_rise_over_kills_and_a_clock_that_is_set_an_hour_back_and_an_hour_forward() {
    let Some(library) = faketime() else {
        // Past the test runner's capture.
        let skip = "skip: timestamps_rise_over_kills_and_a_clock_that_is_set_an_hour_back_and_an_hour_forward: \
                    libfaketime is not installed (Debian's package of that name)\n";
        drop(std::io::stderr().write_all(skip.as_bytes()));
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let clock = Set(directory.path().join("clock"));
    let start = || {
        let mut command = program(&directory.path().join("pd"));
        command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &clock.0);
        // The clock that only measures goes on as it does.
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Program::start(&mut command)
    };
    clock.to(0.0);
    let mut running = start();
    let relay = Relay::start(Way::To(running.addr)).await;
    let given = Arc::new(Given::default());
    let mut clients = Vec::new();
    for place in 0..CLIENTS {
        let pd = Pd::connect(relay.address().to_string()).await.unwrap();
        clients.push(tokio::spawn(ask(pd, Arc::clone(&given), place as u32)));
    }
    let more = async |answers: u64| {
        let enough = given.asked.load(Ordering::SeqCst) + answers;
        until("answers", async || given.asked.load(Ordering::SeqCst) >= enough).await;
    };
    more(50).await;
    assert!(ahead(given.greatest.load(Ordering::SeqCst)).abs() < MOST, "the clock is right as yet");

    // In force when it starts, and set while it runs.
    let settings =
        [(0.0, -HOUR), (-HOUR, -HOUR), (0.0, 0.0), (-HOUR, HOUR), (HOUR, -HOUR), (0.0, HOUR), (-HOUR, 0.0)];
    for restart in 0..RESTARTS {
        let (at_start, later) = settings[restart % settings.len()];
        if restart % 3 == 0 {
            running.terminate().await;
        } else {
            running.kill();
        }
        clock.to(at_start);
        running = start();
        relay.turn(Way::To(running.addr));
        more(50).await;
        clock.to(later);
        more(50).await;
        let greatest = given.greatest.load(Ordering::SeqCst);
        // That the clock really is another one.
        if later == HOUR {
            let name = "an hour ahead with the clock";
            until(name, async || ahead(given.greatest.load(Ordering::SeqCst)) > MOST).await;
        }
        if later == -HOUR {
            let name = "flaredb_pd_timestamps_ahead_seconds";
            let least = ahead(greatest).max(0.0) + MOST;
            until(name, async || metric(running.ops_addr, name).await >= least).await;
        }
    }
    given.stop.store(true, Ordering::SeqCst);
    let mut ranges = Vec::new();
    for client in clients {
        let of_one = client.await.unwrap();
        assert!(of_one.windows(2).all(|pair| pair[0].1 < pair[1].0), "rising for each");
        ranges.extend(of_one);
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "given once");
    let total: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    println!(
        "{total} timestamps in {} answers to {CLIENTS} clients over {RESTARTS} restarts; {} unavailable",
        ranges.len(),
        given.refused.load(Ordering::SeqCst)
    );
    running.terminate().await;
}
