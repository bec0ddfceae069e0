use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use rdb_client::{Entry, Key, Record};
use serde::Serialize;
use serde_json::Value;

use crate::escape::{escape, escape_cut};
use crate::failure::Failure;
use crate::people::{for_people, text};

/// How to see all of a value that a table cut.
const USE_RAW: &str = "; use -o raw";

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Print {
    /// For people: titles, escapes, long values cut
    Table,
    /// For programs: one object a line
    Json,
    /// For shells: exact bytes, fields separated by TABs, no titles
    Raw,
}

/// Where results go. What is written is buffered until [`finish`](Self::finish).
pub(crate) struct Output {
    pub(crate) print: Print,
    sink: BufWriter<Box<dyn Write + Send>>,
    /// How wide the key column of a table is, once its titles are written.
    key_width: Option<usize>,
}

impl Output {
    /// Standard output, as a table if that is a terminal and nothing else is asked for.
    pub(crate) fn stdout(print: Option<Print>) -> Self {
        let default = || if io::stdout().is_terminal() { Print::Table } else { Print::Raw };
        Self::new(print.unwrap_or_else(default), Box::new(io::stdout()))
    }

    pub(crate) fn new(print: Print, sink: Box<dyn Write + Send>) -> Self {
        // Standard output writes through at every newline by itself: too often for a scan.
        Self { print, sink: BufWriter::with_capacity(256 << 10, sink), key_width: None }
    }

    /// Writes the bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.sink.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// Writes fields separated by TABs, as a line.
    pub(crate) fn fields(&mut self, fields: &[&[u8]]) -> Result<(), Failure> {
        self.bytes(&fields.join(&b'\t'))?;
        self.bytes(b"\n")
    }

    /// Writes text as a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.fields(&[line.as_bytes()])
    }

    /// Writes an object as a line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.sink, value);
        written.map_err(|error| Failure::output(&error.into()))?;
        self.bytes(b"\n")
    }

    /// Writes names and values: a line each, or one object.
    pub(crate) fn pairs(&mut self, pairs: &[(&str, Value)]) -> Result<(), Failure> {
        self.sections(&[pairs])
    }

    /// Writes names and values in sections, which a table shows apart: a line each, or one object. For
    /// people, the unit at the end of a name goes to its value.
    pub(crate) fn sections(&mut self, sections: &[&[(&str, Value)]]) -> Result<(), Failure> {
        let mut pairs = sections.iter().copied().flatten();
        match self.print {
            Print::Json => {
                let object: serde_json::Map<_, _> =
                    pairs.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                self.json(&object)
            }
            Print::Raw => pairs.try_for_each(|(name, value)| self.line(&format!("{name}\t{}", text(value)))),
            Print::Table => {
                let shown: Vec<Vec<_>> = sections
                    .iter()
                    .map(|pairs| pairs.iter().map(|(name, value)| for_people(name, value)).collect())
                    .collect();
                let width = shown.iter().flatten().map(|(name, _)| name.len()).max().unwrap_or(0);
                for (number, pairs) in shown.iter().enumerate() {
                    if number > 0 {
                        self.line("")?;
                    }
                    for (name, value) in pairs {
                        self.line(&format!("{name:width$}  {value}"))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Writes entries of a scan, as further rows of what was written before.
    pub(crate) fn entries(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        match self.print {
            Print::Json => entries.iter().try_for_each(|entry| self.json(&JsonEntry::from(entry))),
            Print::Raw => entries.iter().try_for_each(|entry| match &entry.record {
                Some(record) => self.fields(&[entry.key.as_bytes(), &record.value]),
                None => self.fields(&[entry.key.as_bytes()]),
            }),
            Print::Table => self.rows(entries, |value| escape_cut(value, "")),
        }
    }

    /// Writes one entry; a table says how to see all of a long value.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        match self.print {
            Print::Table => self.rows(std::slice::from_ref(entry), |value| escape_cut(value, USE_RAW)),
            Print::Json | Print::Raw => self.entries(std::slice::from_ref(entry)),
        }
    }

    fn rows(&mut self, entries: &[Entry], show: fn(&[u8]) -> String) -> Result<(), Failure> {
        /// A longer key pushes its row to the right instead of widening all others.
        const WIDEST: usize = 48;
        let keys: Vec<_> = entries.iter().map(|entry| escape(entry.key.as_bytes())).collect();
        let width = match self.key_width {
            Some(width) => width,
            None => {
                // The first chunk decides: a scan is not read to its end before its first row is shown.
                let widest = keys.iter().map(|key| key.chars().count()).max().unwrap_or(0);
                let width = widest.clamp(3, WIDEST);
                match entries.first().is_some_and(|entry| entry.record.is_some()) {
                    true => self.line(&format!("{:width$}  {:>16}  VALUE", "KEY", "VERSION"))?,
                    false => self.line("KEY")?,
                }
                *self.key_width.insert(width)
            }
        };
        for (key, entry) in keys.iter().zip(entries) {
            match &entry.record {
                Some(record) => {
                    self.line(&format!("{key:width$}  {:>16}  {}", record.version, show(&record.value)))?;
                }
                None => self.line(key)?,
            }
        }
        Ok(())
    }

    /// Says something besides, on standard error, behind all that was written.
    pub(crate) fn note(&mut self, note: &str) -> Result<(), Failure> {
        self.finish()?;
        eprintln!("{note}");
        Ok(())
    }

    /// Writes out what is buffered.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.sink.flush().map_err(|error| Failure::output(&error))
    }
}

/// Bytes as JSON has them: text where they are UTF-8, base64 under another name where not.
#[derive(Default, Serialize)]
pub(crate) struct JsonEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
}

impl<'a> JsonEntry<'a> {
    /// A key, and its record where there is one to show.
    pub(crate) fn new(key: &'a Key, record: Option<&'a Record>) -> Self {
        let mut shown = record.map(Self::of).unwrap_or_default();
        (shown.key, shown.key_base64) = text_or_base64(key.as_bytes());
        shown
    }

    /// A record whose key goes without saying.
    pub(crate) fn of(record: &'a Record) -> Self {
        let (value, value_base64) = text_or_base64(&record.value);
        let (version, expires_at_ms) = (Some(record.version.get()), expires_at_ms(record));
        Self { value, value_base64, version, expires_at_ms, ..Self::default() }
    }

    /// The same, where the version is told elsewhere.
    #[must_use]
    pub(crate) const fn without_version(mut self) -> Self {
        self.version = None;
        self
    }

    /// The same, with what is left of the record's life.
    #[must_use]
    pub(crate) fn with_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.ttl_ms = ttl.map(ms);
        self
    }
}

impl<'a> From<&'a Entry> for JsonEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self::new(&entry.key, entry.record.as_ref())
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

/// When a record expires, in milliseconds since the Unix epoch.
pub(crate) fn expires_at_ms(record: &Record) -> Option<u64> {
    Some(ms(record.expires_at?.duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// A time in whole milliseconds.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
