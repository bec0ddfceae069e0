//! Runs the built command against a node in this process.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rdb_client::Engine;
use rdb_engine_mem::{MemConfig, MemEngine};
use rdb_server::{Node, NodeConfig, serve};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Runs `rdb` as a process that ignores no signal, however the tests are run.
pub(crate) const HEEDFUL: [&str; 2] = ["env", "--default-signal=HUP,INT,TERM"];
pub(crate) const SIGNALS: [(&str, i32, &str); 3] =
    [("HUP", 129, "hung up"), ("INT", 130, "interrupted"), ("TERM", 143, "terminated")];

pub(crate) struct Shell {
    pub(crate) engine: Arc<MemEngine>,
    pub(crate) endpoint: String,
    _node: Node,
}

/// How a run ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Shell {
    pub(crate) async fn new() -> Self {
        Self::with(MemConfig::default()).await
    }

    pub(crate) async fn with(config: MemConfig) -> Self {
        let engine = Arc::new(rdb_engine_mem::open(&config).unwrap());
        let node = serve_engine(Arc::clone(&engine)).await;
        Self { engine, endpoint: node.addr().to_string(), _node: node }
    }

    /// Runs `rdb` with these arguments.
    pub(crate) async fn rdb<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.rdb_with(args, b"").await
    }

    /// Runs `rdb` and gives it something to read.
    pub(crate) async fn rdb_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Ran {
        let mut child = start(&self.endpoint, args);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // It may end without having read it all.
        tokio::spawn(async move { stdin.write_all(&input).await });
        child.wait_with_output().await.unwrap().into()
    }

    /// Runs a line without quotes that must end well, and returns what it printed.
    pub(crate) async fn text(&self, line: &str) -> String {
        let ran = self.rdb(line.split(' ')).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
        String::from_utf8(ran.out).unwrap()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code().unwrap(), out: output.stdout, err }
    }
}

pub(crate) async fn serve_engine<E: Engine>(engine: Arc<E>) -> Node {
    serve(engine, NodeConfig::on_free_ports()).await.unwrap()
}

/// Starts `rdb` with all its streams piped.
pub(crate) fn start<S: AsRef<OsStr>>(endpoint: &str, args: impl IntoIterator<Item = S>) -> Child {
    begin(Command::new(env!("CARGO_BIN_EXE_rdb")), endpoint, args)
}

/// The same, by way of another program: what is in `line`, which is to run what comes behind it.
pub(crate) fn start_through<S: AsRef<OsStr>>(
    line: &[&str],
    endpoint: &str,
    args: impl IntoIterator<Item = S>,
) -> Child {
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).arg(env!("CARGO_BIN_EXE_rdb"));
    begin(command, endpoint, args)
}

fn begin<S: AsRef<OsStr>>(mut command: Command, endpoint: &str, args: impl IntoIterator<Item = S>) -> Child {
    let tls = ["TLS", "TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_SERVER_NAME"];
    for name in ["PD", "PRINT", "TIMEOUT", "CONNECT_TIMEOUT"].into_iter().chain(tls) {
        command.env_remove(format!("FLAREDB_{name}"));
    }
    command
        .args(args)
        .env("FLAREDB_ENDPOINTS", endpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

pub(crate) async fn send(signal: &str, child: &Child) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().await.unwrap().success());
}

pub(crate) async fn ended(child: Child) -> Ran {
    timeout(Duration::from_secs(10), child.wait_with_output()).await.unwrap().unwrap().into()
}
