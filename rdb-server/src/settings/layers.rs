use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use rdb_engine_api::{Error, ErrorKind};

use super::file;
use super::origin::Origin;

/// Flags that say what to do, not how: no file and no example knows them.
const NO_SETTINGS: [&str; 7] =
    ["config", "print-config", "check-config", "completions", "man", "help", "version"];

/// The name of a setting: that of its flag.
pub(super) fn setting(arg: &Arg) -> Option<&str> {
    arg.get_long().filter(|flag| !NO_SETTINGS.contains(flag))
}

/// Why settings could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// What clap says: about the command line, or the help that was asked for.
    Clap(clap::Error),
    /// What is wrong elsewhere.
    Problems(Vec<Error>),
}

/// A command line over an environment over a file over defaults, each value known with its origin.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) matches: ArgMatches,
    pub(super) origins: HashMap<String, Origin>,
    pub(super) config: Option<PathBuf>,
}

/// The environment, as far as it is asked.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads what stands on the command line alone.
pub(super) fn read_line(command: &Command, line: &[OsString]) -> Result<ArgMatches, Unread> {
    let bare = command.clone().mut_args(|arg| arg.env(Resettable::Reset));
    bare.try_get_matches_from(line).map_err(|error| match error.kind() {
        // Help names the variables.
        ClapErrorKind::DisplayHelp => match command.clone().try_get_matches_from(line) {
            Err(help) => Unread::Clap(help),
            Ok(_) => Unread::Clap(error),
        },
        _ => Unread::Clap(error),
    })
}

/// Reads all layers. Each becomes the default of what is above it, so that clap's own parsers check all of it.
pub(super) fn read(
    command: &Command,
    line: &[OsString],
    given: &ArgMatches,
    environment: Environment<'_>,
) -> Result<Layers, Unread> {
    // What is empty is as good as unset.
    let given_by = |name: &str| Some((name.to_owned(), environment(name).filter(|value| !value.is_empty())?));
    let variable = |arg: &Arg| {
        let usual = || if arg.get_id() == "log" { given_by("RUST_LOG") } else { None };
        given_by(arg.get_env()?.to_str()?).or_else(usual)
    };
    let on_line = |arg: &Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);

    let named = command.get_arguments().find(|arg| arg.get_id() == "config").and_then(variable);
    let config = given.get_one::<PathBuf>("config").cloned().or(named.map(|(_, path)| path.into()));
    let (mut entries, mut problems) = match &config {
        Some(path) => file::read(path, command),
        None => Default::default(),
    };

    let mut origins = HashMap::new();
    let mut layered = command.clone();
    for arg in command.get_arguments() {
        let Some(setting) = setting(arg) else {
            layered = layered.mut_arg(arg.get_id(), |arg| arg.env(Resettable::Reset));
            continue;
        };
        let entry = entries.remove(setting);
        let below = if let Some((name, value)) = variable(arg) {
            if !on_line(arg)
                && let Err(message) = value_error(arg, &value)
            {
                let message = format!("variable {name} of the environment: {message}");
                problems.push(Error::new(ErrorKind::InvalidArgument, message));
            }
            Some((split(arg, &value), Origin::Variable(name)))
        } else {
            let origin = |line| Origin::File(config.clone().unwrap_or_default(), line);
            entry.map(|entry| (entry.values, origin(entry.line)))
        };
        layered = layered.mut_arg(arg.get_id(), |arg| {
            let arg = arg.env(Resettable::Reset);
            match &below {
                Some((values, _)) => arg.default_values(values.clone()),
                None => arg,
            }
        });
        let origin = match below {
            _ if on_line(arg) => Origin::Flag(setting.to_owned()),
            Some((_, origin)) => origin,
            None => Origin::Default,
        };
        origins.insert(setting.to_owned(), origin);
    }
    if !problems.is_empty() {
        return Err(Unread::Problems(problems));
    }
    let matches = layered.try_get_matches_from(line).map_err(Unread::Clap)?;
    Ok(Layers { matches, origins, config })
}

fn split(arg: &Arg, value: &OsStr) -> Vec<OsString> {
    match (arg.get_value_delimiter(), value.to_str()) {
        (Some(delimiter), Some(text)) => text.split(delimiter).map(OsString::from).collect(),
        _ => vec![value.to_owned()],
    }
}

/// Asks the parser of a setting for a value, wherever it comes from; what is wrong with it, in one line.
pub(super) fn value_error(arg: &Arg, value: &OsStr) -> Result<(), String> {
    let mut argument = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
    argument.push(value);
    let alone = Command::new("alone").no_binary_name(true).arg(arg.clone().env(Resettable::Reset));
    let Err(error) = alone.try_get_matches_from([argument]) else { return Ok(()) };
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let reason = match (std::error::Error::source(&error), text(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(known)) if !known.is_empty() => format!("expected one of {known}"),
        _ => "a value is needed".to_owned(),
    };
    Err(format!("invalid value `{}`: {reason}", value.to_string_lossy().escape_debug()))
}
