//! SIGTERM under load: the program ends in order, in time, and nothing that was acknowledged is lost.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests
#![cfg(any(feature = "rocks", feature = "sled"))]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use rdb_client::{Client, Engine, EngineExt as _, Key, KeyRange, RetryPolicy, Scan};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const ENGINE: &str = if cfg!(feature = "rocks") { "rocks" } else { "sled" };
const WRITERS: usize = 16;
const DRAIN: Duration = Duration::from_secs(3);

/// A node's process, killed where the test ends early.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rdb-server"))
            .args(["--engine", ENGINE, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .args(["--drain-timeout", "3s", "--log", "error", "--data-dir"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        match address {
            Some(address) => Self { child, address },
            None => panic!("{:?}", child.wait()),
        }
    }

    /// Returns the exit code, and how long it took.
    async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let start = Instant::now();
        // The shell's own: a bare Debian has no other.
        let kill = format!("kill -s TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), start.elapsed());
            }
            assert!(start.elapsed() < DRAIN * 2, "it does not end");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(writer: usize) -> Key {
    Key::new(format!("writer/{writer:02}")).unwrap()
}

/// What became of one writer's numbers.
#[derive(Default)]
struct Written {
    tried: AtomicU64,
    acknowledged: AtomicU64,
}

/// Writes one number after the other until that fails.
async fn write_on(client: Client, writer: usize, from: u64, written: Arc<Written>) {
    for number in from.. {
        written.tried.store(number, Ordering::SeqCst);
        match client.put(&key(writer), number.to_string()).await {
            Ok(_) => written.acknowledged.store(number, Ordering::SeqCst),
            Err(_) => return,
        }
    }
}

/// The number under each writer's key.
async fn numbers(client: &Client) -> Vec<u64> {
    let mut numbers = Vec::new();
    for writer in 0..WRITERS {
        let record = client.get(&key(writer)).await.unwrap();
        numbers.push(record.map_or(0, |record| String::from_utf8_lossy(&record.value).parse().unwrap()));
    }
    numbers
}

/// `FLAREDB_SIGTERM_ROUNDS` of them, else a few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_it_in_time_and_loses_nothing_acknowledged() {
    let rounds = std::env::var("FLAREDB_SIGTERM_ROUNDS").map_or(4, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds {
        let mut node = Running::start(directory.path());
        let connect =
            || Client::builder().endpoint(&node.address).retry(RetryPolicy::default().attempts(1)).connect();
        let client = connect().await.unwrap();
        let from = numbers(&client).await;
        for number in 0..64 {
            let key = Key::new(format!("bulk/{number:02}")).unwrap();
            client.put(&key, vec![7; 256 << 10]).await.unwrap();
        }
        // Clients that would hold up a node that waits for them.
        let silent = TcpStream::connect(&node.address).await.unwrap();
        let idle = connect().await.unwrap();
        let mut unread = idle.scan(Scan::new(KeyRange::all())).await.unwrap().data;
        assert!(unread.next().await.unwrap().is_ok());

        let written: Vec<Arc<Written>> = (0..WRITERS).map(|_| Arc::default()).collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let next = from[writer] + 1;
                tokio::spawn(write_on(client.clone(), writer, next, Arc::clone(&written[writer])))
            })
            .collect();
        sleep(Duration::from_millis(50 + 37 * (round % 10))).await;
        let (code, took) = node.terminate().await;
        assert_eq!(code, Some(0), "round {round}");
        assert!(took <= DRAIN, "round {round}: {took:?}");
        slowest = slowest.max(took);
        for writer in writers {
            timeout(DRAIN, writer).await.unwrap().unwrap();
        }
        drop((silent, unread, idle));

        let node = Running::start(directory.path());
        let client = Client::connect(&node.address).await.unwrap();
        for (writer, found) in numbers(&client).await.into_iter().enumerate() {
            let written = &written[writer];
            let (last, tried) =
                (written.acknowledged.load(Ordering::SeqCst), written.tried.load(Ordering::SeqCst));
            let last = last.max(from[writer]);
            assert!(
                (last..=tried).contains(&found),
                "round {round}: {last} to {tried}, but {found} is there"
            );
            acknowledged += last - from[writer];
        }
    }
    println!(
        "{rounds} times on {ENGINE}: {acknowledged} writes acknowledged, none lost; slowest end {slowest:?}"
    );
}
