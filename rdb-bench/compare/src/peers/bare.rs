//! The least that a gRPC server and its client can do: the ceiling.

mod client;
mod server;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rdb_bench::{Seen, Settings, Swap, Target, TargetInfo};
use rdb_client::Key;
use tonic::transport::Channel;

use self::client::{Stream, connect};
pub(crate) use self::server::serve;
use super::{strings, text, unsupported};
use crate::failure::Result;
use crate::process::Process;
use crate::wire::bare::BareRequest;
use crate::wire::bare::bare_client::BareClient;

/// How far ahead of its reader a side may send, in one stream.
const STREAM_WINDOW: u32 = 4 << 20;
/// The same over a connection.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// The bare server, which is this program again, in a process of its own.
#[derive(Debug)]
pub(crate) struct Bare {
    process: Process,
    address: String,
}

impl Bare {
    /// Starts one that has the records of these settings.
    pub(crate) async fn start(settings: &Settings) -> Result<Self> {
        let records = settings.records.to_string();
        let (key_bytes, value_bytes) = (settings.key_bytes.to_string(), settings.value_bytes.to_string());
        let mut arguments = strings(["bare", "--records", &records]);
        arguments.extend(strings(["--key-bytes", &key_bytes, "--value-bytes", &value_bytes]));
        let folder = std::env::temp_dir();
        let mut process = Process::start(&std::env::current_exe()?, &arguments, &folder)?;
        let address = process.printed("listening on ").await?;
        process.ignore_output();
        Ok(Self { process, address })
    }

    /// Asks one key in one call.
    pub(crate) async fn unary(self) -> Result<Arc<dyn Target>> {
        let client = connect(&self.address).await?;
        let info = self.info("bare tonic unary");
        Ok(Arc::new(Unary { client, info, _server: self }))
    }

    /// Asks over one stream, in messages of up to 256 keys.
    pub(crate) async fn stream(self) -> Result<Arc<dyn Target>> {
        let stream = Stream::open(&self.address).await?;
        let info = self.info("bare stream");
        Ok(Arc::new(OverStream { stream, info, _server: self }))
    }

    fn info(&self, name: &str) -> TargetInfo {
        TargetInfo::new(name, env!("CARGO_PKG_VERSION"), "none").command_line(self.process.line())
    }
}

struct Unary {
    client: BareClient<Channel>,
    info: TargetInfo,
    _server: Bare,
}

struct OverStream {
    stream: Stream,
    info: TargetInfo,
    _server: Bare,
}

/// Reads, and nothing else: the records are there from the beginning.
macro_rules! reads_only {
    ($target:ty) => {
        impl fmt::Debug for $target {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.info.name)
            }
        }

        #[async_trait]
        impl Target for $target {
            fn info(&self) -> TargetInfo {
                self.info.clone()
            }

            async fn get(&self, key: &Key) -> rdb_bench::Result<Option<Seen>> {
                Ok(self.ask(key.to_bytes()).await?.map(|value| Seen { version: 0, value }))
            }

            async fn get_many(&self, _: &[Key]) -> rdb_bench::Result<Vec<Option<Seen>>> {
                unsupported("get_many")
            }

            async fn put(&self, _: &Key, _: Bytes) -> rdb_bench::Result<()> {
                unsupported("put")
            }

            async fn swap(&self, _: &Key, _: u64, _: Bytes) -> rdb_bench::Result<Swap> {
                unsupported("swap")
            }

            async fn scan(&self, _: &Key, _: u64) -> rdb_bench::Result<u64> {
                unsupported("scan")
            }

            async fn load(&self, _: Vec<(Key, Bytes)>) -> rdb_bench::Result<()> {
                Ok(())
            }
        }
    };
}

reads_only!(Unary);
reads_only!(OverStream);

impl Unary {
    async fn ask(&self, key: Bytes) -> rdb_bench::Result<Option<Bytes>> {
        let asked = self.client.clone().get(BareRequest { number: 0, key }).await;
        Ok(asked.map_err(text)?.into_inner().value)
    }
}

impl OverStream {
    async fn ask(&self, key: Bytes) -> rdb_bench::Result<Option<Bytes>> {
        self.stream.get(key).await.map_err(text)
    }
}
