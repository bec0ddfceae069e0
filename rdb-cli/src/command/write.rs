use rdb_client::{Batch, Commit, Condition, Conflict, Engine, Entry, Outcome, WriteOptions};
use serde_json::json;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::output::{JsonEntry, Output, Print};

/// Stores a value.
pub(crate) async fn put(engine: &dyn Engine, args: args::Put, out: &mut Output) -> Result<(), Failure> {
    let value = args.value.read(engine.info().limits.max_value_bytes)?;
    let outcome = engine.write(Batch::new().put(args.key, value), options(&args.write)).await?;
    show(&outcome, out)
}

/// Removes a record.
pub(crate) async fn delete(engine: &dyn Engine, args: args::Delete, out: &mut Output) -> Result<(), Failure> {
    let outcome = engine.write(Batch::new().delete(args.key.clone()), options(&args.write)).await?;
    show(&outcome, out)?;
    match outcome {
        Outcome::Unchanged(_) => {
            out.finish()?;
            Err(Failure::new(Exit::NotFound, format!("not found: {}", args.key)))
        }
        Outcome::Committed(_) | Outcome::Conflict(_) => Ok(()),
    }
}

/// Stores or deletes under a condition.
pub(crate) async fn cas(engine: &dyn Engine, args: args::Cas, out: &mut Output) -> Result<(), Failure> {
    let limit = engine.info().limits.max_value_bytes;
    let condition = match (args.expect_version, args.expect, args.absent) {
        (Some(version), _, _) => Condition::Version(version),
        (_, Some(value), _) => Condition::Value(value.read(limit)?),
        (_, _, true) => Condition::Absent,
        _ => Condition::Present,
    };
    let batch = Batch::new().when(args.key.clone(), condition);
    let batch = match args.new {
        Some(value) => batch.put(args.key, value.read(limit)?),
        None => batch.delete(args.key),
    };
    let outcome = engine.write(batch, options(&args.write)).await?;
    show(&outcome, out)?;
    match outcome {
        Outcome::Conflict(conflict) => {
            out.finish()?;
            let key = &conflict.key;
            let message = match &conflict.current {
                None => format!("conflict: there is no record; nothing was changed. key=`{key}`"),
                Some(record) => format!(
                    "conflict: the record is not as expected; nothing was changed. key=`{key}`, version=`{}`",
                    record.version
                ),
            };
            Err(Failure::new(Exit::Conflict, message))
        }
        Outcome::Committed(_) | Outcome::Unchanged(_) => Ok(()),
    }
}

fn options(write: &args::Write) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.durability = write.durability;
    options
}

fn show(outcome: &Outcome, out: &mut Output) -> Result<(), Failure> {
    match outcome {
        Outcome::Committed(commit) => show_commit("committed", commit, out),
        Outcome::Unchanged(commit) => show_commit("unchanged", commit, out),
        Outcome::Conflict(conflict) => show_conflict(conflict, out),
    }
}

fn show_commit(outcome: &str, commit: &Commit, out: &mut Output) -> Result<(), Failure> {
    let Commit { version, durability } = commit;
    match out.print {
        Print::Table => out.line(&format!("{outcome} at version {version}, {durability}")),
        Print::Raw => out.line(&format!("{version}\t{durability}")),
        Print::Json => out.json(&json!({
            "outcome": outcome,
            "version": version.get(),
            "durability": durability.name(),
        })),
    }
}

/// Shows the record that was in the way, so that the next attempt needs no read (C7).
fn show_conflict(conflict: &Conflict, out: &mut Output) -> Result<(), Failure> {
    let current = conflict.current.as_ref();
    let entry = Entry::new(conflict.key.clone(), current.cloned());
    match (out.print, current) {
        (Print::Json, _) => out.json(&json!({
            "outcome": "conflict",
            "version": conflict.version.get(),
            "current": current.map(|_| JsonEntry::from(&entry)),
        })),
        (Print::Table, Some(_)) => out.entry(&entry),
        (Print::Table, None) => out.line("no record"),
        (Print::Raw, Some(record)) => out.fields(&[record.version.to_string().as_bytes(), &record.value]),
        (Print::Raw, None) => Ok(()),
    }
}
