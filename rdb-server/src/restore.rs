use futures::{StreamExt as _, stream};
use rdb_engine_api::{Commit, Engine, Entry, EntryStream, Error, ErrorKind, Result, Version, View};
use rdb_proto::ScanPart;
use rdb_proto::kv::v1;

use crate::messages::Messages;

/// Restores what a client sends. The engine gets an end only where the client has sent one that fits:
/// whatever else ends the request, nothing is restored (C19).
pub(crate) async fn restore<E: Engine + ?Sized>(
    engine: &E,
    mut messages: Messages<v1::RestoreRequest>,
) -> Result<Commit> {
    let version = start(messages.next().await?)?;
    let parts = stream::unfold(Some((messages, 0)), |open| async {
        let (mut messages, received) = open?;
        match chunk(&mut messages, received).await {
            Ok(Some(entries)) => {
                let received = received + entries.len() as u64;
                Some((Ok(entries), Some((messages, received))))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let data: EntryStream = parts.boxed();
    engine.restore(View { version, data }).await
}

fn start(message: Option<v1::RestoreRequest>) -> Result<Version> {
    match message.map(ScanPart::try_from).transpose()? {
        Some(ScanPart::Start(version)) => Ok(version),
        _ => Err(malformed("restore has no beginning")),
    }
}

/// The next entries; none at the end.
async fn chunk(messages: &mut Messages<v1::RestoreRequest>, received: u64) -> Result<Option<Vec<Entry>>> {
    let Some(message) = messages.next().await? else {
        return Err(Error::new(ErrorKind::Unavailable, "restore was cut short by its sender"));
    };
    match message.try_into()? {
        ScanPart::Chunk(entries) => Ok(Some(entries)),
        ScanPart::End { entries } if entries == received => Ok(None),
        ScanPart::End { entries } => {
            Err(malformed("restore lost entries on its way").with("sent", entries).with("received", received))
        }
        ScanPart::Start(_) => Err(malformed("restore began twice")),
    }
}

fn malformed(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
