use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, ErrorKind};

/// How safe a commit is when it is answered (C9), weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Gone with the process.
    Volatile,
    /// Survives the process, not a power cut: handed to the operating system.
    Process,
    /// On stable storage before the answer.
    Synced,
}

impl Durability {
    /// Every level, weakest first.
    pub const ALL: [Self; 3] = [Self::Volatile, Self::Process, Self::Synced];

    /// The level's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Process => "process",
            Self::Synced => "synced",
        }
    }

    /// What a commit of this level survives, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Volatile => "gone with the process",
            Self::Process => "survives the process, not a power cut",
            Self::Synced => "on stable storage before the answer",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Durability {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|level| level.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "unknown durability; known are volatile, process, synced")
                .with("durability", name.escape_debug())
        })
    }
}

/// What an engine does beyond the core. What it does not declare, it answers with
/// [`Unsupported`](ErrorKind::Unsupported) (C18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Records with a time to live (C15).
    pub expiry: bool,
    /// Watches (C16).
    pub watch: bool,
    /// Exactly-once writes (C17).
    pub sessions: bool,
    /// Restoring a view into an empty engine (C19).
    pub restore: bool,
    /// Writes that wait for their conditions to hold (C20).
    pub blocking: bool,
}

/// The limits an engine holds its callers to (C14). A request beyond one of the first group is
/// [`InvalidArgument`](ErrorKind::InvalidArgument) before anything happens; a full one of the second
/// group answers [`Exhausted`](ErrorKind::Exhausted). Keys are limited to
/// [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES) by their type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest value, in bytes.
    pub max_value_bytes: usize,
    /// The most conditions and operations of a batch together.
    pub max_batch_len: usize,
    /// The most bytes of a batch: its keys and values together, of conditions and operations. Also the most
    /// bytes of the records that one [`get_many`](crate::Engine::get_many) reads.
    pub max_batch_bytes: usize,
    /// The most keys of one [`get_many`](crate::Engine::get_many).
    pub max_get_many_keys: usize,

    /// The most scans open at once. A local engine takes up to 384: each has a blocking thread of Tokio's.
    pub max_scans: usize,
    /// The most reads waiting for a place among those that may block on a disk.
    pub max_waiting_reads: usize,
    /// The most writes waiting to be committed.
    pub max_queued_writes: usize,
    /// The most bytes of writes waiting to be committed.
    pub max_queued_bytes: usize,
    /// How long a scan may wait for its reader before it is ended with
    /// [`Exhausted`](ErrorKind::Exhausted).
    pub scan_idle: Duration,
    /// The most writes that wait for their conditions to hold (C20). They count against
    /// `max_queued_bytes` too.
    pub max_blocked_writes: usize,
    /// The most sessions open at once (C17); opening one more answers `Exhausted`.
    pub max_sessions: usize,
    /// How far the sequence numbers of a session may be above the greatest acknowledged one (C17). A write
    /// beyond it answers [`Unknown`](ErrorKind::Unknown) and is never executed.
    pub session_window: usize,
    /// How long a session may be idle before it is ended, unless it asked for less (C17).
    pub session_idle: Duration,
    /// The most watches open at once (C16).
    pub max_watches: usize,
    /// The most changes of keys that the history of commits keeps for watches (C16). What is older is
    /// compacted; a watcher that has not yet read it is ended with `Exhausted`. The latest commit is kept
    /// however large it is.
    pub max_history_ops: usize,
    /// The most bytes that the history keeps, of keys and values and of what holds them: in a local engine,
    /// some 250 for a commit of one key.
    pub max_history_bytes: usize,
    /// How long the history keeps a commit.
    pub history_age: Duration,
    /// How late a record may be removed after its time is over, while the engine is healthy and less is due
    /// than it can remove in that time (C15). The granularity of expiry is 1 ms.
    pub expiry_lag: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_value_bytes: 4 << 20,
            max_batch_len: 10_000,
            max_batch_bytes: 16 << 20,
            max_get_many_keys: 1_000,
            max_scans: 128,
            max_waiting_reads: 65_536,
            max_queued_writes: 65_536,
            max_queued_bytes: 64 << 20,
            scan_idle: Duration::from_secs(60),
            max_blocked_writes: 16_384,
            max_sessions: 4_096,
            session_window: 1_024,
            session_idle: Duration::from_secs(600),
            max_watches: 8_192,
            max_history_ops: 131_072,
            max_history_bytes: 64 << 20,
            history_age: Duration::from_secs(600),
            expiry_lag: Duration::from_secs(1),
        }
    }
}

/// What an engine is, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineInfo {
    /// The engine's short name, as `--engine` takes it.
    pub name: String,
    /// The version of its format on disk (C13).
    pub format: u32,
    /// What it does beyond the core.
    pub capabilities: Capabilities,
    /// The best durability it can reach (C9).
    pub best_durability: Durability,
    /// The durability of a write that asks for none.
    pub default_durability: Durability,
    /// Its limits.
    pub limits: Limits,
}

impl EngineInfo {
    /// An engine without capabilities, with the default limits, whose writes reach `durability`.
    pub fn new(name: impl Into<String>, format: u32, durability: Durability) -> Self {
        Self {
            name: name.into(),
            format,
            capabilities: Capabilities::default(),
            best_durability: durability,
            default_durability: durability,
            limits: Limits::default(),
        }
    }
}
