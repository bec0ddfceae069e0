//! Operations as people read them, in what a checker says of a history.

use std::fmt::{self, Display, Formatter};

use crate::{Answer, Blob, Condition, Current, Operation, Outcome, Record, Request};

/// The most keys, records or operations of one list that are told.
const SHOWN: usize = 16;

/// `process 3, 394549 to 614457: put "k" = "new" if "k" is "old" -> committed at version 4`.
impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { process, request, called, outcome } = self;
        match outcome {
            Some(Outcome { returned, answer }) => {
                write!(f, "process {process}, {called} to {returned}: {request} -> {answer}")
            }
            None => write!(f, "process {process}, {called} to no answer: {request}"),
        }
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { key } => write!(f, "get {key}"),
            Self::GetMany { keys } => write!(f, "get [{}]", list(keys, Blob::to_string)),
            Self::Scan { start, end, reverse, limit } => {
                write!(f, "scan from {start}")?;
                if let Some(end) = end {
                    write!(f, " to below {end}")?;
                }
                if *reverse {
                    f.write_str(", in reverse")?;
                }
                if let Some(limit) = limit {
                    write!(f, ", at most {limit}")?;
                }
                Ok(())
            }
            Self::Write { conditions, ops, ttls } => {
                let told = list(ops, |(key, value)| match value {
                    Some(value) => match ttls.iter().find(|(of, _)| of == key) {
                        Some((_, ttl)) => format!("put {key} = {value} for {ttl} ns"),
                        None => format!("put {key} = {value}"),
                    },
                    None => format!("delete {key}"),
                });
                f.write_str(if ops.is_empty() { "nothing" } else { &told })?;
                if conditions.is_empty() {
                    return Ok(());
                }
                write!(f, " if {}", list(conditions, |(key, condition)| format!("{key} {condition}")))
            }
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("is absent"),
            Self::Present => f.write_str("is present"),
            Self::Version(version) => write!(f, "is at version {version}"),
            Self::Value(value) => write!(f, "is {value}"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(record) => f.write_str(&found(record.as_ref())),
            Self::Records { version, records } => {
                write!(f, "[{}]{}", list(records, |record| found(record.as_ref())), at(*version))
            }
            Self::Entries { version, entries } => {
                let told = list(entries, |(key, record)| match record {
                    Some(record) => format!("{key} = {}", found(Some(record))),
                    None => key.to_string(),
                });
                write!(f, "[{told}]{}", at(*version))
            }
            Self::Committed { version } => write!(f, "committed{}", at(*version)),
            Self::Unchanged { version } => write!(f, "unchanged{}", at(*version)),
            Self::Applied => f.write_str("applied"),
            Self::Conflict { index, version, current } => {
                write!(f, "conflict{}, condition {index} found ", at(*version))?;
                match current {
                    Current::Unsaid => f.write_str("something else"),
                    Current::Absent => f.write_str(&found(None)),
                    Current::Present(record) => f.write_str(&found(Some(record))),
                }
            }
            Self::Failed => f.write_str("failed"),
        }
    }
}

fn found(record: Option<&Record>) -> String {
    record.map_or_else(|| "no record".to_owned(), |record| format!("{}{}", record.value, at(record.version)))
}

fn at(version: Option<u64>) -> String {
    version.map_or_else(String::new, |version| format!(" at version {version}"))
}

fn list<T>(all: &[T], told: impl Fn(&T) -> String) -> String {
    let mut list = all.iter().take(SHOWN).map(told).collect::<Vec<_>>().join(", ");
    if let Some(more) = all.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        list.push_str(&format!(" and {more} more"));
    }
    list
}
