//! The FlareDB placement driver as a program: turns settings into an engine and serves a cluster's state.

mod cli;

use std::process::ExitCode;

use rdb_engine_api::{History, Limits};
use rdb_pd::serve_on;
use rdb_server::service::DriverDirectory;
use rdb_server::settings::Program;

use crate::cli::Cli;

fn main() -> ExitCode {
    let program = Program::new("FLAREDB_PD_")
        .default("listen", "127.0.0.1:7430")
        .default("ops-listen", "127.0.0.1:7431")
        .default("data-dir", "flaredb-pd-data")
        .default("cache-size", "16MiB")
        // A client needs one for its timestamps, and few besides.
        .default("max-streams-per-connection", "64");
    let cli: Cli = match program.load() {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    let config = cli.config();
    let server = config.server.clone();
    let directory = cli.engine.directory();
    let open = move || cli.engine.open(&Limits::default(), History::Memory);
    rdb_server::run_with(server, open, async |bound, engine| {
        let directory = directory.map(DriverDirectory::new).transpose()?;
        let driver = serve_on(bound, engine, config).await?;
        // Not before: what was refused is not its own.
        if let Some(directory) = directory {
            directory.keep(driver.cluster_id())?;
        }
        Ok(driver)
    })
}
