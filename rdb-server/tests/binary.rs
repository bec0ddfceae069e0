//! The program as an operator meets it: flags, what it prints, signals, exit codes.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rdb_proto::kv::v1;
use rdb_proto::kv::v1::kv_client::KvClient;
use tokio::time::Instant;
use tonic::transport::Endpoint;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-server"));
    command.env_remove("RUST_LOG").env("FLAREDB_LOG", "warn");
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = program().args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A running node, killed where a test ends early.
struct Running {
    child: Child,
    addr: SocketAddr,
    ops_addr: SocketAddr,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut line = |start: &str| {
            let line = lines.next().unwrap_or_default();
            line.strip_prefix(start).and_then(|address| address.parse().ok())
        };
        let addresses = (line("listening on "), line("operations on "));
        let (Some(addr), Some(ops_addr)) = addresses else {
            let _ = child.kill();
            panic!("{:?}", child.wait_with_output());
        };
        Self { child, addr, ops_addr }
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
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

fn mem() -> Command {
    let mut command = program();
    command.args(["--engine", "mem"]).args(FREE_PORTS);
    command
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn either_signal_ends_it_in_order() {
    for signal in ["TERM", "INT"] {
        let mut node = Running::start(&mut mem());
        assert!(get(node.ops_addr, "/readyz").starts_with("HTTP/1.1 200"));
        node.signal(signal);
        assert_eq!(node.end(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut node = Running::start(mem().args(["--drain-timeout", "10m"]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // More than fits between node and client, so that the scan goes on.
    let unread = runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{}", node.addr)).unwrap();
        let mut kv = KvClient::new(endpoint.connect().await.unwrap());
        for key in 0..6 {
            let put = Some(v1::Put { value: vec![7; 4 << 20].into(), ttl_ms: None });
            let request = v1::PutRequest { key: vec![key].into(), put, options: None };
            let _ = kv.put(request).await.unwrap();
        }
        let range = Some(v1::scan_request::Range::Prefix(Default::default()));
        kv.scan(v1::ScanRequest { range, ..Default::default() }).await.unwrap()
    });
    node.signal("TERM");
    while !get(node.ops_addr, "/readyz").starts_with("HTTP/1.1 503") {}
    node.signal("TERM");
    assert_eq!(node.end(), Some(1));
    drop(unread);
}

/// The engine hangs in what it reads first, as on a disk that does not answer.
#[cfg(feature = "sled")]
#[test]
fn a_signal_ends_it_while_its_engine_is_being_opened() {
    for signal in ["TERM", "INT"] {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("FLAREDB");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let arguments = ["--engine", "sled", "--data-dir", directory.path().to_str().unwrap()];
        let mut command = program();
        let child = command.args(arguments).args(FREE_PORTS).stderr(Stdio::null()).spawn().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Running { child, addr: nowhere, ops_addr: nowhere };
        // Waits for the other end to be opened, and with it for the engine to begin.
        let _unwritten = std::fs::File::options().write(true).open(&pipe).unwrap();
        node.signal(signal);
        assert_eq!(node.end(), Some(0));
    }
}

#[test]
fn a_flag_wins_over_its_variable_and_the_variable_over_the_default() {
    let mut by_variable = program();
    by_variable.env("FLAREDB_ENGINE", "mem").env("FLAREDB_LISTEN", "127.0.0.1:0");
    by_variable.env("FLAREDB_OPS_LISTEN", "nonsense").args(["--ops-listen", "127.0.0.1:0"]);
    let mut node = Running::start(&mut by_variable);
    assert!(get(node.ops_addr, "/metrics").contains("engine=\"mem\""));
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
}

#[test]
fn wrong_usage_is_told_and_exits_with_2() {
    for (arguments, told) in [
        (&["--engine", "leveldb"][..], "leveldb"),
        (&["--engine", "mem", "--data-dir", "x"], "--data-dir and --engine mem contradict each other"),
        (&["--engine", "mem", "--cache-size", "1GiB"], "--cache-size and --engine mem contradict each other"),
        (&["--engine", "mem", "--listen", "0.0.0.0:0"], "--insecure"),
        (&["--engine", "mem", "--ops-listen", "0.0.0.0:0"], "setting=`ops-listen`"),
        (&["--engine", "mem", "--listen", "127.0.0.1:9", "--ops-listen", "127.0.0.1:9"], "are the same"),
        (&["--listen", "localhost"], "localhost"),
        (&["--max-value-size", "4MB"], "such as 256MiB"),
        (&["--max-value-size", "99999999999GiB"], "such as 256MiB"),
        (&["--drain-timeout", "10"], "such as 500ms or 10s"),
        (&["--drain-timeout", "0s"], "above 0"),
        (&["--default-durability", "eternal"], "volatile, process, synced"),
        (&["--max-scans", "-1"], "-1"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--max-in-flight", "0"], "0 is not in 1.."),
        (
            &["--engine", "mem", "--max-in-flight-size", "1MiB"],
            "max-in-flight-size is below the longest message",
        ),
        (
            &["--engine", "mem", "--default-durability", "synced"],
            "default durability is above the engine's best",
        ),
        (&["--engine", "mem", "--drain-timeout", "9000h"], "up to a year"),
    ] {
        let (code, error) = output(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}

#[test]
fn what_goes_wrong_later_is_told_and_exits_with_1() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let (code, error) = output(&["--engine", "mem", "--ops-listen", "127.0.0.1:0", "--listen", &address]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.starts_with("error: cannot listen") && error.contains(&address), "{error}");
}

#[cfg(feature = "sled")]
#[test]
fn a_directory_that_is_anothers_or_in_use_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let sled = ["--engine", "sled", "--data-dir", path.to_str().unwrap()];
    let arguments = [&sled[..], &FREE_PORTS].concat();

    let mut node = Running::start(program().args(&arguments));
    let (code, error) = output(&arguments);
    assert_eq!(code, Some(1));
    assert!(error.contains(sled[3]) && error.contains(&node.child.id().to_string()), "{error}");
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));

    let path = directory.path().join("foreign");
    drop(rdb_engine_api::DataDirectory::open(&path, "other", 1).unwrap());
    let arguments = ["--engine", "sled", "--data-dir", path.to_str().unwrap()];
    let (code, error) = output(&arguments);
    assert_eq!(code, Some(1));
    assert!(error.contains(arguments[3]) && error.contains("other"), "{error}");
}

#[cfg(not(feature = "rocks"))]
#[test]
fn an_engine_that_is_not_compiled_in_is_named_with_its_feature() {
    let (code, error) = output(&["--engine", "rocks"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("feature=`rocks`"), "{error}");
}

#[test]
fn help_teaches_with_examples() {
    let help = program().arg("--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for part in ["Examples:", "--data-dir", "FLAREDB_DATA_DIR", "Exit codes:", "rocks"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}
