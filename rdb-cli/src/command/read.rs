use std::time::Duration;

use futures::TryStreamExt as _;
use rdb_client::{Engine, EngineExt as _, Entry, Key, Scan};
use serde_json::json;

use crate::args;
use crate::count::records;
use crate::failure::{Exit, Failure};
use crate::output::{JsonEntry, Output, Print, expires_at_ms, ms};
use crate::people::in_time;

/// Shows the record under a key, and what is left of its life.
pub(crate) async fn get(engine: &dyn Engine, args: args::Get, out: &mut Output) -> Result<(), Failure> {
    let key = args.key;
    if out.print == Print::Raw {
        let record = engine.get(&key).await?.ok_or_else(|| not_found(&key))?;
        // The bytes and nothing else, so that they can be piped on.
        return out.bytes(&record.value);
    }
    let (record, ttl) = engine.get_with_ttl(&key).await?.ok_or_else(|| not_found(&key))?;
    if out.print == Print::Json {
        return out.json(&JsonEntry::new(&key, Some(&record)).with_ttl(ttl));
    }
    out.entry(&Entry::new(key, Some(record)))?;
    match ttl {
        // Where a reader of the table's columns does not trip over it.
        Some(ttl) => out.note(&left(ttl)),
        None => Ok(()),
    }
}

/// Shows what is left of the life of the record under a key.
pub(crate) async fn ttl(engine: &dyn Engine, args: &args::Ttl, out: &mut Output) -> Result<(), Failure> {
    let key = &args.key;
    let (record, ttl) = engine.get_with_ttl(key).await?.ok_or_else(|| not_found(key))?;
    match (out.print, ttl) {
        (Print::Json, _) => out.json(&json!({
            "ttl_ms": ttl.map(ms),
            "expires_at_ms": expires_at_ms(&record),
            "version": record.version.get(),
        })),
        (Print::Table, Some(ttl)) => out.line(&left(ttl)),
        (Print::Table, None) => out.line("does not expire"),
        (Print::Raw, Some(ttl)) => out.line(&format!("{}ms", ms(ttl))),
        (Print::Raw, None) => out.line("never"),
    }
}

fn left(ttl: Duration) -> String {
    format!("expires in {}", in_time(ms(ttl)))
}

fn not_found(key: &Key) -> Failure {
    Failure::new(Exit::NotFound, format!("not found: {key}"))
}

/// Shows the records of a range.
pub(crate) async fn scan(engine: &dyn Engine, args: &args::Scan, out: &mut Output) -> Result<(), Failure> {
    let mut view = engine.scan(what(args)).await?;
    let mut count = 0;
    while let Some(entries) = view.data.try_next().await? {
        count += entries.len() as u64;
        if !args.count_only {
            out.entries(&entries)?;
        }
    }
    match (args.count_only, out.print) {
        (true, Print::Json) => out.json(&json!({ "count": count, "version": view.version.get() })),
        (true, _) => out.line(&count.to_string()),
        (false, Print::Table) => out.note(&format!("{} at version {}", records(count), view.version)),
        (false, _) => Ok(()),
    }
}

fn what(args: &args::Scan) -> Scan {
    let mut scan = Scan::new(args.range.keys());
    scan.limit = args.limit;
    if args.reverse {
        scan = scan.reverse();
    }
    if args.keys_only || args.count_only {
        scan = scan.keys_only();
    }
    scan
}
