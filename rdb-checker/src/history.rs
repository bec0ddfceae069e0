use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::{Answer, Blob, Delivered, Operation, Outcome, Request, Watch, WatchEnd, WatchEvent};

/// What several callers asked of a store that was empty at first, and what they were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The operations, in the order in which they were called.
    pub operations: Vec<Operation>,
    /// The watches, and what they delivered. Version order judges them; WGL does not look at them.
    pub watches: Vec<Watch>,
    /// What else happened: kills, partitions, clock steps. The checkers ignore it.
    pub notes: Vec<Note>,
}

/// Something that happened to the store meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When, on the clock of the operations.
    pub at: u64,
    /// What.
    pub text: String,
}

/// A line of a history file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
enum Event {
    Call {
        op: u64,
        process: u64,
        at: u64,
        request: Request,
    },
    Return {
        op: u64,
        at: u64,
        answer: Answer,
    },
    Note {
        at: u64,
        text: String,
    },
    Watch {
        watch: u64,
        at: u64,
        start: Blob,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Blob>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    Watching {
        watch: u64,
        at: u64,
        version: u64,
    },
    Delivered {
        watch: u64,
        at: u64,
        what: Delivered,
    },
    Ended {
        watch: u64,
        at: u64,
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
}

impl Event {
    const fn at(&self) -> u64 {
        match self {
            Self::Call { at, .. }
            | Self::Return { at, .. }
            | Self::Note { at, .. }
            | Self::Watch { at, .. }
            | Self::Watching { at, .. }
            | Self::Delivered { at, .. }
            | Self::Ended { at, .. } => *at,
        }
    }
}

impl History {
    /// Writes the history as JSON lines, in the order of time: a line for each call, each return, each step of
    /// a watch, and each note. A call without a return is one whose outcome is unknown.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut events = Vec::with_capacity(2 * self.operations.len() + self.notes.len());
        for (op, operation) in (0..).zip(&self.operations) {
            let (process, at, request) = (operation.process, operation.called, operation.request.clone());
            events.push(Event::Call { op, process, at, request });
            if let Some(Outcome { returned, answer }) = operation.outcome.clone() {
                events.push(Event::Return { op, at: returned, answer });
            }
        }
        events.extend(self.notes.iter().map(|note| Event::Note { at: note.at, text: note.text.clone() }));
        for (watch, told) in (0..).zip(&self.watches) {
            let Watch { start, end, after, called: at, began, events: delivered, ended } = told.clone();
            events.push(Event::Watch { watch, at, start, end, after });
            events.extend(began.map(|(at, version)| Event::Watching { watch, at, version }));
            let delivered = delivered.into_iter();
            events.extend(delivered.map(|WatchEvent { at, delivered: what }| Event::Delivered {
                watch,
                at,
                what,
            }));
            events.extend(ended.map(|WatchEnd { at, why, version }| Event::Ended {
                watch,
                at,
                why,
                version,
            }));
        }
        // Stable: a return stays behind its call where the clock did not advance between them.
        events.sort_by_key(Event::at);
        for event in events {
            serde_json::to_writer(&mut to, &event)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    /// Reads a history from JSON lines; empty lines are skipped.
    ///
    /// # Errors
    /// Where a line is not an event, or the events do not make a history: a return without a call or before
    /// it, an answer that does not fit its request, a step of a watch that has not come so far, or has ended.
    pub fn read(from: impl BufRead) -> Result<Self, FormatError> {
        let mut history = Self::default();
        let mut places = HashMap::new();
        let mut watches: HashMap<u64, usize> = HashMap::new();
        for (number, line) in (1..).zip(from.lines()) {
            let wrong = |problem: String| FormatError { line: number, problem };
            let line = line.map_err(|error| wrong(error.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))? {
                Event::Call { op, process, at, request } => {
                    if places.insert(op, history.operations.len()).is_some() {
                        return Err(wrong(format!("operation {op} was called before")));
                    }
                    history.operations.push(Operation { process, request, called: at, outcome: None });
                }
                Event::Return { op, at, answer } => {
                    let place =
                        places.get(&op).ok_or_else(|| wrong(format!("operation {op} was not called")))?;
                    let operation = &mut history.operations[*place];
                    if operation.outcome.is_some() {
                        return Err(wrong(format!("operation {op} returned before")));
                    }
                    operation.outcome = Some(Outcome { returned: at, answer });
                    well_formed(operation).map_err(wrong)?;
                }
                Event::Note { at, text } => history.notes.push(Note { at, text }),
                Event::Watch { watch, at: called, start, end, after } => {
                    if watches.insert(watch, history.watches.len()).is_some() {
                        return Err(wrong(format!("watch {watch} was asked for before")));
                    }
                    let (began, events, ended) = (None, Vec::new(), None);
                    history.watches.push(Watch { start, end, after, called, began, events, ended });
                }
                Event::Watching { watch, at, version } => {
                    let told = asked_for(&mut history.watches, &watches, watch).map_err(wrong)?;
                    if told.began.replace((at, version)).is_some() {
                        return Err(wrong(format!("watch {watch} began before")));
                    }
                }
                Event::Delivered { watch, at, what: delivered } => {
                    let told = asked_for(&mut history.watches, &watches, watch).map_err(wrong)?;
                    if told.began.is_none() {
                        return Err(wrong(format!("watch {watch} has not begun")));
                    }
                    told.events.push(WatchEvent { at, delivered });
                }
                Event::Ended { watch, at, why, version } => {
                    let told = asked_for(&mut history.watches, &watches, watch).map_err(wrong)?;
                    told.ended = Some(WatchEnd { at, why, version });
                }
            }
        }
        history.operations.sort_by_key(|operation| operation.called);
        Ok(history)
    }

    /// Whether no answer has a version, so that WGL alone can judge it.
    pub fn has_no_versions(&self) -> bool {
        self.watches.is_empty()
            && self.operations.iter().filter_map(Operation::answer).all(|answer| answer.has_no_versions())
    }

    /// Whether every answer fits its request and comes after it.
    ///
    /// # Errors
    /// In words, what does not fit, with the place of the operation.
    pub fn check_form(&self) -> Result<(), String> {
        let check = |(place, operation)| {
            well_formed(operation).map_err(|problem| format!("operation {place}: {problem}"))
        };
        self.operations.iter().enumerate().try_for_each(check)
    }
}

/// A watch that is open, by its number in a file.
fn asked_for<'w>(
    watches: &'w mut [Watch],
    places: &HashMap<u64, usize>,
    watch: u64,
) -> Result<&'w mut Watch, String> {
    let place = places.get(&watch).ok_or_else(|| format!("watch {watch} was not asked for"))?;
    let told = &mut watches[*place];
    if told.ended.is_some() { Err(format!("watch {watch} has ended")) } else { Ok(told) }
}

fn well_formed(operation: &Operation) -> Result<(), String> {
    let Some(Outcome { returned, answer }) = &operation.outcome else { return Ok(()) };
    if *returned < operation.called {
        return Err(format!("it returned at {returned}, before its call at {}", operation.called));
    }
    let fits = match (&operation.request, answer) {
        (_, Answer::Failed) | (Request::Get { .. }, Answer::Record(_)) => true,
        (Request::GetMany { keys }, Answer::Records { records, .. }) => records.len() == keys.len(),
        (Request::Scan { .. }, Answer::Entries { .. })
        | (Request::Write { .. }, Answer::Committed { .. } | Answer::Unchanged { .. } | Answer::Applied) => {
            true
        }
        (Request::Write { conditions, .. }, Answer::Conflict { index, .. }) => *index < conditions.len(),
        _ => false,
    };
    if fits { Ok(()) } else { Err("its answer does not fit its request".to_owned()) }
}

/// Why a file is not a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a history. line=`{}`, problem=`{}`", self.line, self.problem)
    }
}

impl std::error::Error for FormatError {}
