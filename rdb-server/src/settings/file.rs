use std::any::TypeId;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};
use rdb_engine_api::{Error, ErrorKind};
use toml::de::{DeTable, DeValue};

use super::layers::{setting, value_error};
use super::units::Size;

/// How alike an unknown key and a known one have to be for the one to be taken for the other's misspelling.
const ALIKE: f64 = 0.5;

/// What a configuration file says of a setting.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) values: Vec<OsString>,
    pub(super) line: usize,
}

/// Reads a configuration file: what it says, by setting, and all that is wrong with it.
pub(super) fn read(path: &Path, command: &Command) -> (HashMap<String, Entry>, Vec<Error>) {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text, command),
        Err(error) => {
            let error = Error::new(ErrorKind::InvalidArgument, "cannot read the configuration file")
                .with("path", path.display())
                .because(error);
            (HashMap::new(), vec![error])
        }
    }
}

fn parse(path: &Path, text: &str, command: &Command) -> (HashMap<String, Entry>, Vec<Error>) {
    let mut entries: HashMap<String, Entry> = HashMap::new();
    let mut problems = Vec::new();
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let problem = |line: usize, message: String| {
        (line, Error::new(ErrorKind::InvalidArgument, format!("{}:{line}: {message}", path.display())))
    };

    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or_default();
        let at = match text.get(span.clone()) {
            Some(at) if error.message() == "duplicate key" => format!(" `{at}`"),
            _ => String::new(),
        };
        problems.push(problem(line(span.start), format!("{}{at}", error.message())));
    }
    for (key, value) in table.get_ref() {
        let line = line(key.span().start);
        let key: &str = key.get_ref();
        let name = key.replace('_', "-");
        let Some(arg) = command.get_arguments().find(|arg| setting(arg) == Some(&name)) else {
            problems.push(problem(line, unknown(key, command)));
            continue;
        };
        match values(arg, value.get_ref()) {
            Err(message) => problems.push(problem(line, format!("{name}: {message}"))),
            Ok(values) => {
                if let Some(other) = entries.get(&name) {
                    let line = line.max(other.line);
                    problems
                        .push(problem(line, format!("duplicate key `{name}`: it can be spelled once only")));
                }
                if let Err(message) = check(arg, &values) {
                    problems.push(problem(line, format!("{name}: {message}")));
                }
                entries.insert(name, Entry { values, line });
            }
        }
    }
    problems.sort_by_key(|(line, _)| *line);
    (entries, problems.into_iter().map(|(_, problem)| problem).collect())
}

fn unknown(key: &str, command: &Command) -> String {
    let known = command.get_arguments().filter_map(setting);
    match nearest(&key.replace('_', "-"), known, ALIKE) {
        Some(name) => format!("unknown key `{}`; did you mean `{name}`?", key.escape_debug()),
        None => format!("unknown key `{}`; --print-config shows those that there are", key.escape_debug()),
    }
}

/// The one of these names that somebody may have meant: of 0 to 1, how alike they have to be.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl Iterator<Item = &'a str>,
    alike: f64,
) -> Option<&'a str> {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(written, name);
    known
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .filter(|name| likeness(name) >= alike)
}

/// What kind of value a setting has in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Boolean,
    Number,
    Size,
    Text,
    List,
}

impl Shape {
    pub(super) fn of(arg: &Arg) -> Self {
        let value = arg.get_value_parser().type_id();
        if arg.get_value_delimiter().is_some() {
            Self::List
        } else if value == TypeId::of::<bool>() {
            Self::Boolean
        } else if value == TypeId::of::<usize>()
            || value == TypeId::of::<u32>()
            || value == TypeId::of::<u64>()
        {
            Self::Number
        } else if value == TypeId::of::<Size>() {
            Self::Size
        } else {
            Self::Text
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Number => "a whole number",
            Self::Size => "a size, such as \"256MiB\" or a number of bytes",
            Self::Text => "a string in quotes",
            Self::List => "a list of strings",
        }
    }
}

/// The values of a key as the command line would bring them.
fn values(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let shape = Shape::of(arg);
    let values = match (shape, value) {
        (Shape::Boolean, DeValue::Boolean(value)) => Some(vec![value.to_string().into()]),
        (Shape::Number | Shape::Size, DeValue::Integer(number)) => {
            let number = i128::from_str_radix(number.as_str(), number.radix()).ok();
            number.map(|number| vec![number.to_string().into()])
        }
        (Shape::Size | Shape::Text, DeValue::String(text)) => Some(vec![text.as_ref().into()]),
        (Shape::List, DeValue::Array(items)) => {
            let items = items.iter().map(|item| item.get_ref().as_str().map(OsString::from));
            items.collect()
        }
        _ => None,
    };
    values.ok_or_else(|| format!("expected {}, found {}", shape.expected(), found(value)))
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Table(_) => "a table; all keys are at the top".to_owned(),
        DeValue::Array(items) => match items.iter().find(|item| !item.get_ref().is_str()) {
            Some(item) => format!("a list with {} in it", name(item.get_ref())),
            None => "a list".to_owned(),
        },
        value => name(value).to_owned(),
    }
}

const fn name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Asks the setting's own parser for each value.
fn check(arg: &Arg, values: &[OsString]) -> Result<(), String> {
    // A value with a comma would be two on the command line.
    if Shape::of(arg) == Shape::List && values.iter().any(|value| value.as_encoded_bytes().contains(&b',')) {
        return Err("a value of the list has a comma in it".to_owned());
    }
    values.iter().try_for_each(|value| value_error(arg, value))
}
