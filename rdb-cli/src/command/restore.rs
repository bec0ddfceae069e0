use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rdb_client::{Client, Engine as _, Entry, EntryStream, KeyRange, Scan, View};
use serde_json::json;

use super::backup::verified;
use crate::args;
use crate::count;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Print};
use crate::progress::Progress;
use crate::signals::{self, Signals};

/// Verifies a backup, then fills the node with it, until the end or a signal.
pub(crate) async fn restore(client: &Client, args: &args::Restore, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let ended = Arc::new(AtomicBool::new(false));
    tokio::select! {
        done = fill(client, args, out, Arc::clone(&ended)) => done,
        exit = signals.next() => {
            let what = match ended.load(Ordering::SeqCst) {
                true => "the backup may have been restored: read to find out",
                false => "nothing was restored",
            };
            Err(Failure::new(exit, format!("{}; {what}", signals::name(exit))))
        }
    }
}

async fn fill(
    client: &Client,
    args: &args::Restore,
    out: &mut Output,
    ended: Arc<AtomicBool>,
) -> Result<(), Failure> {
    // The node decides. This spares the reading of a long file for nothing.
    let first = client.scan(Scan::new(KeyRange::all()).limit(1).keys_only()).await?;
    if !first.data.try_concat().await?.is_empty() {
        return Err(Failure::new(Exit::Error, "node is not empty: a restore takes one that holds no record"));
    }
    let (backup, meta, summary) = verified(&args.file).await?;
    let view = backup.into_view().await?;
    let progress = Progress::begin("restoring", Some(summary.record_bytes));
    let commit = client.restore(shown_on(progress, view, ended)).await?;
    if out.print == Print::Json {
        return out.json(&json!({
            "records": summary.records,
            "record_bytes": summary.record_bytes,
            "engine": meta.engine,
            "from_version": summary.version.get(),
            "version": commit.version.get(),
            "durability": commit.durability.name(),
        }));
    }
    out.line(&format!(
        "restored {} ({} bytes) of engine {} at version {}; now at version {}, {}",
        count::records(summary.records),
        summary.record_bytes,
        meta.engine,
        summary.version,
        commit.version,
        commit.durability.name()
    ))
}

/// The same view, which shows how much of it was taken, and notes that all of it was.
fn shown_on(progress: Progress, view: View<EntryStream>, ended: Arc<AtomicBool>) -> View<EntryStream> {
    let View { version, data } = view;
    let mut records = 0;
    let shown = data.inspect_ok(move |entries| {
        records += entries.len() as u64;
        progress.advance(entries.iter().map(bytes).sum(), records);
    });
    let end = stream::once(async move { ended.store(true, Ordering::SeqCst) });
    View { version, data: shown.chain(end.filter_map(async |()| None)).boxed() }
}

fn bytes(entry: &Entry) -> u64 {
    (entry.key.len() + entry.record.as_ref().map_or(0, |record| record.value.len())) as u64
}
