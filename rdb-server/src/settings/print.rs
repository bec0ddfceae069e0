use std::ffi::OsStr;
use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command};

use super::file::Shape;
use super::layers::setting;
use super::origin::Findings;

/// The settings in force, as a configuration file; behind each, where it comes from.
pub(super) fn effective(
    command: &Command,
    matches: &ArgMatches,
    computed: &[(&'static str, String)],
    findings: &Findings,
) -> String {
    let mut text = format!("# The settings of {} in force.\n", title(command));
    for (arg, setting) in settings(command) {
        let given = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
        let given: Vec<&OsStr> = given.collect();
        let computed = computed.iter().find(|(name, _)| *name == setting).map(|(_, value)| OsStr::new(value));
        let values = if given.is_empty() { computed.into_iter().collect() } else { given };
        // A comment ends with its line.
        let origin = findings.origin(setting).to_string().replace(char::is_control, "?");
        let _ = match (values.is_empty(), values_as_toml(arg, &values)) {
            (true, _) => writeln!(text, "# {setting} is not set"),
            (false, Some(value)) => writeln!(text, "{setting} = {value}  # {origin}"),
            (false, None) => writeln!(text, "# {setting} of {origin} is not UTF-8, which no file can hold"),
        };
    }
    text
}

/// Every setting with its description and its default, all of it commented out.
pub(super) fn example(command: &Command, computed: &[(&'static str, String)]) -> String {
    let name = command.get_name();
    let mut text = format!(
        "# The settings of {name}, each with its default. Take away the # before one to change it.\n\
         # `{name} --config FILE --check-config` tells whether the file makes sense.\n"
    );
    let mut heading = None;
    for (arg, setting) in settings(command) {
        if heading != arg.get_help_heading() {
            heading = arg.get_help_heading();
            let _ = write!(text, "\n# === {} ===\n", heading.unwrap_or_default());
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let known = if Shape::of(arg) == Shape::Boolean { Vec::new() } else { arg.get_possible_values() };
        let known: Vec<&str> = known.iter().map(|value| value.get_name()).collect();
        let known = if known.is_empty() { String::new() } else { format!(": {}", known.join(", ")) };
        let computed =
            computed.iter().filter(|(name, _)| *name == setting).map(|(_, value)| OsStr::new(value));
        let defaults = arg.get_default_values().iter().map(AsRef::as_ref);
        let values: Vec<&OsStr> = defaults.chain(computed).collect();
        let value = values_as_toml(arg, &values).unwrap_or_default();
        let _ = write!(text, "\n{}#{setting} = {value}\n", comment(&format!("{help}{known}")));
    }
    text
}

/// The text as comments of no more than 110 columns, where its words allow it.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + 1 + word.len() > 110) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn settings(command: &Command) -> impl Iterator<Item = (&Arg, &str)> {
    command.get_arguments().filter_map(|arg| Some((arg, setting(arg)?)))
}

fn title(command: &Command) -> String {
    format!("{} {}", command.get_name(), command.get_version().unwrap_or_default())
}

/// The values as the file takes them; nothing where one is not UTF-8. No value at all is an empty string or list.
fn values_as_toml(arg: &Arg, values: &[&OsStr]) -> Option<String> {
    let texts: Vec<&str> = values.iter().map(|value| value.to_str()).collect::<Option<_>>()?;
    let first = texts.first().copied().unwrap_or_default();
    Some(match Shape::of(arg) {
        Shape::List => {
            format!("[{}]", texts.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
        }
        // Boolean words and numbers of other layers, such as `yes` and `+5`, are no TOML.
        Shape::Boolean => {
            let no = ["n", "no", "f", "false", "off", "0"];
            (!no.contains(&first.to_lowercase().as_str())).to_string()
        }
        Shape::Number => first.parse::<u64>().map_or_else(|_| quoted(first), |number| number.to_string()),
        Shape::Size | Shape::Text => quoted(first),
    })
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
