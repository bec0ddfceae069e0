use std::sync::Arc;

use futures::TryStreamExt as _;
use rdb_client::{Engine, KeyRange, Scan, Version};
use serde_json::json;
use tokio::task::yield_now;

use super::whole::whole;
use crate::args;
use crate::count;
use crate::destination::Destination;
use crate::failure::{Exit, Failure};
use crate::format::Format;
use crate::output::{Output, Print};
use crate::progress::Progress;

/// Writes all records of one view, until the end or a signal.
pub(crate) async fn export(
    engine: Arc<dyn Engine>,
    args: args::Export,
    mut out: Output,
) -> Result<(), Failure> {
    whole("export", async move { write(&*engine, &args, &mut out).await }).await
}

async fn write(engine: &dyn Engine, args: &args::Export, out: &mut Output) -> Result<(), Failure> {
    let format = args.format()?;
    let scan = Scan::new(KeyRange::prefix(args.prefix.clone().unwrap_or_default()));
    let (count, version) = match args.file() {
        None => records(engine, scan, format, |lines| out.bytes(lines)).await?,
        Some(path) => {
            let mut file = Destination::open(path)?;
            let done = records(engine, scan, format, |lines| file.write(lines)).await?;
            file.finish()?;
            if out.print == Print::Json {
                out.json(&json!({ "records": done.0, "version": done.1.get() }))?;
            }
            done
        }
    };
    out.finish()?;
    eprintln!("exported {} at version {version}", count::records(count));
    Ok(())
}

async fn records(
    engine: &dyn Engine,
    scan: Scan,
    format: Format,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure> + Send,
) -> Result<(u64, Version), Failure> {
    let progress = Progress::begin("exporting", None);
    let mut view = engine.scan(scan).await?;
    let (mut count, mut lines) = (0, Vec::new());
    while let Some(entries) = view.data.try_next().await? {
        lines.clear();
        for entry in &entries {
            let Some(record) = &entry.record else {
                return Err(Failure::new(Exit::Error, "node sent a key without its record"));
            };
            let encoded = format.encode(&entry.key, &record.value, &mut lines);
            encoded.map_err(|reason| Failure::new(Exit::Error, format!("export is not whole: {reason}")))?;
            count += 1;
        }
        write(&lines)?;
        progress.advance(lines.len() as u64, count);
        // A node that sends faster than the file takes would leave no moment for a signal.
        yield_now().await;
    }
    Ok((count, view.version))
}
