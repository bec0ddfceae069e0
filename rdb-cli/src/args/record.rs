use std::time::Duration;

use clap::{ArgAction, ArgGroup};
use rdb_client::{Durability, Key, Version};

use super::parse::{durability, key, ttl, value, version};
use crate::duration;
use crate::value::Value;

/// Show the record under a key; on a pipe, the exact bytes of its value
///
/// A table and json show what is left of its life, too, where it has an end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rdb get photo > photo.jpg\n  rdb get session/17 -o json")]
pub(crate) struct Get {
    #[arg(value_parser = key())]
    pub(crate) key: Key,
}

/// Show how long the record under a key still lives; exit code 3 if there is none
///
/// Raw: milliseconds with their unit, as --ttl takes them, or `never`. As json: ttl_ms and expires_at_ms, both
/// null for a record that does not expire.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rdb ttl session/17\n  rdb ttl session/17 -o json")]
pub(crate) struct Ttl {
    #[arg(value_parser = key())]
    pub(crate) key: Key,
}

/// Store a value under a key, whatever was there before
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rdb put greeting hello\n  rdb put photo @photo.jpg\n  \
                        date | rdb put now -\n  rdb put session/17 alice --ttl 30m")]
pub(crate) struct Put {
    #[arg(value_parser = key())]
    pub(crate) key: Key,

    /// Text, `-`, or `@FILE`
    #[arg(value_parser = value(), allow_negative_numbers = true)]
    pub(crate) value: Value,

    /// Remove the record when so much time has passed: 500ms, 30s, 5m, 12h, 7d. Without this it stays, even
    /// where the record it replaces was to be removed
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub(crate) ttl: Option<Duration>,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// Remove the record under a key; exit code 3 if there is none
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb delete greeting")]
pub(crate) struct Delete {
    #[arg(value_parser = key())]
    pub(crate) key: Key,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// Compare and swap: store a value, or delete, only if the record is as expected
///
/// Where it is not, nothing is changed, the current record is shown, and the exit code is 4. With --wait it is
/// waited for, without polling; who came first has the first turn.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("expectation").required(true),
    after_help = "Examples:\n  rdb cas lock me --absent\n  rdb cas greeting hi --expect hello\n  \
                  rdb cas greeting hi --expect-version 17\n  \
                  rdb cas lock me --absent --wait 30s --ttl 5m\n  rdb cas lock --delete --expect me"
)]
pub(crate) struct Cas {
    #[arg(value_parser = key())]
    pub(crate) key: Key,

    /// The new value: text, `-`, or `@FILE`
    #[arg(
        value_parser = value(),
        allow_negative_numbers = true,
        required_unless_present = "delete",
        conflicts_with = "delete"
    )]
    pub(crate) new: Option<Value>,

    /// Delete the record instead of storing a value
    #[arg(long, conflicts_with = "absent")]
    pub(crate) delete: bool,

    /// Expect the record's version to be this one: safe against a value that changed and changed back
    #[arg(long, group = "expectation", value_name = "N", value_parser = version)]
    pub(crate) expect_version: Option<Version>,

    /// Expect the record's value to be this one: text, `-`, or `@FILE`
    #[arg(
        long,
        group = "expectation",
        value_name = "VALUE",
        value_parser = value(),
        allow_hyphen_values = true
    )]
    pub(crate) expect: Option<Value>,

    /// Expect no record under the key
    #[arg(long, group = "expectation")]
    pub(crate) absent: bool,

    /// Expect a record under the key, whatever it holds
    #[arg(long, group = "expectation")]
    pub(crate) present: bool,

    /// Wait at most so long for the record to be as expected; exit code 4 when the time is over
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) wait: Option<Duration>,

    /// Remove the record when so much time has passed: 500ms, 30s, 5m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = ttl, conflicts_with = "delete")]
    pub(crate) ttl: Option<Duration>,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// How to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Write {
    /// How safe the write has to be when it is answered, at least; without this, the engine's default:
    /// gone with the process (volatile), survives the process (process), or on stable storage (synced)
    #[arg(long, value_name = "LEVEL", value_parser = durability())]
    pub(crate) durability: Option<Durability>,

    /// Whether the write is numbered, so that it takes effect once however often it has to be sent; false
    /// sends it once, and an answer that is lost leaves its outcome unknown
    #[arg(long, value_name = "YES", default_value_t = true, action = ArgAction::Set)]
    pub(crate) exactly_once: bool,
}
