use std::fmt;
use std::num::NonZeroU64;
use std::time::SystemTime;

use bytes::Bytes;

use crate::Key;

/// The number of a commit: never 0, greater than that of every earlier commit of the engine (C4), and
/// never given twice (C5). Versions of different engines are not comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The smallest version.
    pub const MIN: Self = Self(NonZeroU64::MIN);

    /// Wraps a number; none for 0.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is stored under a key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The value, opaque bytes.
    pub value: Bytes,
    /// The version of the commit that wrote this record (C4).
    pub version: Version,
    /// The instant from which on the record may be removed, where it has one (C15).
    pub expires_at: Option<SystemTime>,
}

impl Record {
    /// A record that does not expire.
    pub const fn new(value: Bytes, version: Version) -> Self {
        Self { value, version, expires_at: None }
    }
}

/// Values are user data: only their length is shown.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Record");
        debug.field("value_bytes", &self.value.len()).field("version", &self.version.get());
        if let Some(expires_at) = &self.expires_at {
            debug.field("expires_at", expires_at);
        }
        debug.finish()
    }
}

/// A key and what is stored under it, as a scan delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The record; none in a scan of [`Projection::Keys`](crate::Projection::Keys).
    pub record: Option<Record>,
}

impl Entry {
    /// An entry.
    pub const fn new(key: Key, record: Option<Record>) -> Self {
        Self { key, record }
    }
}
