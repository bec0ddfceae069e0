use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{OsStringValueParser, PossibleValuesParser, Resettable, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgGroup, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rdb_client::{Bytes, Durability, Key, Version};

use crate::command::{Completions, Manual, Ping, Tso};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::format::Format;
use crate::output::Print;
use crate::value::{Value, parse_key};

const EXIT_CODES: &str = "\
Exit codes:
  0    done; what a reader of the output left unread is no failure
  1    an error not named below
  2    the command line makes no sense
  3    there is no record under the key
  4    a condition did not hold; nothing was changed
  5    the node or the placement driver is not there, did not answer in time, or is not serving.
       After a write that ended in `outcome unknown`, the write may have been applied: read to
       find out
  129, 130, 143  hung up, interrupted, terminated

Values are text; `-` reads standard input, `@FILE` a file, and `@@` stands for a leading `@`.
Keys are text as it stands. Put `--` before a key or value that begins with a dash.

Example:
  rdb put greeting hello && rdb get greeting";

/// Above the options that every command has.
pub(crate) const GLOBAL: &str = "Options of every command";

/// FlareDB from the shell: a key-value store with compare-and-swap.
#[derive(Debug, Parser)]
#[command(name = "rdb", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,

    /// How results are shown; a table on a terminal, otherwise raw: exact bytes, no titles
    #[arg(
        short = 'o',
        long,
        global = true,
        env = "FLAREDB_PRINT",
        hide_env_values = true,
        value_name = "HOW",
        help_heading = GLOBAL
    )]
    pub(crate) print: Option<Print>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(Get),
    Put(Put),
    Delete(Delete),
    Cas(Cas),
    Scan(Scan),
    Import(Import),
    Export(Export),
    Backup(Backup),
    Restore(Restore),
    Verify(Verify),
    /// Show what the node is and how it fares
    #[command(after_help = "Example:\n  rdb status -o json")]
    Status,
    /// Ask the node whether it takes requests; exit code 5 if not
    #[command(after_help = "Example:\n  rdb health --timeout 1s && echo up")]
    Health,
    Ping(Ping),
    /// Show the stores of the cluster, as the placement driver sees them
    #[command(after_help = "Example:\n  rdb stores --pd 127.0.0.1:7430")]
    Stores,
    Tso(Tso),
    Completions(Completions),
    #[command(name = "man")]
    Manual(Manual),
}

/// Show the record under a key; on a pipe, the exact bytes of its value
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb get photo > photo.jpg")]
pub(crate) struct Get {
    #[arg(value_parser = key())]
    pub(crate) key: Key,
}

/// Store a value under a key, whatever was there before
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rdb put greeting hello\n  rdb put photo @photo.jpg\n  date | rdb put now -"
)]
pub(crate) struct Put {
    #[arg(value_parser = key())]
    pub(crate) key: Key,

    /// Text, `-`, or `@FILE`
    #[arg(value_parser = value(), allow_negative_numbers = true)]
    pub(crate) value: Value,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// Remove the record under a key; exit code 3 if there is none
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb delete greeting")]
pub(crate) struct Delete {
    #[arg(value_parser = key())]
    pub(crate) key: Key,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// Compare and swap: store a value, or delete, only if the record is as expected
///
/// Where it is not, nothing is changed, the current record is shown, and the exit code is 4.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("expectation").required(true),
    after_help = "Examples:\n  rdb cas lock me --absent\n  rdb cas greeting hi --expect hello\n  \
                  rdb cas greeting hi --expect-version 17\n  rdb cas lock --delete --expect me"
)]
pub(crate) struct Cas {
    #[arg(value_parser = key())]
    pub(crate) key: Key,

    /// The new value: text, `-`, or `@FILE`
    #[arg(
        value_parser = value(),
        allow_negative_numbers = true,
        required_unless_present = "delete",
        conflicts_with = "delete"
    )]
    pub(crate) new: Option<Value>,

    /// Delete the record instead of storing a value
    #[arg(long, conflicts_with = "absent")]
    pub(crate) delete: bool,

    /// Expect the record's version to be this one: safe against a value that changed and changed back
    #[arg(long, group = "expectation", value_name = "N", value_parser = version)]
    pub(crate) expect_version: Option<Version>,

    /// Expect the record's value to be this one: text, `-`, or `@FILE`
    #[arg(
        long,
        group = "expectation",
        value_name = "VALUE",
        value_parser = value(),
        allow_hyphen_values = true
    )]
    pub(crate) expect: Option<Value>,

    /// Expect no record under the key
    #[arg(long, group = "expectation")]
    pub(crate) absent: bool,

    /// Expect a record under the key, whatever it holds
    #[arg(long, group = "expectation")]
    pub(crate) present: bool,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// How to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Write {
    /// The least that is asked of the answer; without it, the engine's default
    #[arg(long, value_parser = durability())]
    pub(crate) durability: Option<Durability>,
}

