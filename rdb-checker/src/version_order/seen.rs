use std::fmt;

use crate::{Blob, Condition, Record};

/// What an operation tells of the state of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen<'h> {
    Absent,
    Present,
    Record(u64, &'h Blob),
    Version(u64),
    Value(&'h Blob),
    NotVersion(u64),
    NotValue(&'h Blob),
}

impl<'h> Seen<'h> {
    /// A record, whose version was found to be there.
    pub(super) fn record(record: &'h Record) -> Self {
        Self::Record(record.version.unwrap_or_default(), &record.value)
    }

    pub(super) const fn held(condition: &'h Condition) -> Self {
        match condition {
            Condition::Absent => Self::Absent,
            Condition::Present => Self::Present,
            Condition::Version(version) => Self::Version(*version),
            Condition::Value(value) => Self::Value(value),
        }
    }

    pub(super) const fn failed(condition: &'h Condition) -> Self {
        match condition {
            Condition::Absent => Self::Present,
            Condition::Present => Self::Absent,
            Condition::Version(version) => Self::NotVersion(*version),
            Condition::Value(value) => Self::NotValue(value),
        }
    }

    /// Whether the state of the key, a version and a value, is what was seen.
    pub(super) fn agrees(self, version: u64, value: Option<&Blob>) -> bool {
        match self {
            Self::Absent => value.is_none(),
            Self::Present => value.is_some(),
            Self::Record(seen, content) => version == seen && value == Some(content),
            Self::Version(seen) => value.is_some() && version == seen,
            Self::Value(content) => value == Some(content),
            Self::NotVersion(seen) => value.is_none() || version != seen,
            Self::NotValue(content) => value != Some(content),
        }
    }
}

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Present => f.write_str("present"),
            Self::Record(version, value) => write!(f, "{value} at version {version}"),
            Self::Version(version) => write!(f, "a record at version {version}"),
            Self::Value(value) => write!(f, "{value}"),
            Self::NotVersion(version) => write!(f, "anything but version {version}"),
            Self::NotValue(value) => write!(f, "anything but {value}"),
        }
    }
}
