use std::path::{Path, PathBuf};

use rdb_client::{Client, ClientBuilder};

use super::strings;
use crate::failure::Result;
use crate::folder::Folder;
use crate::process::Process;

/// `rdb-server` on a data directory.
#[derive(Debug)]
pub(crate) struct Node {
    process: Process,
    address: String,
    program: PathBuf,
    engine: String,
    flags: Vec<String>,
    /// Behind the process: it goes when that is gone.
    data: Folder,
}

impl Node {
    /// A node on a new data directory.
    pub(crate) async fn start(program: &Path, engine: &str, flags: &[&str], disk: &Path) -> Result<Self> {
        Self::start_on(Folder::new(disk, "node")?, program, engine, &strings(flags)).await
    }

    /// A node on a data directory that may hold data.
    async fn start_on(data: Folder, program: &Path, engine: &str, flags: &[String]) -> Result<Self> {
        if !program.is_file() {
            let hint = "build it with cargo build --release --workspace --locked, or say --server PATH";
            return Err(format!("rdb-server is not beside this program; {hint}").into());
        }
        let mut arguments = strings(["--engine", engine, "--listen", "127.0.0.1:0"]);
        arguments.extend(strings(["--ops-listen", "127.0.0.1:0", "--log", "error"]));
        if engine != "mem" {
            arguments.extend(["--data-dir".to_owned(), data.path().join("data").display().to_string()]);
        }
        arguments.extend_from_slice(flags);
        let mut process = Process::start(program, &arguments, data.path())?;
        let address = process.printed("listening on ").await?;
        process.ignore_output();
        Ok(Self {
            process,
            address,
            program: program.to_owned(),
            engine: engine.to_owned(),
            flags: flags.to_vec(),
            data,
        })
    }

    /// Its command line.
    pub(crate) fn line(&self) -> &str {
        self.process.line()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// What makes a client of it.
    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder().endpoint(self.address.clone())
    }

    /// Ends it, in good order or not, and keeps its data.
    pub(crate) async fn stop(self, in_good_order: bool) -> Result<Stopped> {
        let Self { process, program, engine, flags, data, .. } = self;
        match in_good_order {
            true => process.end().await?,
            false => process.kill().await?,
        }
        Ok(Stopped { program, engine, flags, data })
    }
}

/// A node that does not run, and its data.
#[derive(Debug)]
pub(crate) struct Stopped {
    program: PathBuf,
    engine: String,
    flags: Vec<String>,
    data: Folder,
}

impl Stopped {
    /// Starts it again; returns when it serves.
    pub(crate) async fn start(self) -> Result<Node> {
        Node::start_on(self.data, &self.program, &self.engine, &self.flags).await
    }
}
