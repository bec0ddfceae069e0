use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rdb_bench::{Seen, Swap, Target, TargetInfo};
use rdb_client::Key;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::{find, free_port, strings, text, unsupported, version};
use crate::failure::Result;
use crate::folder::Folder;
use crate::process::{self, Process};

/// The records that are set in one go while data is loaded.
const LOAD: u64 = 1_000;

/// What Redis keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Nothing: memory alone.
    Off,
    /// Its append-only file, synced before each answer.
    Always,
}

/// One Redis server.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Process,
    port: u16,
    /// Behind the process: it goes when that is gone.
    data: Folder,
    durability: &'static str,
    version: String,
}

impl Redis {
    /// Starts one on a new folder.
    pub(crate) async fn start(persistence: Persistence, disk: &Path) -> Result<Self> {
        let program = find("redis-server", "redis-server")?;
        let data = Folder::new(disk, "redis")?;
        let port = free_port()?;
        let mut arguments = strings(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        arguments.extend(["--dir".to_owned(), data.path().display().to_string()]);
        arguments.extend(match persistence {
            Persistence::Off => strings(["--appendonly", "no"]),
            // Without rewrites, which would only slow it down.
            Persistence::Always => strings([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--auto-aof-rewrite-percentage",
                "0",
            ]),
        });
        let mut process = Process::start(&program, &arguments, data.path())?;
        process.ignore_output();
        let redis = redis::Client::open(("127.0.0.1", port))?;
        process
            .serves(async || {
                let mut connection = redis.get_multiplexed_async_connection().await?;
                Ok(redis::cmd("PING").query_async::<()>(&mut connection).await?)
            })
            .await?;
        let durability = match persistence {
            Persistence::Off => "none",
            Persistence::Always => "appendfsync always",
        };
        Ok(Self { process, port, data, durability, version: version(&program).await })
    }

    /// Its command line.
    pub(crate) fn line(&self) -> String {
        self.without_port(self.process.line())
    }

    fn without_port(&self, line: &str) -> String {
        line.replace(&self.port.to_string(), "PORT")
    }

    /// One connection.
    async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// Sets the keys that redis-benchmark asks for.
    pub(crate) async fn load(&self, records: u64, value_bytes: usize) -> Result<()> {
        let mut connection = self.connect().await?;
        let value = vec![b'v'; value_bytes];
        for from in (0..records).step_by(LOAD as usize) {
            let mut pipe = redis::pipe();
            for number in from..(from + LOAD).min(records) {
                pipe.set(format!("key:{number:012}"), &value[..]).ignore();
            }
            pipe.query_async::<()>(&mut connection).await?;
        }
        Ok(())
    }

    /// Asks it over one connection that all callers share.
    pub(crate) async fn target(self) -> Result<Arc<dyn Target>> {
        let connection = self.connect().await?;
        let info = TargetInfo::new("Redis, multiplexed", self.version.clone(), self.durability)
            .command_line(self.line());
        Ok(Arc::new(RedisTarget { connection, info, server: self }))
    }

    /// Runs redis-benchmark, unpipelined: its command line without the port, and what it measured.
    pub(crate) async fn benchmark(
        &self,
        test: &str,
        clients: usize,
        requests: u64,
        keys: u64,
    ) -> Result<(String, Benchmarked)> {
        let program = find("redis-benchmark", "redis-tools")?;
        let mut arguments = strings(["-p", &self.port.to_string(), "-t", test, "-c", &clients.to_string()]);
        arguments.extend(strings([
            "-n",
            &requests.to_string(),
            "-r",
            &keys.to_string(),
            "-d",
            "100",
            "--csv",
        ]));
        let csv = process::output(&program, &arguments).await?;
        let line = process::shown(&program, &arguments, self.data.path());
        Ok((self.without_port(&line), Benchmarked::parse(&csv)?))
    }
}

struct RedisTarget {
    connection: MultiplexedConnection,
    info: TargetInfo,
    server: Redis,
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTarget").field("server", &self.server).finish_non_exhaustive()
    }
}

#[async_trait]
impl Target for RedisTarget {
    fn info(&self) -> TargetInfo {
        self.info.clone()
    }

    async fn get(&self, key: &Key) -> rdb_bench::Result<Option<Seen>> {
        let mut connection = self.connection.clone();
        let found: Option<Vec<u8>> = connection.get(key.as_bytes()).await.map_err(text)?;
        Ok(found.map(|value| Seen { version: 0, value: value.into() }))
    }

    async fn get_many(&self, keys: &[Key]) -> rdb_bench::Result<Vec<Option<Seen>>> {
        let mut mget = redis::cmd("MGET");
        keys.iter().for_each(|key| _ = mget.arg(key.as_bytes()));
        let found: Vec<Option<Vec<u8>>> =
            mget.query_async(&mut self.connection.clone()).await.map_err(text)?;
        Ok(found.into_iter().map(|value| Some(Seen { version: 0, value: value?.into() })).collect())
    }

    async fn put(&self, key: &Key, value: Bytes) -> rdb_bench::Result<()> {
        self.connection.clone().set(key.as_bytes(), &value[..]).await.map_err(text)
    }

    async fn swap(&self, _: &Key, _: u64, _: Bytes) -> rdb_bench::Result<Swap> {
        unsupported("swap")
    }

    async fn scan(&self, _: &Key, _: u64) -> rdb_bench::Result<u64> {
        unsupported("scan")
    }

    async fn load(&self, records: Vec<(Key, Bytes)>) -> rdb_bench::Result<()> {
        let mut pipe = redis::pipe();
        for (key, value) in &records {
            pipe.set(key.as_bytes(), &value[..]).ignore();
        }
        pipe.query_async(&mut self.connection.clone()).await.map_err(text)
    }
}

/// What redis-benchmark measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Benchmarked {
    /// Requests a second.
    pub(crate) per_second: f64,
    /// Half of the requests took no longer, in microseconds.
    pub(crate) p50_us: f64,
    /// Of a hundred requests 99 took no longer, in microseconds.
    pub(crate) p99_us: f64,
}

impl Benchmarked {
    /// Reads the table of `--csv`: a line of names, and one of figures.
    fn parse(csv: &str) -> Result<Self> {
        let mut lines = csv.lines().map(|line| line.split(',').map(|field| field.trim_matches('"')));
        let (Some(names), Some(figures)) = (lines.next(), lines.next()) else {
            return Err("redis-benchmark printed no table".into());
        };
        let named: Vec<(&str, &str)> = names.zip(figures).collect();
        let figure = |wanted: &str| -> Result<f64> {
            let found = named.iter().find(|(name, _)| *name == wanted);
            let (_, text) = found.ok_or_else(|| format!("redis-benchmark does not tell {wanted}"))?;
            Ok(text.parse()?)
        };
        Ok(Self {
            per_second: figure("rps")?,
            p50_us: figure("p50_latency_ms")? * 1e3,
            p99_us: figure("p99_latency_ms")? * 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_redis_benchmark_is_read_by_its_names() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                   \"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"GET\",\"83333.34\",\"0.381\",\"0.136\",\"0.375\",\"0.479\",\"0.583\",\"1.167\"\n";
        let expected = Benchmarked { per_second: 83_333.34, p50_us: 375.0, p99_us: 583.0 };
        assert_eq!(Benchmarked::parse(csv).unwrap(), expected);
        assert_eq!(Benchmarked::parse("").unwrap_err().to_string(), "redis-benchmark printed no table");
    }
}
