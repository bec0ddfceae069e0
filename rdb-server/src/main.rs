//! The FlareDB node as a program: turns settings into an engine and serves it.

mod cli;

use std::process::ExitCode;

use rdb_server::settings::Program;

use crate::cli::Cli;

fn main() -> ExitCode {
    let cli: Cli = match Program::new("FLAREDB_").load() {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    let limits = cli.limits.limits();
    rdb_server::run(cli.node.config(), move || cli.engine.open(&limits))
}
