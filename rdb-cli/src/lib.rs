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
mod notices;
mod output;
mod people;
mod progress;
mod signals;
mod value;

use std::process::ExitCode;
use std::sync::Arc;

use rdb_client::{Client, Engine as _, RetryPolicy};

use args::{Args, Command, Write};
use connection::Connection;
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
        Command::Put(put) => {
            let client = writer(connection, &put.write).await?;
            let done = command::put(&client, put, out).await;
            end(&client, done, out).await?;
        }
        Command::Delete(delete) => {
            let client = writer(connection, &delete.write).await?;
            let done = command::delete(&client, delete, out).await;
            end(&client, done, out).await?;
        }
        Command::Cas(cas) => {
            let client = writer(connection, &cas.write).await?;
            let done = command::cas(&client, cas, out).await;
            end(&client, done, out).await?;
        }
        Command::Scan(scan) => command::scan(&connection.client().await?, &scan, out).await?,
        Command::Ttl(ttl) => command::ttl(&connection.client().await?, &ttl, out).await?,
        Command::Watch(watch) => {
            return command::watch(connection.client().await?, watch, output).await;
        }
        Command::Import(import) => {
            let client = Arc::new(writer(connection, &import.write).await?);
            let engine = Arc::clone(&client);
            let done = command::import(engine, import, out).await;
            end(&client, done, out).await?;
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
            let client = connection.client_with(|client| client.retry(RetryPolicy::never())).await?;
            command::ping(&client, &ping, out).await?;
        }
        Command::Bench(bench) => {
            let client = writer(connection, &bench.write).await?;
            let done = command::bench(&client, &connection.reached(&client), &bench, out).await;
            end(&client, done, out).await?;
        }
        Command::Stores => command::stores(&connection.pd().await?, out).await?,
        Command::Tso(tso) => command::tso(&connection.pd().await?, &tso, out).await?,
        Command::Completions(shell) => command::completions(&shell, out)?,
        Command::Manual(manual) => command::manual(&manual, out)?,
    }
    output.finish()
}

/// Connects for writes.
async fn writer(connection: &Connection, write: &Write) -> Result<Client, Failure> {
    connection.client_with(|client| client.exactly_once(write.exactly_once)).await
}

/// Shows what came of writes, then ends their session: a node keeps only so many, and a loop in a shell opens
/// one each time.
async fn end(client: &Client, done: Result<(), Failure>, out: &mut Output) -> Result<(), Failure> {
    let shown = out.finish();
    // Whether it could be ended changes nothing of what was done; left alone, it ends when it was idle.
    let _ = client.close().await;
    done.and(shown)
}

/// Compiles what the guide shows.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
mod guide {}
