//! A node as a process of its own, which can be killed and started again where it was.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
    kills: usize,
}

impl Node {
    /// Starts a node at a free port; it serves when this returns.
    pub(crate) fn start(plan: NodePlan) -> Result<Self> {
        let (child, address) = spawn(&plan, "127.0.0.1:0")?;
        Ok(Self { plan, child, address, kills: 0 })
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
        (self.child, _) = spawn(&self.plan, &self.address)?;
        Ok(())
    }

    /// The memory that it holds, in bytes, by Linux's account.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
    }

    /// The bytes of its data directory.
    pub(crate) fn disk(&self) -> u64 {
        size_of(&self.plan.directory)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(plan: &NodePlan, listen: &str) -> Result<(Child, String)> {
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
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(broken)?;
    }
    match line.trim_end().strip_prefix("listening on ") {
        Some(address) => Ok((child, address.to_owned())),
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
