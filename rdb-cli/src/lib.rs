//! The `rdb` command: FlareDB from the shell.
//!
//! Results go to standard output, everything else to standard error. What ends a command is its exit code;
//! `rdb --help` lists them.

mod args;
mod command;
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

use rdb_client::{Client, RetryPolicy};

use args::{Args, Command, Connection};
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
    if let Command::Verify(verify) = args.command {
        return command::verify(verify, &mut output).await;
    }
    let client = connect(&args.connection).await?;
    let out = &mut output;
    match args.command {
        Command::Get(get) => command::get(&client, get, out).await?,
        Command::Put(put) => command::put(&client, put, out).await?,
        Command::Delete(delete) => command::delete(&client, delete, out).await?,
        Command::Cas(cas) => command::cas(&client, cas, out).await?,
        Command::Scan(scan) => command::scan(&client, &scan, out).await?,
        Command::Import(import) => command::import(Arc::new(client), import, out).await?,
        Command::Export(export) => return command::export(Arc::new(client), export, output).await,
        Command::Backup(backup) => return command::backup(client, backup, output).await,
        Command::Restore(restore) => command::restore(&client, &restore, out).await?,
        // Without a node, above.
        Command::Verify(verify) => command::verify(verify, out).await?,
        Command::Status => command::status(&client, &args.connection.endpoints, out).await?,
        Command::Health => command::health(&client, out).await?,
    }
    output.finish()
}

async fn connect(connection: &Connection) -> Result<Client, Failure> {
    let client = Client::builder()
        .endpoints(connection.endpoints.iter().map(String::as_str))
        .timeout(connection.timeout)
        .connect_timeout(connection.connect_timeout)
        .retry(RetryPolicy::default())
        .connect();
    client.await.map_err(Failure::connect)
}
