use serde::{Deserialize, Serialize};

use crate::Blob;

/// One call of one caller: what was asked, when, and what came of it. Times are nanoseconds of one
/// monotonic clock that all callers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who called. A caller has one call open at a time; one whose call ended unknown goes on under a new
    /// number.
    pub process: u64,
    /// What was asked.
    pub request: Request,
    /// When the call began: before its first byte was sent.
    pub called: u64,
    /// What came of it; none where that is unknown, so that it may take effect at any later time, or never.
    pub outcome: Option<Outcome>,
}

impl Operation {
    /// The answer, where there was one.
    pub fn answer(&self) -> Option<&Answer> {
        self.outcome.as_ref().map(|outcome| &outcome.answer)
    }

    /// When the call ended; the end of time where its outcome is unknown.
    pub fn returned(&self) -> u64 {
        self.outcome.as_ref().map_or(u64::MAX, |outcome| outcome.returned)
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When: after the answer was decoded.
    pub returned: u64,
    /// The answer.
    pub answer: Answer,
}

/// What a caller asks of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The record under one key.
    Get {
        /// The key.
        key: Blob,
    },
    /// The records under several keys, in one view.
    GetMany {
        /// The keys.
        keys: Vec<Blob>,
    },
    /// The records of a range, in byte order of their keys, in one view.
    Scan {
        /// The first key of the range.
        start: Blob,
        /// The key behind its last; none for no end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Blob>,
        /// From the end to the start.
        #[serde(default)]
        reverse: bool,
        /// The most records to deliver.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// An atomic batch: if all conditions hold of the state before it, all operations take effect.
    Write {
        /// What must hold, in the order in which a failure is reported.
        #[serde(default)]
        conditions: Vec<(Blob, Condition)>,
        /// The value to put under a key, or none to delete it. Of two on one key the last wins.
        ops: Vec<(Blob, Option<Blob>)>,
        /// For keys put with a time to live: how long, in nanoseconds. The store removes such a record at some
        /// time after that, counted from the put, and never before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ttls: Vec<(Blob, u64)>,
    },
}

/// What must hold of a key's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// It has this version.
    Version(u64),
    /// It has this value.
    Value(Blob),
}

/// A value and the version that the store gave it, where the store does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The value.
    pub value: Blob,
    /// The version of the commit that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What a store answers. Versions are those of FlareDB's contract: one line over the whole store, each
/// commit above all earlier ones. A store that has none leaves them out, and is judged by WGL alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To a get: the record, or that there is none.
    Record(Option<Record>),
    /// To a get of several keys: one for each, in the order asked.
    Records {
        /// The version of the view.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// The records.
        records: Vec<Option<Record>>,
    },
    /// To a scan: keys and records in the order delivered.
    Entries {
        /// The version of the view.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// The keys with their records; without, where the scan asked for keys only.
        entries: Vec<(Blob, Option<Record>)>,
    },
    /// To a write: all conditions held and something changed.
    Committed {
        /// The version of the commit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// To a write: all conditions held and nothing changed.
    Unchanged {
        /// The version of the view it was judged in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// To a write, of a store that does not tell whether it changed something: all conditions held.
    Applied,
    /// To a write: a condition did not hold, and nothing changed.
    Conflict {
        /// The place of the first condition that did not hold.
        index: usize,
        /// The version of the view it was judged in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// What was there instead.
        #[serde(default)]
        current: Current,
    },
    /// An error which certifies that nothing was applied, or a read that failed: it constrains nothing.
    Failed,
}

impl Answer {
    pub(crate) fn has_no_versions(&self) -> bool {
        let bare = |record: &Option<Record>| record.as_ref().is_none_or(|record| record.version.is_none());
        match self {
            Self::Record(record) => bare(record),
            Self::Records { version, records } => version.is_none() && records.iter().all(bare),
            Self::Entries { version, entries } => {
                version.is_none() && entries.iter().all(|(_, record)| bare(record))
            }
            Self::Committed { version } | Self::Unchanged { version } => version.is_none(),
            Self::Conflict { version, current, .. } => {
                let told = if let Current::Present(record) = current { record.version } else { None };
                version.is_none() && told.is_none()
            }
            Self::Applied | Self::Failed => true,
        }
    }
}

/// What a conflict tells about the key of the condition that did not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Current {
    /// Nothing.
    #[default]
    Unsaid,
    /// That there is no record.
    Absent,
    /// Its record.
    Present(Record),
}
