use std::collections::HashMap;
use std::io::BufRead;

use crate::{Answer, Blob, Condition, Current, FormatError, History, Operation, Outcome, Record, Request};

/// The one key under which the register of a Jepsen log is kept.
const REGISTER: &str = "register";

impl History {
    /// Reads a log of Jepsen's over one register that is absent at first, lines like
    /// `INFO jepsen.util - PROCESS :invoke|:ok|:fail|:info :read|:write|:cas VALUE`. Other lines are skipped.
    /// The number of a line is its time.
    ///
    /// | completion | what it says |
    /// |---|---|
    /// | `:ok` | the read saw the value (`nil`: no record); the write, the compare-and-swap took effect |
    /// | `:fail` of a `:cas` with its values | the expected value was not there |
    /// | any other `:fail` | nothing happened, nothing is known |
    /// | `:info`, or none | unknown: it may take effect at any later time, or never |
    ///
    /// # Errors
    /// Where a line of Jepsen's cannot be understood, or completes what was not invoked.
    pub fn from_jepsen_log(from: impl BufRead) -> Result<Self, FormatError> {
        let mut history = Self::default();
        let mut open = HashMap::new();
        for (at, line) in (1..).zip(from.lines()) {
            let wrong = |problem: &str| FormatError { line: at, problem: problem.to_owned() };
            let line = line.map_err(|error| wrong(&error.to_string()))?;
            let Some((_, event)) = line.split_once("jepsen.util - ") else { continue };
            let mut words = event.split_whitespace();
            let (Some(process), Some(kind), Some(function)) = (words.next(), words.next(), words.next())
            else {
                return Err(wrong("a process, a kind and a function are wanted"));
            };
            // The nemesis has a name instead.
            let Ok(process) = process.parse::<u64>() else { continue };
            let values: Vec<&str> = words.map(|word| word.trim_matches(['[', ']'])).collect();
            if kind == ":invoke" {
                let request = request(function, &values).ok_or_else(|| wrong("no such invocation"))?;
                if open.insert(process, history.operations.len()).is_some() {
                    return Err(wrong("the process waits for an answer"));
                }
                history.operations.push(Operation { process, request, called: at, outcome: None });
                continue;
            }
            let place = open.remove(&process).ok_or_else(|| wrong("the process invoked nothing"))?;
            let operation = &mut history.operations[place];
            let answer = match kind {
                ":info" => continue,
                ":ok" => accepted(&operation.request, function, &values),
                ":fail" => refused(&operation.request, function, &values),
                _ => None,
            };
            let answer = answer.ok_or_else(|| wrong("the completion does not fit the invocation"))?;
            operation.outcome = Some(Outcome { returned: at, answer });
        }
        Ok(history)
    }
}

/// A value, where it is not `nil`.
fn value(word: &str) -> Option<Blob> {
    (word != "nil").then(|| word.into())
}

fn request(function: &str, values: &[&str]) -> Option<Request> {
    let key = Blob::from(REGISTER);
    Some(match (function, values) {
        (":read", _) => Request::Get { key },
        (":write", [to]) => {
            Request::Write { conditions: Vec::new(), ops: vec![(key, Some(value(to)?))], ttls: Vec::new() }
        }
        (":cas", [from, to]) => {
            let from = value(from).map_or(Condition::Absent, Condition::Value);
            Request::Write {
                conditions: vec![(key.clone(), from)],
                ops: vec![(key, Some(value(to)?))],
                ttls: Vec::new(),
            }
        }
        _ => return None,
    })
}

fn accepted(asked: &Request, function: &str, values: &[&str]) -> Option<Answer> {
    match (asked, function, values) {
        (Request::Get { .. }, ":read", [seen]) => {
            Some(Answer::Record(value(seen).map(|value| Record { value, version: None })))
        }
        (Request::Write { .. }, ":write" | ":cas", _)
            if request(function, values).as_ref() == Some(asked) =>
        {
            Some(Answer::Committed { version: None })
        }
        _ => None,
    }
}

fn refused(asked: &Request, function: &str, values: &[&str]) -> Option<Answer> {
    match (asked, function) {
        (Request::Write { conditions, .. }, ":cas") if !conditions.is_empty() => {
            if request(function, values).as_ref() == Some(asked) {
                return Some(Answer::Conflict { index: 0, version: None, current: Current::Unsaid });
            }
            Some(Answer::Failed)
        }
        (Request::Write { conditions, .. }, ":write") if conditions.is_empty() => Some(Answer::Failed),
        (Request::Get { .. }, ":read") => Some(Answer::Failed),
        _ => None,
    }
}
