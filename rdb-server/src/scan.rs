use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use rdb_engine_api::{Engine, Entry, EntryStream, Error, ErrorKind, Result, Scan, View};
use rdb_proto::kv::v1;
use rdb_proto::{OVERHEAD_PER_ITEM, SCAN_CHUNK_BYTES, ScanPart};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::gate::Admission;

type Answer = Result<v1::ScanResponse, Status>;

/// Opens a scan on the engine, and leaves it to a task that feeds the answer.
///
/// A task, so that the scan comes to its end by its deadline, or when its reader rests, even where nobody
/// polls the answer: a client that does not read keeps nothing of the engine's.
pub(crate) async fn open<E: Engine + ?Sized>(
    engine: &E,
    mut request: Request<v1::ScanRequest>,
) -> Result<ReceiverStream<Answer>, Status> {
    let admission = Admission::of(&mut request)?;
    let work = async {
        let scan = Scan::try_from(request.into_inner())?;
        engine.scan(scan).await
    };
    match admission.supervise(work).await {
        Ok(view) => {
            let (sender, receiver) = mpsc::channel(1);
            let idle = engine.info().limits.scan_idle;
            tokio::spawn(feed(admission, idle, view, sender));
            Ok(ReceiverStream::new(receiver))
        }
        Err(error) => Err(admission.fail(error)),
    }
}

/// Delivers a scan, and last its end or an error (C8).
async fn feed(
    admission: Arc<Admission>,
    idle: Duration,
    view: View<EntryStream>,
    sender: mpsc::Sender<Answer>,
) {
    let past_deadline = async {
        match admission.requested() {
            Some(deadline) => deadline.passed().await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        biased;
        () = sender.closed() => return, // nobody is there any more; counted as cancelled
        () = admission.state().ending.cancelled() => Err(admission.cut_off("node is shutting down")),
        () = past_deadline => Err(admission.cut_off("deadline has passed")),
        result = admission.catch(deliver(view, idle, &sender)) => result,
    };
    let last = match result {
        Ok(entries) => {
            admission.finish(&Ok(()));
            Ok(ScanPart::End { entries }.into())
        }
        Err(error) => Err(admission.fail(error)),
    };
    // Before the reader takes the last message: it may take its time, or never come.
    drop(admission);
    let _ = sender.send(last).await; // fails where nobody is there any more
}

/// Delivers all but the end; returns how many entries there were.
async fn deliver(view: View<EntryStream>, idle: Duration, sender: &mpsc::Sender<Answer>) -> Result<u64> {
    let send = async |part: ScanPart| match sender.send_timeout(Ok(part.into()), idle).await {
        Ok(()) => Ok(()),
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
            Err(Error::new(ErrorKind::Exhausted, "scan was left unread for too long")
                .with("limit_ms", idle.as_millis()))
        }
        Err(mpsc::error::SendTimeoutError::Closed(_)) => {
            Err(Error::new(ErrorKind::Unavailable, "scan has no reader any more"))
        }
    };
    send(ScanPart::Start(view.version)).await?;
    let mut chunks = view.data;
    let mut delivered = 0;
    while let Some(chunk) = chunks.try_next().await? {
        for part in parts(chunk) {
            delivered += part.len() as u64;
            send(ScanPart::Chunk(part)).await?;
        }
    }
    Ok(delivered)
}

/// Cuts an engine's chunk into messages. Engines know nothing of messages.
fn parts(chunk: Vec<Entry>) -> impl Iterator<Item = Vec<Entry>> {
    let mut entries = chunk.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut part = Vec::new();
        let mut bytes = 0;
        while let Some(entry) =
            entries.next_if(|entry| part.is_empty() || bytes + size(entry) <= SCAN_CHUNK_BYTES)
        {
            bytes += size(&entry);
            part.push(entry);
        }
        (!part.is_empty()).then_some(part)
    })
}

fn size(entry: &Entry) -> usize {
    OVERHEAD_PER_ITEM + entry.key.len() + entry.record.as_ref().map_or(0, |record| record.value.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdb_engine_api::{Key, Record, Version};

    fn entry(bytes: usize) -> Entry {
        let record = Record::new(vec![7; bytes].into(), Version::MIN);
        Entry::new(Key::new("k").unwrap(), Some(record))
    }

    #[test]
    fn a_chunk_is_cut_into_messages_in_order_and_without_loss() {
        let most = SCAN_CHUNK_BYTES;
        let sizes = [1, most, 5, most / 2, most / 3, most * 3, 1];
        let parts: Vec<Vec<usize>> = parts(sizes.map(entry).into())
            .map(|part| part.iter().map(|entry| size(entry) - 1 - OVERHEAD_PER_ITEM).collect())
            .collect();
        let [a, b, c, d, e, f, g] = sizes;
        assert_eq!(parts, [vec![a], vec![b], vec![c, d, e], vec![f], vec![g]]);
    }

    #[test]
    fn an_empty_chunk_makes_no_message() {
        assert_eq!(parts(Vec::new()).count(), 0);
    }
}
