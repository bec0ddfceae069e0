use rdb_client::{Cause, CommittedBatch, CommittedOp, Key, Previous, Record, Version};
use serde::Serialize;
use serde_json::{Value, json};

use crate::escape::{escape, escape_cut};
use crate::failure::Failure;
use crate::output::{JsonEntry, Output, Print};

/// Shows what a watch delivers: each commit whole and at once, so that a reader behind a pipe has it too.
pub(crate) struct Changes {
    out: Output,
    /// Whether changes are shown with what was there before.
    previous: bool,
    /// How wide the key column of a table is, once its titles are written.
    key_width: Option<usize>,
}

/// A change as a line of JSON. Those of one commit have its version, and count up to `changes`.
#[derive(Serialize)]
struct JsonChange<'a> {
    event: &'a str,
    version: u64,
    cause: &'a str,
    change: usize,
    changes: usize,
    #[serde(flatten)]
    entry: JsonEntry<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Value>,
}

/// A record of the snapshot as a line of JSON.
#[derive(Serialize)]
struct JsonRecord<'a> {
    event: &'a str,
    #[serde(flatten)]
    entry: JsonEntry<'a>,
}

impl Changes {
    pub(crate) const fn new(out: Output, previous: bool) -> Self {
        Self { out, previous, key_width: None }
    }

    /// Shows records that are there, and keys that are gone, since what was shown before.
    pub(crate) fn difference<'a>(
        &mut self,
        changes: impl Iterator<Item = (&'a Key, Option<&'a Record>)>,
    ) -> Result<(), Failure> {
        for (key, record) in changes {
            let event = if record.is_some() { "record" } else { "gone" };
            let version = record.map(|record| record.version.to_string()).unwrap_or_default();
            let value = record.map_or(&b""[..], |record| &record.value);
            match self.out.print {
                Print::Json => self.out.json(&JsonRecord { event, entry: JsonEntry::new(key, record) })?,
                Print::Raw => {
                    let fields = [version.as_bytes(), b"snapshot", event.as_bytes(), key.as_bytes(), value];
                    self.out.fields(&fields)?;
                }
                Print::Table => {
                    self.row(&version, "", event, &escape(key.as_bytes()), &escape_cut(value, ""))?;
                }
            }
        }
        self.out.finish()
    }

    /// Says that so many records were shown, and that all is as of this version now.
    pub(crate) fn complete(&mut self, version: Version, records: usize) -> Result<(), Failure> {
        match self.out.print {
            Print::Json => self.out.json(&json!({
                "event": "snapshot", "version": version.get(), "records": records
            }))?,
            Print::Raw => self.out.line(&format!("{version}\tsnapshot"))?,
            Print::Table => self.row(&version.to_string(), "", "snapshot", "", "")?,
        }
        self.out.finish()
    }

    /// Shows a commit.
    pub(crate) fn commit(&mut self, commit: &CommittedBatch) -> Result<(), Failure> {
        for (number, op) in commit.ops.iter().enumerate() {
            match self.out.print {
                Print::Json => self.json(commit, number, op)?,
                Print::Raw => self.raw(commit, op)?,
                Print::Table => self.line(commit, number, op)?,
            }
        }
        self.out.finish()
    }

    /// Says how far the watch has come.
    pub(crate) fn progress(&mut self, version: Version) -> Result<(), Failure> {
        match self.out.print {
            Print::Json => self.out.json(&json!({ "event": "progress", "version": version.get() }))?,
            Print::Raw => self.out.line(&format!("{version}\tprogress"))?,
            Print::Table => self.row(&version.to_string(), "", "progress", "", "")?,
        }
        self.out.finish()
    }

    /// Says something to a person, on standard error.
    pub(crate) fn note(&mut self, note: &str) -> Result<(), Failure> {
        match self.out.print {
            Print::Table => self.out.note(note),
            Print::Json | Print::Raw => Ok(()),
        }
    }

    fn json(&mut self, commit: &CommittedBatch, number: usize, op: &CommittedOp) -> Result<(), Failure> {
        let previous = match &op.previous {
            Previous::Absent => Some(Value::Null),
            Previous::Record(record) => Some(json!(JsonEntry::of(record))),
            Previous::Omitted => Some(json!({ "omitted": true })),
            _ => None,
        };
        self.out.json(&JsonChange {
            event: kind(op),
            version: commit.version.get(),
            cause: cause(commit.cause),
            change: number + 1,
            changes: commit.ops.len(),
            entry: JsonEntry::new(&op.key, op.record.as_ref()).without_version(),
            previous,
        })
    }

    fn raw(&mut self, commit: &CommittedBatch, op: &CommittedOp) -> Result<(), Failure> {
        let version = commit.version.to_string();
        let value = op.record.as_ref().map_or(&b""[..], |record| &record.value);
        let mut fields = vec![
            version.as_bytes(),
            cause(commit.cause).as_bytes(),
            kind(op).as_bytes(),
            op.key.as_bytes(),
            value,
        ];
        if self.previous {
            let (was, value): (&[u8], &[u8]) = match &op.previous {
                Previous::Record(record) => (b"record", &record.value),
                Previous::Omitted => (b"omitted", b""),
                _ => (b"absent", b""),
            };
            fields.extend([was, value]);
        }
        self.out.fields(&fields)
    }

    fn line(&mut self, commit: &CommittedBatch, number: usize, op: &CommittedOp) -> Result<(), Failure> {
        let mut value = op.record.as_ref().map(|record| escape_cut(&record.value, "")).unwrap_or_default();
        let was = match &op.previous {
            Previous::Absent => Some("(was absent)".to_owned()),
            Previous::Record(record) => Some(format!("(was: {})", escape_cut(&record.value, ""))),
            Previous::Omitted => Some("(was there, too long to be kept)".to_owned()),
            _ => None,
        };
        if let Some(was) = was {
            let gap = if value.is_empty() { "" } else { "  " };
            value = format!("{value}{gap}{was}");
        }
        // What belongs to one commit stands under one version.
        let (version, cause) = match number {
            0 => (commit.version.to_string(), cause(commit.cause)),
            _ => (String::new(), ""),
        };
        self.row(&version, cause, kind(op), &escape(op.key.as_bytes()), &value)
    }

    fn row(
        &mut self,
        version: &str,
        cause: &str,
        change: &str,
        key: &str,
        value: &str,
    ) -> Result<(), Failure> {
        /// What comes later is not known: the first key decides, within these.
        const WIDTHS: (usize, usize) = (16, 48);
        let width = match self.key_width {
            Some(width) => width,
            None => {
                let width = key.chars().count().clamp(WIDTHS.0, WIDTHS.1);
                self.key_width = Some(width);
                let titles =
                    format!("{:>16}  {:6}  {:8}  {:width$}  VALUE", "VERSION", "CAUSE", "CHANGE", "KEY");
                self.out.line(&titles)?;
                width
            }
        };
        let row = format!("{version:>16}  {cause:6}  {change:8}  {key:width$}  {value}");
        self.out.line(row.trim_end_matches(' '))
    }
}

const fn kind(op: &CommittedOp) -> &'static str {
    match op.record {
        Some(_) => "put",
        None => "delete",
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Write => "write",
        Cause::Expiry => "expiry",
        // A cause that this client does not know yet.
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
