use rdb_client::{Batch, Commit, Condition, Conflict, Engine, Entry, Error, Op, Outcome, WriteOptions};
use serde_json::json;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::output::{JsonEntry, Output, Print};

/// Stores a value.
pub(crate) async fn put(engine: &dyn Engine, args: args::Put, out: &mut Output) -> Result<(), Failure> {
    let value = args.value.read(engine.info().limits.max_value_bytes)?;
    let batch = Batch::new().op(args.key, Op::Put { value, ttl: args.ttl });
    let outcome = engine.write(batch, options(&args.write)).await.map_err(failed)?;
    show(&outcome, out)
}

/// Removes a record.
pub(crate) async fn delete(engine: &dyn Engine, args: args::Delete, out: &mut Output) -> Result<(), Failure> {
    let batch = Batch::new().delete(args.key.clone());
    let outcome = engine.write(batch, options(&args.write)).await.map_err(failed)?;
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
        Some(value) => batch.op(args.key, Op::Put { value: value.read(limit)?, ttl: args.ttl }),
        None => batch.delete(args.key),
    };
    let mut options = options(&args.write);
    options.wait = args.wait;
    let outcome = engine.write(batch, options).await.map_err(failed)?;
    show(&outcome, out)?;
    match outcome {
        Outcome::Conflict(conflict) => {
            out.finish()?;
            Err(Failure::new(Exit::Conflict, reason(&conflict)))
        }
        Outcome::Committed(_) | Outcome::Unchanged(_) => Ok(()),
    }
}

/// Says what to do besides what happened.
fn failed(error: Error) -> Failure {
    const ADVICE: &str =
        "read the record before you write again; a longer --timeout leaves rdb more time to find out";
    let unknown = error.may_have_been_applied();
    let failure = Failure::from(error);
    if unknown { failure.note(ADVICE) } else { failure }
}

fn reason(conflict: &Conflict) -> String {
    let key = &conflict.key;
    match (&conflict.current, conflict.replaced) {
        (Some(record), _) => format!(
            "conflict: the record is not as expected; nothing was changed. key=`{key}`, version=`{}`",
            record.version
        ),
        (None, Some(version)) => format!(
            "conflict: the record was not as expected, and is gone since; nothing was changed. key=`{key}`, \
             version=`{version}`"
        ),
        (None, None) => format!("conflict: there is no record; nothing was changed. key=`{key}`"),
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
    match (out.print, current, conflict.replaced) {
        (Print::Json, ..) => {
            let mut shown = json!({
                "outcome": "conflict",
                "version": conflict.version.get(),
                "current": current.map(|record| JsonEntry::new(&conflict.key, Some(record))),
            });
            if let Some(version) = conflict.replaced {
                shown["replaced"] = json!(version.get());
            }
            out.json(&shown)
        }
        (Print::Table, Some(record), _) => out.entry(&Entry::new(conflict.key.clone(), Some(record.clone()))),
        (Print::Table, None, Some(version)) => {
            out.line(&format!("a record of version {version}, gone since"))
        }
        (Print::Table, None, None) => out.line("no record"),
        (Print::Raw, Some(record), _) => out.fields(&[record.version.to_string().as_bytes(), &record.value]),
        (Print::Raw, None, Some(version)) => out.line(&version.to_string()),
        (Print::Raw, None, None) => Ok(()),
    }
}
