use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::until;

/// The placement driver as a program, on sled and free ports.
pub(crate) fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-pd"));
    command.env_remove("RUST_LOG").env("FLAREDB_PD_LOG", "error");
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--ops-listen",
        "127.0.0.1:0",
        "--engine",
        "sled",
        "--data-dir",
    ]);
    command.arg(directory);
    command
}

/// One that runs, killed where a test ends early.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) ops_addr: SocketAddr,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap()
    }

    /// Starts it, and returns what it says where it ends by itself.
    pub(crate) fn try_start(command: &mut Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut next = |prefix| lines.next()?.strip_prefix(prefix)?.parse().ok();
        let addresses = (next("listening on "), next("operations on "));
        let (Some(addr), Some(ops_addr)) = addresses else {
            let _ = child.kill();
            return Err(String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap());
        };
        Ok(Self { child, addr, ops_addr })
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().code(), None);
    }

    pub(crate) async fn terminate(mut self) {
        // The shell's own: a bare Debian has no other.
        let kill = format!("kill -s TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let mut code = None;
        until("ended", async || {
            code = self.child.try_wait().unwrap().map(|status| status.code());
            code.is_some()
        })
        .await;
        assert_eq!(code.unwrap(), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
