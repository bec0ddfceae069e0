//! The program as an operator meets it: flags, what it prints, signals, exit codes, and a clock of its own.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdb_proto::pd::v1::pd_client::PdClient;
use rdb_proto::pd::v1::{ClusterRequest, TimestampsRequest};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::transport::Endpoint;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-pd"));
    command.env_remove("RUST_LOG").env("FLAREDB_PD_LOG", "error");
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A running placement driver, killed where a test ends early.
struct Running {
    child: Child,
    addr: SocketAddr,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.next().unwrap_or_default();
        let addr = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let is_whole = lines.next().is_some_and(|line| line.starts_with("operations on "));
        let Some(addr) = addr.filter(|_| is_whole) else {
            let _ = child.kill();
            panic!("{:?}", child.wait_with_output());
        };
        Self { child, addr }
    }

    fn signal(&self, name: &str) {
        // The shell's own: a bare Debian has no other.
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
    }

    /// The cluster's id, and the first and last of timestamps asked for in many requests.
    fn ask(&self) -> (u64, u64, u64) {
        Runtime::new().unwrap().block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.addr)).unwrap();
            let mut client = PdClient::new(endpoint.connect().await.unwrap());
            let cluster = client.cluster(ClusterRequest {}).await.unwrap().into_inner().cluster_id;
            let requests =
                tokio_stream::iter((1..=100).map(|count| TimestampsRequest { count: count * 1_000 }));
            let mut answers = client.timestamps(requests).await.unwrap().into_inner();
            let (mut first, mut last) = (0, 0);
            while let Some(answer) = answers.next().await {
                let answer = answer.unwrap();
                assert!(answer.first > last);
                first = if first == 0 { answer.first } else { first };
                last = answer.first + u64::from(answer.count) - 1;
            }
            (cluster, first, last)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(feature = "sled")]
#[test]
fn timestamps_rise_over_twenty_restarts_with_and_without_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pd");
    let (mut clusters, mut last) = (Vec::new(), 0);
    for round in 0..20 {
        let arguments = ["--engine", "sled", "--data-dir", path.to_str().unwrap()];
        let mut driver = Running::start(program().args(arguments).args(FREE_PORTS));
        let (cluster, first, end) = driver.ask();
        assert!(first > last, "round {round}: {first} after {last}");
        last = end;
        clusters.push(cluster);
        if round % 3 == 0 {
            driver.signal("TERM");
            assert_eq!(driver.end(), Some(0));
        } else {
            driver.signal("KILL");
            assert_eq!(driver.end(), None);
        }
    }
    assert!(clusters[0] != 0 && clusters.iter().all(|cluster| *cluster == clusters[0]));
}

#[test]
fn either_signal_ends_it_in_order() {
    for signal in ["TERM", "INT"] {
        let mut driver = Running::start(program().args(["--engine", "mem"]).args(FREE_PORTS));
        driver.ask();
        driver.signal(signal);
        assert_eq!(driver.end(), Some(0));
    }
}

#[test]
fn it_has_defaults_of_its_own() {
    let (code, config, _) = output(&["--engine", "mem", "--print-config"]);
    assert_eq!(code, Some(0));
    for part in
        ["127.0.0.1:7430", "127.0.0.1:7431", "flaredb-pd-data", "timestamp-window", "heartbeat-interval"]
    {
        assert!(config.contains(part), "no `{part}` in\n{config}");
    }
}

#[test]
fn its_variables_have_a_prefix_of_their_own() {
    let mut command = program();
    command.args(["--engine", "mem", "--print-config"]).env("FLAREDB_PD_TIMESTAMP_WINDOW", "7s");
    let output = command.env("FLAREDB_LISTEN", "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let config = String::from_utf8(output.stdout).unwrap();
    assert!(config.contains("7s") && config.contains("FLAREDB_PD_TIMESTAMP_WINDOW"), "{config}");
}

#[test]
fn wrong_usage_is_told_and_exits_with_2() {
    for (arguments, told) in [
        (&["--timestamp-window", "1ms"][..], "time=`window`"),
        (&["--heartbeat-interval", "2h"], "time=`heartbeat_interval`"),
        (&["--timestamp-window", "soon"], "such as 500ms or 10s"),
        (&["--listen", "0.0.0.0:0"], "--insecure"),
        (&["--max-scans", "1"], "--max-scans"),
    ] {
        let (code, _, error) = output(&[&["--engine", "mem"], arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}

#[cfg(feature = "sled")]
#[test]
fn a_nodes_data_directory_is_refused() {
    use rdb_engine_api::{Engine as _, EngineExt as _, Key};
    use rdb_engine_sled::SledConfig;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node");
    Runtime::new().unwrap().block_on(async {
        let engine = rdb_engine_sled::open(&SledConfig::new(&path)).unwrap();
        engine.put(&Key::new("user/7").unwrap(), "x").await.unwrap();
        engine.close().await.unwrap();
    });
    let arguments = [&["--engine", "sled", "--data-dir", path.to_str().unwrap()][..], &FREE_PORTS].concat();
    let (code, _, error) = output(&arguments);
    assert_eq!(code, Some(1));
    assert!(error.contains("engine holds something else"), "{error}");
}

#[test]
fn help_teaches_with_examples() {
    let (code, help, _) = output(&["--help"]);
    assert_eq!(code, Some(0));
    for part in
        ["Examples:", "--data-dir", "FLAREDB_PD_DATA_DIR", "Exit codes:", "rocks", "--timestamp-window"]
    {
        assert!(help.contains(part), "no `{part}` in\n{help}");
    }
}
