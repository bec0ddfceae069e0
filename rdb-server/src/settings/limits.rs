use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use rdb_engine_api::{History, Limits};

use super::{Size, Time};

/// What an engine's callers are held to (C14), and where it keeps its history.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of the engine")]
#[non_exhaustive]
pub struct LimitArgs {
    /// The longest value
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_value_bytes))]
    max_value_size: Size,

    /// The most bytes of a batch, keys and values together
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_batch_bytes))]
    max_batch_size: Size,

    /// The most conditions and operations of a batch together
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_batch_len, value_parser = number())]
    max_batch_len: usize,

    /// The most keys of one read of many
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_get_many_keys, value_parser = number())]
    max_get_many_keys: usize,

    /// The most writes waiting to be committed
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_queued_writes, value_parser = number())]
    max_queued_writes: usize,

    /// The most bytes of writes waiting to be committed
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_queued_bytes))]
    max_queued_size: Size,

    /// The most reads waiting for a place among those that may block on a disk
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_waiting_reads, value_parser = number())]
    max_waiting_reads: usize,

    /// The most scans open at once, up to 384
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_scans, value_parser = number())]
    max_scans: usize,

    /// How long a scan may wait for its reader
    #[arg(long, value_name = "TIME", default_value_t = Time(Limits::default().scan_idle))]
    scan_idle: Time,

    /// The most writes that wait for their conditions to hold
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_blocked_writes, value_parser = number())]
    max_blocked_writes: usize,

    /// The most sessions open at once, one for each client whose writes are applied once however often they arrive
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_sessions, value_parser = number())]
    max_sessions: usize,

    /// The most writes of a session whose outcomes its client may still ask for
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().session_window, value_parser = number())]
    session_window: usize,

    /// How long a session may be without a request before it is ended, unless it asked for less
    #[arg(long, value_name = "TIME", default_value_t = Time(Limits::default().session_idle))]
    session_idle: Time,

    /// The most watches open at once
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_watches, value_parser = number())]
    max_watches: usize,

    /// The most changes of keys kept for watches: one that falls further behind is ended, and cannot resume
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().max_history_ops, value_parser = number())]
    max_history_ops: usize,

    /// The most bytes of these changes: keys, values, and what holds them
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_history_bytes))]
    max_history_size: Size,

    /// How long these changes are kept
    #[arg(long, value_name = "TIME", default_value_t = Time(Limits::default().history_age))]
    history_age: Time,

    /// Where these changes are kept
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = WatchHistory::Memory)]
    watch_history: WatchHistory,

    /// How late a record may be removed whose time to live is over
    #[arg(long, value_name = "TIME", default_value_t = Time(Limits::default().expiry_lag))]
    expiry_lag: Time,
}

/// Where the history of changes is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WatchHistory {
    /// In memory: a restart ends every watch as compacted
    Memory,
    /// In the store too: a watch goes on over a restart; every value is written twice
    Durable,
}

/// A number above 0.
pub(super) fn number() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl LimitArgs {
    /// The limits, as an engine is opened with.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_value_bytes = self.max_value_size.0;
        limits.max_batch_bytes = self.max_batch_size.0;
        limits.max_batch_len = self.max_batch_len;
        limits.max_get_many_keys = self.max_get_many_keys;
        limits.max_queued_writes = self.max_queued_writes;
        limits.max_queued_bytes = self.max_queued_size.0;
        limits.max_waiting_reads = self.max_waiting_reads;
        limits.max_scans = self.max_scans;
        limits.scan_idle = self.scan_idle.0;
        limits.max_blocked_writes = self.max_blocked_writes;
        limits.max_sessions = self.max_sessions;
        limits.session_window = self.session_window;
        limits.session_idle = self.session_idle.0;
        limits.max_watches = self.max_watches;
        limits.max_history_ops = self.max_history_ops;
        limits.max_history_bytes = self.max_history_size.0;
        limits.history_age = self.history_age.0;
        limits.expiry_lag = self.expiry_lag.0;
        limits
    }

    /// Where the history is kept, as an engine is opened with.
    pub const fn history(&self) -> History {
        match self.watch_history {
            WatchHistory::Memory => History::Memory,
            WatchHistory::Durable => History::Durable,
        }
    }

    /// The longest message that a node needs for these limits, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        rdb_proto::max_message_bytes(&self.limits())
    }
}
