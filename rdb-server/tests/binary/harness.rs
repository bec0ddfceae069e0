//! The program, run and asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLAREDB_") {
            command.env_remove(name);
        }
    }
    for name in ["RUST_LOG", "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command.env("FLAREDB_LOG", "warn");
    command
}

/// How a run that ends by itself ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

pub(crate) fn run(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), out: text(stdout), error: text(stderr) }
}

pub(crate) fn output(arguments: &[&str]) -> (Option<i32>, String) {
    let Ended { code, error, .. } = run(program().args(arguments));
    (code, error)
}

/// What succeeds prints.
pub(crate) fn printed(arguments: &[&str]) -> String {
    let Ended { code, out, error } = run(program().args(arguments));
    assert_eq!(code, Some(0), "{arguments:?}: {error}");
    out
}

/// A configuration file, gone with the directory.
pub(crate) fn file(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A running node, killed where a test ends early.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) ops_addr: SocketAddr,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped())
    }

    pub(crate) fn start_with(command: &mut Command, error: Stdio) -> Self {
        command.stdout(Stdio::piped()).stderr(error);
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

    pub(crate) fn signal(&self, name: &str) {
        // The shell's own: a bare Debian has no other.
        let kill = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// What went to standard error, once it has ended.
    pub(crate) fn error(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn end(&mut self) -> Option<i32> {
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

pub(crate) const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

pub(crate) fn mem() -> Command {
    let mut command = program();
    command.args(["--engine", "mem"]).args(FREE_PORTS);
    command
}

pub(crate) fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
