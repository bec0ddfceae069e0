use futures::TryStreamExt as _;
use prometheus_client::metrics::gauge::Gauge;
use rdb_engine_api::{Engine, Entry, EntryStream, Result, Scan, View};
use rdb_proto::kv::v1;
use rdb_proto::{OVERHEAD_PER_ITEM, SCAN_CHUNK_BYTES, ScanPart};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::answers::{Answers, feed};
use crate::gate::Admission;

type Answer = Result<v1::ScanResponse, Status>;

/// Opens a scan on the engine, and leaves it to a task that feeds the answer.
pub(crate) async fn open<E: Engine + ?Sized>(
    engine: &E,
    scans: &Gauge,
    mut request: Request<v1::ScanRequest>,
) -> Result<ReceiverStream<Answer>, Status> {
    let admission = Admission::of(&mut request)?;
    let is_open = Open::new(scans);
    let work = async {
        let scan = Scan::try_from(request.into_inner())?;
        engine.scan(scan).await
    };
    match admission.supervise(work).await {
        Ok(view) => {
            let idle = engine.info().limits.scan_idle;
            Ok(feed(admission, idle, |answers| async {
                let _is_open = is_open;
                let entries = deliver(view, answers).await?;
                Ok(Some(ScanPart::End { entries }.into()))
            }))
        }
        Err(error) => Err(admission.fail(error)),
    }
}

/// Counts a scan while it is open.
struct Open(Gauge);

impl Open {
    fn new(scans: &Gauge) -> Self {
        scans.inc();
        Self(scans.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Delivers all but the end; returns how many entries there were (C8).
async fn deliver(view: View<EntryStream>, answers: Answers<v1::ScanResponse>) -> Result<u64> {
    answers.send(ScanPart::Start(view.version).into()).await?;
    let mut chunks = view.data;
    let mut delivered = 0;
    while let Some(chunk) = chunks.try_next().await? {
        for part in parts(chunk) {
            delivered += part.len() as u64;
            answers.send(ScanPart::Chunk(part).into()).await?;
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
