//! The FlareDB node as a program: turns settings into an engine and serves it.

mod cli;

use std::process::ExitCode;

use rdb_server::settings::Program;

use crate::cli::Cli;

// Gives what was freed back to the system, which glibc's hardly does (docs/adr/0011).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli: Cli = match Program::new("FLAREDB_").load() {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    let (node, limits, history) = (cli.node.config(), cli.limits.limits(), cli.limits.history());
    let (pd, directory) = (cli.pd.config(), cli.engine.directory());
    rdb_server::run_with(
        node,
        move || cli.engine.open(&limits, history),
        async move |bound, engine| match pd {
            Some(pd) => rdb_server::serve_in_cluster(bound, engine, pd, directory).await,
            None => rdb_server::serve_alone(bound, engine, directory).await,
        },
    )
}
