use futures::TryStreamExt as _;
use prometheus_client::metrics::gauge::Gauge;
use rdb_engine_api::{Engine, EntryStream, Result, Scan, View};
use rdb_proto::kv::v1;
use rdb_proto::{ScanPart, cut_chunk};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::answers::{Answers, feed};
use crate::gate::Admission;
use crate::open::Open;

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

/// Delivers all but the end; returns how many entries there were (C8).
async fn deliver(view: View<EntryStream>, answers: Answers<v1::ScanResponse>) -> Result<u64> {
    answers.send(ScanPart::Start(view.version).into()).await?;
    let mut chunks = view.data;
    let mut delivered = 0;
    while let Some(chunk) = chunks.try_next().await? {
        for part in cut_chunk(chunk) {
            delivered += part.len() as u64;
            answers.send(ScanPart::Chunk(part).into()).await?;
        }
    }
    Ok(delivered)
}
