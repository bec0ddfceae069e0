use std::ops::Bound;
use std::time::Duration;

use rdb_client::{Bytes, Key, KeyRange, Version};

use super::parse::{bytes, key, point, progress};
use crate::duration;

/// Which keys; all of them where nothing is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Range {
    /// Only keys that begin with this
    #[arg(long, value_parser = bytes(), allow_hyphen_values = true, conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<Bytes>,

    /// Only keys from this one on
    #[arg(long, value_name = "KEY", value_parser = bytes(), allow_hyphen_values = true)]
    pub(crate) from: Option<Bytes>,

    /// Only keys before this one
    #[arg(long, value_name = "KEY", value_parser = bytes(), allow_hyphen_values = true)]
    pub(crate) to: Option<Bytes>,
}

impl Range {
    /// The keys.
    pub(crate) fn keys(&self) -> KeyRange {
        match &self.prefix {
            Some(prefix) => KeyRange::prefix(prefix.clone()),
            None => KeyRange::new(
                self.from.clone().map_or(Bound::Unbounded, Bound::Included),
                self.to.clone().map_or(Bound::Unbounded, Bound::Excluded),
            ),
        }
    }
}

/// Show the records of a range, in key order, all from one view
///
/// Tables escape what cannot be printed and cut long values. As json, one object a line; keys and values
/// that are not UTF-8 come as key_base64 and value_base64. Raw: key, TAB, value, newline, with no escapes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rdb scan --prefix user/ --limit 10\n  rdb scan --prefix user/ --count-only\n  \
                  rdb scan --reverse --limit 1 --prefix log/"
)]
pub(crate) struct Scan {
    #[command(flatten)]
    pub(crate) range: Range,

    /// At most so many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// Last key first
    #[arg(long)]
    pub(crate) reverse: bool,

    /// Show no values
    #[arg(long)]
    pub(crate) keys_only: bool,

    /// Show only how many there are
    #[arg(long, conflicts_with = "keys_only")]
    pub(crate) count_only: bool,
}

/// Show every change of a key or range as it is committed, exactly once and in order
///
/// It goes on until Ctrl-C, over broken connections too. Each commit is shown whole and at once; its changes
/// have the same version. Every version shown is a place to go on after: --after VERSION misses nothing that
/// came later, as long as the node's history reaches back so far.
///
/// As json, one object a line, each with an event: put and delete are changes (with cause, and change and
/// changes, their number and count in the commit), record and gone are what --snapshot finds, snapshot is its
/// end, progress a mark of --progress. Raw: version, cause, put or delete, key, value, and with --previous absent, record
/// or omitted, and the value, separated by TABs, with no escapes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rdb watch greeting
  rdb watch --prefix user/ --previous -o json
  rdb watch --prefix config/ --snapshot     # what is there, then what changes
  rdb watch --after 1732357000000017        # go on where another watch ended
  rdb watch job/17 --limit 1 --for 1m       # wait for the next change")]
pub(crate) struct Watch {
    /// The key; without it, the keys of the options, or all
    #[arg(value_parser = key(), conflicts_with_all = ["prefix", "from", "to"])]
    pub(crate) key: Option<Key>,

    #[command(flatten)]
    pub(crate) range: Range,

    /// Show what was committed after this version; without this, from now on
    #[arg(long, value_name = "VERSION", value_parser = point, conflicts_with = "snapshot")]
    pub(crate) after: Option<Version>,

    /// Show the records that are there first, then what changes; and where the history does not reach back to
    /// go on, what has become different
    #[arg(long, conflicts_with = "previous")]
    pub(crate) snapshot: bool,

    /// Show what was there before each change, too
    #[arg(long)]
    pub(crate) previous: bool,

    /// Show how far the watch has come: where it begins, and so often where nothing changes; 5s if no TIME
    /// is given
    #[arg(
        long,
        value_name = "TIME",
        value_parser = progress,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5s"
    )]
    pub(crate) progress: Option<Duration>,

    /// End after so many commits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,

    /// End after so much time
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) time: Option<Duration>,
}

impl Watch {
    /// The keys to watch.
    pub(crate) fn keys(&self) -> KeyRange {
        match &self.key {
            Some(key) => {
                let key = Bytes::copy_from_slice(key.as_bytes());
                KeyRange::new(Bound::Included(key.clone()), Bound::Included(key))
            }
            None => self.range.keys(),
        }
    }
}
