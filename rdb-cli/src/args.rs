mod bench;
mod parse;
mod range;
mod record;
mod transfer;

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rdb_client::Watch as Subscription;

use crate::command::{Completions, Manual, Ping, Tso};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Print;
use crate::value::Value;

pub(crate) use bench::Bench;
pub(crate) use range::{Scan, Watch};
pub(crate) use record::{Cas, Delete, Get, Put, Ttl, Write};
pub(crate) use transfer::{Backup, Export, Import, Restore, Verify};

const EXIT_CODES: &str = "\
Exit codes:
  0    done; what a reader of the output left unread is no failure
  1    an error not named below
  2    the command line makes no sense
  3    there is no record under the key
  4    a condition did not hold, with --wait until the end; nothing was changed
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
    Ttl(Ttl),
    Scan(Scan),
    Watch(Watch),
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
    Bench(Bench),
    /// Show the stores of the cluster, as the placement driver sees them
    #[command(after_help = "Example:\n  rdb stores --pd 127.0.0.1:7430")]
    Stores,
    Tso(Tso),
    Completions(Completions),
    #[command(name = "man")]
    Manual(Manual),
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
            Self::Bench(bench) => bench.settings().map(drop),
            Self::Cas(cas) if cas.new == Some(Value::Stdin) && cas.expect == Some(Value::Stdin) => {
                let message = "standard input can be the new value or the expected one, not both";
                Err(Failure::new(Exit::Usage, message))
            }
            Self::Watch(watch)
                if watch.snapshot && watch.progress.is_some_and(|every| every != Subscription::PROGRESS) =>
            {
                let message = "--progress has a time of its own with --snapshot; give it none";
                Err(Failure::new(Exit::Usage, message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
