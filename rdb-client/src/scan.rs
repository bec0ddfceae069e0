use std::time::Duration;

use futures::stream;
use rdb_engine_api::{EntryStream, Error, ErrorKind, Result};
use rdb_proto::ScanPart;
use rdb_proto::kv::v1::ScanResponse;
use rdb_proto::{Call, from_status};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::client::closed;

/// An open scan: what the node sends, checked to be whole (C8).
pub(crate) struct ScanParts {
    parts: Streaming<ScanResponse>,
    delivered: u64,
    /// How long each part may take.
    timeout: Duration,
    closing: CancellationToken,
}

impl ScanParts {
    pub(crate) fn new(parts: Streaming<ScanResponse>, timeout: Duration, closing: CancellationToken) -> Self {
        Self { parts, delivered: 0, timeout, closing }
    }

    /// The next part; an error where the stream ends before the scan does.
    pub(crate) async fn next(&mut self) -> Result<ScanPart> {
        let message = tokio::select! {
            biased;
            () = self.closing.cancelled() => return Err(closed()),
            message = timeout(self.timeout, self.parts.message()) => message,
        };
        match message {
            Ok(Ok(Some(part))) => part.try_into(),
            Ok(Ok(None)) => Err(Error::new(ErrorKind::Unavailable, "scan was cut short")),
            Ok(Err(status)) => Err(from_status(&status, Call::Read)),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "no part of the scan in time")),
        }
    }

    /// The entries behind the start. Dropping the stream tells the node to stop.
    pub(crate) fn into_entries(self) -> EntryStream {
        Box::pin(stream::unfold(Some(self), |open| async {
            let mut scan = open?;
            let failure = match scan.next().await {
                Ok(ScanPart::Chunk(entries)) => {
                    scan.delivered += entries.len() as u64;
                    return Some((Ok(entries), Some(scan)));
                }
                Ok(ScanPart::End { entries }) if entries == scan.delivered => {
                    // Takes the trailers in, so that the node does not see a reader who ran away.
                    let _ = timeout(scan.timeout, scan.parts.message()).await;
                    return None;
                }
                Ok(ScanPart::End { entries }) => malformed("scan lost entries on its way")
                    .with("sent", entries)
                    .with("received", scan.delivered),
                Ok(ScanPart::Start(_)) => malformed("scan began twice"),
                Err(error) => error,
            };
            Some((Err(failure), None))
        }))
    }
}

/// A node that breaks the protocol.
pub(crate) fn malformed(message: &str) -> Error {
    Error::new(ErrorKind::Internal, message)
}