/// Show the records of a range, in key order, all from one view
///
/// Tables escape what cannot be printed and cut long values. As json, one object a line; keys and values
/// that are not UTF-8 come as key_base64 and value_base64. Raw: key, TAB, value, newline, with no escapes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rdb scan --prefix user/ --limit 10\n  rdb scan --prefix user/ --count-only\n  \
                  rdb scan --reverse --limit 1 --prefix log/"
)]
pub(crate) struct Scan {
    /// Only keys that begin with this
    #[arg(long, value_parser = bytes(), allow_hyphen_values = true, conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<Bytes>,

    /// Only keys from this one on
    #[arg(long, value_name = "KEY", value_parser = bytes(), allow_hyphen_values = true)]
    pub(crate) from: Option<Bytes>,

    /// Only keys before this one
    #[arg(long, value_name = "KEY", value_parser = bytes(), allow_hyphen_values = true)]
    pub(crate) to: Option<Bytes>,

    /// At most so many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// Last key first
    #[arg(long)]
    pub(crate) reverse: bool,

    /// Show no values
    #[arg(long)]
    pub(crate) keys_only: bool,

    /// Show only how many there are
    #[arg(long, conflicts_with = "keys_only")]
    pub(crate) count_only: bool,
}

/// Store all records of a file
///
/// tsv: key, TAB, value, newline, with no escapes. jsonl: one {"key": .., "value": ..} a line, both in
/// base64, for any bytes. Where a key occurs twice, the later line wins. A line that makes no sense ends the
/// import behind the lines before it; what was stored stays. Importing the same file again is safe.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  zcat packages.tsv.gz | rdb import --format tsv -")]
pub(crate) struct Import {
    /// What the file holds; told by its ending if this is not given
    #[arg(long)]
    pub(crate) format: Option<Format>,

    /// The file; `-` for standard input
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) write: Write,
}

/// Write all records of one view to a file or standard output
///
/// Formats are those of import. tsv refuses a record that holds a TAB or newline; jsonl carries any bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb export --format jsonl --output backup.jsonl")]
pub(crate) struct Export {
    /// What to write; told by the ending of --output if this is not given
    #[arg(long)]
    pub(crate) format: Option<Format>,

    /// Only keys that begin with this
    #[arg(long, value_parser = bytes(), allow_hyphen_values = true)]
    pub(crate) prefix: Option<Bytes>,

    /// The file, which appears only when it is whole; `-`, or without this: standard output.
    /// A device or pipe is written to as it stands
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Write all records of one view, with their versions, to a file that can be restored
///
/// The node goes on meanwhile. The file ends with a SHA-256 over all of it, so that no damage goes unseen.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb backup monday.backup && rdb verify monday.backup")]
pub(crate) struct Backup {
    /// The file, which appears only when it is whole, in place of one that is there; `-` for standard output
    pub(crate) file: PathBuf,
}

/// Fill an empty node with a backup: all of it, or nothing
///
/// The file is verified first, from its first byte to its last. Records keep their versions; the node may
/// have another engine than the one that the backup is of.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb restore monday.backup --endpoints 127.0.0.1:7441")]
pub(crate) struct Restore {
    /// The file
    pub(crate) file: PathBuf,
}

/// Check a backup, from its first byte to its last; no node is asked
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb verify monday.backup -o json")]
pub(crate) struct Verify {
    /// The file
    pub(crate) file: PathBuf,
}

impl Args {
    /// Reads the command line. A variable of the environment that is empty counts as unset.
    pub(crate) fn read(line: impl IntoIterator<Item = OsString>) -> clap::error::Result<Self> {
        let mut command = Self::command().mut_args(|argument| {
            let variable = argument.get_env().and_then(std::env::var_os);
            match variable.is_some_and(|value| value.is_empty()) {
                true => argument.env(Resettable::Reset),
                false => argument,
            }
        });
        let read = command.try_get_matches_from_mut(line).and_then(|matches| {
            let mut args = Self::from_arg_matches(&matches)?;
            match args.connection.decide(&matches) {
                true => Ok(args),
                false => Err(clap::Error::raw(
                    ErrorKind::ArgumentConflict,
                    "--endpoints and --pd both lead to the node: give one of them\n",
                )),
            }
        });
        read.map_err(|error| cut_echo(error.with_cmd(&command)))
    }
}

/// Cuts what the message repeats of the command line, so that the reason is not lost behind it.
fn cut_echo(mut error: clap::Error) -> clap::Error {
    const SHOWN: usize = 60;
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand, ContextKind::InvalidArg] {
        if let Some(ContextValue::String(text)) = error.get(kind)
            && text.len() > SHOWN
        {
            let shown: String = text.chars().take(SHOWN).collect();
            error.insert(kind, ContextValue::String(format!("{shown}...")));
        }
    }
    error
}

