//! The FlareDB node as a program: turns flags into an engine and serves it.

mod cli;
mod engines;
mod units;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, LogFormat};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logs(&cli);
    if let Err(error) = cli.check() {
        // As clap reports what it finds wrong itself.
        eprintln!("error: {}\n\nFor more information, try '--help'.", error.report());
        return ExitCode::from(2);
    }
    rdb_server::run(cli.node_config(), move || engines::open(&cli))
}

fn start_logs(cli: &Cli) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(cli.log_filter())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match cli.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}
