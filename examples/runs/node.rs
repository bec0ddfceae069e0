//! A node as a process of its own, which can be killed and started again where it was.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdb_client::{Error, ErrorKind, Result};

/// The engine that keeps nothing over the end of its process.
pub(crate) const VOLATILE: &str = "mem";

/// How a node is started.
#[derive(Clone, Debug)]
pub(crate) struct NodePlan {
    /// The program.
    pub(crate) server: PathBuf,
    /// The engine's name.
    pub(crate) engine: String,
    pub(crate) directory: PathBuf,
    /// More flags.
    pub(crate) flags: Vec<String>,
}

/// A node's process; killed where this is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    plan: NodePlan,
    child: Child,
    address: String,
    ops_address: String,
    kills: usize,
}

impl Node {
    /// Starts a node at a free port; it serves when this returns.
    pub(crate) fn start(plan: NodePlan) -> Result<Self> {
        let (child, address, ops_address) = spawn(&plan, "127.0.0.1:0")?;
        Ok(Self { plan, child, address, ops_address, kills: 0 })
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// How often it was killed.
    pub(crate) const fn kills(&self) -> usize {
        self.kills
    }

    /// Kills it by SIGKILL, if it still runs.
    ///
    /// # Errors
    /// Where it had ended by itself before.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let ended = self.child.try_wait().map_err(broken)?;
        if let Some(status) = ended {
            return Err(Error::new(ErrorKind::Internal, "node ended by itself").with("status", status));
        }
        self.child.kill().map_err(broken)?;
        self.child.wait().map_err(broken)?;
        self.kills += 1;
        Ok(())
    }

    /// Starts it again, on the same directory and port.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        (self.child, _, self.ops_address) = spawn(&self.plan, &self.address)?;
        Ok(())
    }

    /// The memory that it holds, in bytes, by Linux's account.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
    }

    /// Its metrics, as the node serves them.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        let ask = || {
            let mut stream = TcpStream::connect(&self.ops_address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(stream, "GET /metrics HTTP/1.0\r\nhost: {}\r\n\r\n", self.ops_address)?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        ask().map(Metrics).map_err(broken)
    }

    /// The bytes of its data directory.
    pub(crate) fn disk(&self) -> u64 {
        size_of(&self.plan.directory)
    }
}

/// What a node counts, and what stands now.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// A value without labels; none where the node or its engine has no such metric.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process, the address it listens on, and that of its operations.
fn spawn(plan: &NodePlan, listen: &str) -> Result<(Child, String, String)> {
    let mut command = Command::new(&plan.server);
    command.args(["--engine", &plan.engine, "--listen", listen, "--ops-listen", "127.0.0.1:0"]);
    command.args(["--log", "error"]).args(&plan.flags);
    if plan.engine != VOLATILE {
        command.arg("--data-dir").arg(&plan.directory);
    }
    let cannot = |problem: &str| {
        Error::new(ErrorKind::Unavailable, problem.to_owned()).with("server", plan.server.display())
    };
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| cannot("cannot start the node").because(error))?;
    let (mut line, mut ops) = (String::new(), String::new());
    if let Some(out) = child.stdout.take() {
        let mut out = BufReader::new(out);
        out.read_line(&mut line).and_then(|_| out.read_line(&mut ops)).map_err(broken)?;
    }
    let addresses =
        line.trim_end().strip_prefix("listening on ").zip(ops.trim_end().strip_prefix("operations on "));
    match addresses {
        Some((address, ops_address)) => Ok((child, address.to_owned(), ops_address.to_owned())),
        None => {
            let _ = child.kill();
            let status = child.wait().map_err(broken)?;
            Err(cannot("node does not start").with("status", status))
        }
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "node's process is out of reach").because(error)
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(of) if of.is_dir() => size_of(&entry.path()),
        Ok(of) => of.len(),
        // Deleted meanwhile.
        Err(_) => 0,
    });
    sizes.sum()
}
