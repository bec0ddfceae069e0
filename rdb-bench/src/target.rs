use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use rdb_engine_api::Key;
use serde::{Deserialize, Serialize};

/// What an operation of a target returns: errors are counted, and their text is shown.
pub type Result<T> = std::result::Result<T, String>;

/// What is measured: a store that many callers ask at once.
///
/// Each method is one request of a caller and returns when the target has answered; how requests share
/// connections is the target's own affair. A target that lacks an operation answers with an error.
#[async_trait]
pub trait Target: fmt::Debug + Send + Sync + 'static {
    /// What it is, for the report.
    fn info(&self) -> TargetInfo;

    /// The record under a key.
    async fn get(&self, key: &Key) -> Result<Option<Seen>>;

    /// The records under several keys, in their order.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Seen>>>;

    /// Stores a value, whatever was there before. Answers when it is as durable as [`TargetInfo`] says.
    async fn put(&self, key: &Key, value: Bytes) -> Result<()>;

    /// Stores a value if the record still has this version, or, for version 0, if there is none.
    async fn swap(&self, key: &Key, version: u64, value: Bytes) -> Result<Swap>;

    /// Reads up to `limit` records in the order of their keys, from this key on; answers with how many there
    /// were.
    async fn scan(&self, from: &Key, limit: u64) -> Result<u64>;

    /// Stores many records, in as few requests as the target can.
    async fn load(&self, records: Vec<(Key, Bytes)>) -> Result<()>;
}

/// A record as a target showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What a swap of it expects; 0 where the target has none to tell.
    pub version: u64,
    /// The value.
    pub value: Bytes,
}

/// What came of a compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It was stored, and has this version now.
    Done(u64),
    /// The record had another version: the present one, where the target tells it in the same answer.
    Conflict(Option<Seen>),
}

/// What a reader needs to know of a target to judge its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// How it is called in tables and plots, such as `rdb pipelined` or `etcd`.
    pub name: String,
    /// The version of the software.
    pub version: String,
    /// When a write is answered: `volatile`, `process` or `synced`, or the rival's own word for it.
    pub durability: String,
    /// With what it was started, where it is a program of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// What else there is to know: the engine, the number of connections, the size of a cache.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl TargetInfo {
    /// A target with nothing to tell besides.
    pub fn new(name: impl Into<String>, version: impl Into<String>, durability: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), durability: durability.into(), ..Self::default() }
    }

    /// Adds with what it was started.
    #[must_use]
    pub fn command_line(mut self, command_line: impl Into<String>) -> Self {
        self.command_line = Some(command_line.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.details.insert(name.into(), value.to_string());
        self
    }
}
