use std::fmt;
use std::pin::Pin;

use futures::Stream;

use crate::{Entry, KeyRange, Result, Version};

/// Chunks of entries in scan order, never empty. The end of the stream is the end of the range; a scan
/// that stops before it ends in an error (C8). Keys and values may be slices of a buffer that the entries of a
/// chunk share: copy what is kept for long, so as not to keep the rest with it.
pub type EntryStream = Pin<Box<dyn Stream<Item = Result<Vec<Entry>>> + Send>>;

/// Something read from one view, and that view's version: the state after exactly the commits up to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct View<T> {
    /// The version of the view.
    pub version: Version,
    /// What was read from it.
    pub data: T,
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("version", &self.version.get()).finish_non_exhaustive()
    }
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Ascending key order.
    #[default]
    Forward,
    /// Descending key order.
    Reverse,
}

/// What a scan delivers of each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// Key and record.
    #[default]
    Records,
    /// The key alone.
    Keys,
}

/// What to scan: a range, an order, a limit, and what to deliver.
///
/// ```
/// use rdb_engine_api::{KeyRange, Scan};
///
/// let newest_ten_names = Scan::new(KeyRange::prefix("log/")).reverse().limit(10).keys_only();
/// assert_eq!(newest_ten_names.limit, Some(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scan {
    /// The keys to visit.
    pub range: KeyRange,
    /// The order to visit them in.
    pub direction: Direction,
    /// The most entries to deliver; all where there is none.
    pub limit: Option<u64>,
    /// What to deliver of each.
    pub projection: Projection,
}

impl Scan {
    /// A forward scan of whole records.
    pub const fn new(range: KeyRange) -> Self {
        Self { range, direction: Direction::Forward, limit: None, projection: Projection::Records }
    }

    /// Descending order.
    #[must_use]
    pub const fn reverse(mut self) -> Self {
        self.direction = Direction::Reverse;
        self
    }

    /// Ends after this many entries.
    #[must_use]
    pub const fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Delivers keys without records.
    #[must_use]
    pub const fn keys_only(mut self) -> Self {
        self.projection = Projection::Keys;
        self
    }
}
