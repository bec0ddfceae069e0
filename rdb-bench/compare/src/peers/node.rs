use std::path::{Path, PathBuf};
use std::time::Duration;

use rdb_client::{Client, ClientBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::strings;
use crate::failure::Result;
use crate::folder::Folder;
use crate::process::Process;

/// What an engine still has to do after a load, by its metrics; an engine without them has nothing to do.
const BACKGROUND: [&str; 4] = [
    "flaredb_engine_rocksdb_write_buffers_waiting",
    "flaredb_engine_rocksdb_flushes_running",
    "flaredb_engine_rocksdb_compactions_running",
    "flaredb_engine_rocksdb_compaction_pending_bytes",
];
/// How often that is asked, and how often in a row it has to be nothing: one compaction may be followed by another.
const ASK: Duration = Duration::from_millis(200);
const QUIET: u32 = 5;

/// `rdb-server` on a data directory.
#[derive(Debug)]
pub(crate) struct Node {
    process: Process,
    address: String,
    operations: String,
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
        let operations = process.printed("operations on ").await?;
        process.ignore_output();
        Ok(Self {
            process,
            address,
            operations,
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

    /// Waits until its engine has nothing to do in the background, or until so much time is over; tells which of
    /// the two came first, in words, and when.
    pub(crate) async fn rest(&self, most: Duration) -> Result<String> {
        let begun = Instant::now();
        let mut quiet = 0;
        while begun.elapsed() < most {
            quiet = if at_work(&self.metrics().await?) { 0 } else { quiet + 1 };
            if quiet == QUIET {
                let seconds = begun.elapsed().as_secs_f64();
                return Ok(format!("at rest {seconds:.0} s after the load"));
            }
            sleep(ASK).await;
        }
        Ok(format!("still at work in the background {} s after the load", most.as_secs()))
    }

    /// What its page of metrics says.
    async fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.operations).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        match page.starts_with("HTTP/1.1 200 ") {
            true => Ok(page),
            false => Err("the node does not show its metrics".into()),
        }
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

/// Whether a page of metrics shows work in the background.
fn at_work(page: &str) -> bool {
    let values = page.lines().filter_map(|line| line.split_once(' '));
    let mut of_work = values.filter(|(name, _)| BACKGROUND.contains(name));
    of_work.any(|(_, value)| value.parse().is_ok_and(|value: f64| value > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_works_while_a_metric_of_its_background_is_above_zero() {
        let page = |compactions: &str, pending: &str| {
            format!(
                "# TYPE flaredb_engine_rocksdb_compactions_running gauge\n\
                 flaredb_engine_rocksdb_compactions_running {compactions}\n\
                 flaredb_engine_rocksdb_compaction_pending_bytes {pending}\n\
                 flaredb_engine_cache_hits_total 7\n"
            )
        };
        assert!(!at_work(&page("0.0", "0")));
        assert!(at_work(&page("1.0", "0")));
        assert!(at_work(&page("0.0", "1e9")));
        assert!(!at_work("flaredb_engine_cache_hits_total 7\n"), "no engine of these metrics");
    }
}
