use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::UNIX_EPOCH;

use rdb_client::backup::{self, Backup, Meta, Summary};
use rdb_client::{Client, Engine as _, KeyRange, Scan};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncWrite;

use super::whole::whole;
use crate::args;
use crate::count;
use crate::destination::Destination;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Print};
use crate::progress::Progress;

/// Writes all records of one view with their versions, until the end or a signal.
pub(crate) async fn backup(client: Client, args: args::Backup, mut out: Output) -> Result<(), Failure> {
    whole("backup", async move { write(&client, &args, &mut out).await }).await
}

async fn write(client: &Client, args: &args::Backup, out: &mut Output) -> Result<(), Failure> {
    let meta = Meta::of(client);
    let (summary, to) = match args.file() {
        None => {
            if io::stdout().is_terminal() {
                return Err(Failure::new(Exit::Usage, "a backup is nothing for a terminal; name a file"));
            }
            let mut sink = BufWriter::with_capacity(256 << 10, io::stdout());
            let summary = records(client, &meta, &mut sink).await?;
            sink.flush().map_err(|error| Failure::io("cannot write backup", &error))?;
            (summary, String::new())
        }
        Some(path) => {
            let mut file = Destination::open(path)?;
            let at = |failure: Failure| failure.at(&path.display().to_string());
            let summary = records(client, &meta, &mut file).await.map_err(at)?;
            file.finish()?;
            if out.print == Print::Json {
                out.pairs(&pairs(&meta, &summary))?;
            }
            (summary, format!(" to {}", path.display()))
        }
    };
    out.finish()?;
    eprintln!(
        "backed up {} ({} bytes) at version {}{to}",
        count::records(summary.records),
        summary.record_bytes,
        summary.version
    );
    Ok(())
}

async fn records(client: &Client, meta: &Meta, sink: &mut (impl Write + Unpin)) -> Result<Summary, Failure> {
    let view = client.scan(Scan::new(KeyRange::all())).await?;
    let progress = Progress::begin("backing up", None);
    Ok(backup::write(view, meta, &mut Blocking(sink), shown_on(&progress)).await?)
}

/// Checks a file, without a node.
pub(crate) async fn verify(args: args::Verify, out: &mut Output) -> Result<(), Failure> {
    let (_, meta, summary) = verified(&args.file).await?;
    out.pairs(&pairs(&meta, &summary))?;
    out.finish()
}

/// Reads all of a file, and says what it is.
pub(super) async fn verified(path: &Path) -> Result<(Backup<File>, Meta, Summary), Failure> {
    let cannot_read = |error| Failure::io(&format!("cannot read {}", path.display()), &error);
    let file = File::open(path).await.map_err(cannot_read)?;
    let metadata = file.metadata().await.map_err(cannot_read)?;
    if !metadata.is_file() {
        let message = format!("{} is not a file: a backup is read twice", path.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let progress = Progress::begin("verifying", Some(metadata.len()));
    let verified = Backup::verify(file, shown_on(&progress)).await;
    let backup = verified.map_err(|error| Failure::from(error).at(&path.display().to_string()))?;
    let (meta, summary) = (backup.meta().clone(), backup.summary().clone());
    Ok((backup, meta, summary))
}

fn shown_on(progress: &Progress) -> impl FnMut(backup::Progress) {
    let mut shown = 0;
    move |step| {
        progress.advance(step.file_bytes - shown, step.records);
        shown = step.file_bytes;
    }
}

/// What there is to tell of a backup.
fn pairs(meta: &Meta, summary: &Summary) -> Vec<(&'static str, Value)> {
    let made_at = meta.made_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let hash: String = summary.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut pairs = vec![
        ("engine", json!(meta.engine)),
        ("server_version", json!(meta.server_version)),
        // Not `made_at_ms`, which people would be shown as a length of time.
        ("made_at_unix", json!(u64::try_from(made_at / 1_000).unwrap_or(u64::MAX))),
        ("version", json!(summary.version.get())),
        ("records", json!(summary.records)),
        ("record_bytes", json!(summary.record_bytes)),
        ("file_bytes", json!(summary.file_bytes)),
        ("sha256", json!(hash)),
    ];
    if !meta.cluster_id.is_empty() {
        pairs.push(("cluster_id", json!(meta.cluster_id)));
    }
    pairs
}

/// Something that blocks where it is written to, as the thread it is used on may.
struct Blocking<'a, W>(&'a mut W);

impl<W: Write + Unpin> AsyncWrite for Blocking<'_, W> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
