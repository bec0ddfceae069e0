//! The `rdb` command: FlareDB from the shell.
//!
//! Results go to standard output, everything else to standard error. What ends a command is its exit code;
//! `rdb --help` lists them.

mod args;
mod changes;
mod command;
mod connection;
mod count;
mod destination;
mod duration;
mod escape;
mod failure;
mod format;
mod lines;
mod output;
mod people;
mod progress;
mod signals;
mod value;

use std::process::ExitCode;
use std::sync::Arc;

use rdb_client::RetryPolicy;

use args::{Args, Command};
use failure::{Exit, Failure};
use output::Output;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let exit = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(args));
            // A read of a terminal or pipe that nobody awaits any more must not keep the process.
            runtime.shutdown_background();
            done.map_or_else(Failure::report, |()| Exit::Ok)
        }
        Err(error) => Failure::io("cannot start", &error).report(),
    };
    ExitCode::from(exit.code())
}

async fn run(args: Args) -> Result<(), Failure> {
    args.command.check()?;
    let mut output = Output::stdout(args.print);
    let out = &mut output;
    let connection = &args.connection;
    match args.command {
        Command::Get(get) => command::get(&connection.client().await?, get, out).await?,
        Command::Put(put) => command::put(&connection.client().await?, put, out).await?,
        Command::Delete(delete) => command::delete(&connection.client().await?, delete, out).await?,
        Command::Cas(cas) => command::cas(&connection.client().await?, cas, out).await?,
        Command::Scan(scan) => command::scan(&connection.client().await?, &scan, out).await?,
        Command::Ttl(ttl) => command::ttl(&connection.client().await?, &ttl, out).await?,
        Command::Watch(watch) => {
            return command::watch(Arc::new(connection.client().await?), watch, output).await;
        }
        Command::Import(import) => {
            command::import(Arc::new(connection.client().await?), import, out).await?;
        }
        Command::Export(export) => {
            let client = Arc::new(connection.client().await?);
            return command::export(client, export, output).await;
        }
        Command::Backup(backup) => {
            return command::backup(connection.client().await?, backup, output).await;
        }
        Command::Restore(restore) => command::restore(&connection.client().await?, &restore, out).await?,
        Command::Verify(verify) => command::verify(verify, out).await?,
        Command::Status => {
            let client = connection.client().await?;
            command::status(&client, &connection.reached(&client), out).await?;
        }
        Command::Health => command::health(&connection.client().await?, out).await?,
        // A request that is sent again would be measured as a slow one.
        Command::Ping(ping) => {
            command::ping(&connection.client_with(RetryPolicy::never()).await?, &ping, out).await?;
        }
        Command::Stores => command::stores(&connection.pd().await?, out).await?,
        Command::Tso(tso) => command::tso(&connection.pd().await?, &tso, out).await?,
        Command::Completions(shell) => command::completions(&shell, out)?,
        Command::Manual(manual) => command::manual(&manual, out)?,
    }
    output.finish()
}