impl Command {
    /// Finds what clap cannot: before anything is sent, so that it is never mistaken for a node's answer.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.format().map(drop),
            Self::Export(export) => export.format().map(drop),
            Self::Cas(cas) if cas.new == Some(Value::Stdin) && cas.expect == Some(Value::Stdin) => {
                let message = "standard input can be the new value or the expected one, not both";
                Err(Failure::new(Exit::Usage, message))
            }
            _ => Ok(()),
        }
    }
}

impl Import {
    /// What the file holds.
    pub(crate) fn format(&self) -> Result<Format, Failure> {
        self.format.or_else(|| Format::of(&self.file)).ok_or_else(which_format)
    }
}

impl Export {
    /// What to write.
    pub(crate) fn format(&self) -> Result<Format, Failure> {
        self.format.or_else(|| Format::of(self.file()?)).ok_or_else(which_format)
    }

    /// Where to write; none for standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| !is_standard_output(path))
    }
}

impl Backup {
    /// Where to write; none for standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        Some(&*self.file).filter(|path| !is_standard_output(path))
    }
}

/// The device would be another name of the stream that is open anyway.
fn is_standard_output(path: &Path) -> bool {
    ["-", "/dev/stdout"].map(Path::new).contains(&path)
}

fn which_format() -> Failure {
    Failure::new(Exit::Usage, "which format? give --format tsv or --format jsonl")
}

fn key() -> impl TypedValueParser<Value = Key> {
    OsStringValueParser::new().try_map(parse_key)
}

fn value() -> impl TypedValueParser<Value = Value> {
    OsStringValueParser::new().try_map(Value::parse)
}

fn bytes() -> impl TypedValueParser<Value = Bytes> {
    OsStringValueParser::new().map(|text| Bytes::from(text.into_encoded_bytes()))
}

fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(Durability::ALL.map(Durability::name))
        .try_map(|name| Durability::from_str(&name))
}

fn version(text: &str) -> Result<Version, String> {
    let number = text.parse().map_err(|_| "a version is a number".to_owned())?;
    Version::new(number).ok_or_else(|| "a version is never 0; for no record, use --absent".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, ErrorKind> {
        Args::try_parse_from(line.split(' ')).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let by_pd = |line: &str| {
            let matches = Args::command()
                .mut_args(|argument| argument.env(Resettable::Reset))
                .try_get_matches_from(line.split(' '))
                .unwrap();
            let mut args = Args::from_arg_matches(&matches).unwrap();
            (args.connection.decide(&matches), args.connection.is_by_pd())
        };
        assert_eq!(by_pd("rdb health"), (true, false));
        assert_eq!(by_pd("rdb --endpoints a health"), (true, false));
        assert_eq!(by_pd("rdb --pd a health"), (true, true));
        assert_eq!(by_pd("rdb health --pd a"), (true, true));
        assert!(!by_pd("rdb --endpoints a health --pd b").0);
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Args::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("rdb {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn a_cas_has_exactly_one_expectation_and_one_effect() {
        for line in [
            "rdb cas k v --absent",
            "rdb cas k v --present",
            "rdb cas k v --expect old",
            "rdb cas k v --expect-version 7",
            "rdb cas k --delete --expect-version 7",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for (line, kind) in [
            ("rdb cas k v", ErrorKind::MissingRequiredArgument),
            ("rdb cas k --absent", ErrorKind::MissingRequiredArgument),
            ("rdb cas k v --absent --present", ErrorKind::ArgumentConflict),
            ("rdb cas k v --absent --expect-version 7", ErrorKind::ArgumentConflict),
            ("rdb cas k v --expect-version 7 --expect old", ErrorKind::ArgumentConflict),
            ("rdb cas k v --delete --present", ErrorKind::ArgumentConflict),
            ("rdb cas k --delete --absent", ErrorKind::ArgumentConflict),
            ("rdb cas k v --expect-version 0", ErrorKind::ValueValidation),
        ] {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for line in [
            "rdb scan --prefix a --from b",
            "rdb scan --prefix a --to b",
            "rdb scan --keys-only --count-only",
        ] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::ArgumentConflict, "{line}");
        }
    }

    #[test]
    fn keys_that_cannot_be_are_refused() {
        let long = "k".repeat(rdb_client::MAX_KEY_BYTES + 1);
        assert_eq!(parse(&format!("rdb get {long}")).unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parse("rdb get ").unwrap_err(), ErrorKind::ValueValidation);
    }

    #[test]
    fn a_negative_number_is_a_value() {
        assert!(parse("rdb put k -5").is_ok());
        assert!(parse("rdb put k -- -x").is_ok());
        assert_eq!(parse("rdb put k -x").unwrap_err(), ErrorKind::UnknownArgument);
    }
}
