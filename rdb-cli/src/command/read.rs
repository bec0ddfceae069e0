use std::ops::Bound;

use futures::TryStreamExt as _;
use rdb_client::{Engine, Entry, KeyRange, Scan};
use serde_json::json;

use crate::args;
use crate::count::records;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Print};

/// Shows the record under a key.
pub(crate) async fn get(engine: &dyn Engine, args: args::Get, out: &mut Output) -> Result<(), Failure> {
    let Some(record) = engine.get(&args.key).await? else {
        return Err(Failure::new(Exit::NotFound, format!("not found: {}", args.key)));
    };
    match out.print {
        // The bytes and nothing else, so that they can be piped on.
        Print::Raw => out.bytes(&record.value),
        Print::Table | Print::Json => out.entry(&Entry::new(args.key, Some(record))),
    }
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
        (false, Print::Table) => {
            out.finish()?;
            eprintln!("{} at version {}", records(count), view.version);
            Ok(())
        }
        (false, _) => Ok(()),
    }
}

fn what(args: &args::Scan) -> Scan {
    let range = match &args.prefix {
        Some(prefix) => KeyRange::prefix(prefix.clone()),
        None => KeyRange::new(
            args.from.clone().map_or(Bound::Unbounded, Bound::Included),
            args.to.clone().map_or(Bound::Unbounded, Bound::Excluded),
        ),
    };
    let mut scan = Scan::new(range);
    scan.limit = args.limit;
    if args.reverse {
        scan = scan.reverse();
    }
    if args.keys_only || args.count_only {
        scan = scan.keys_only();
    }
    scan
}
