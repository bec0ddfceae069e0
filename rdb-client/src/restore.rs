use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use rdb_engine_api::{Commit, EntryStream, Error, ErrorKind, Result, View};
use rdb_proto::kv::v1::{RestoreRequest, RestoreResponse};
use rdb_proto::{Call, ScanPart, cut_chunk, from_status};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use crate::client::closed;

/// A restore on its way to the node: how far it is, and what is known of its outcome.
///
/// The node makes a restore whole only once it has the end, so as long as that is not on its way, nothing
/// was restored and nothing will be, whatever becomes of the request (C10, C19).
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    state: Arc<Mutex<State>>,
    closing: CancellationToken,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// Why the source gave no end.
    broken: Option<Error>,
    /// When the connection asked for more, or was given it.
    moved: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The source is asked for more: the node is not to blame for the wait.
    Reading,
    /// The connection has what came last.
    Sending,
    /// The end may be on its way.
    Ended,
    /// There will be no end.
    Broken,
}

impl Upload {
    pub(crate) fn new(closing: CancellationToken) -> Self {
        let state = State { stage: Stage::Sending, broken: None, moved: Instant::now() };
        Self { state: Arc::new(Mutex::new(state)), closing }
    }

    /// The messages of a view; where the view breaks off, they end without an end.
    pub(crate) fn messages(&self, view: View<EntryStream>) -> impl Stream<Item = RestoreRequest> + use<> {
        let upload = self.clone();
        let start = stream::iter([ScanPart::Start(view.version).into()]);
        let chunks = stream::unfold(Some((upload, view.data, 0)), |open| async {
            let (upload, mut data, sent) = open?;
            upload.enter(Stage::Reading);
            let chunk = tokio::select! {
                biased;
                () = upload.closing.cancelled() => Some(Err(closed())),
                chunk = data.next() => chunk,
            };
            match chunk {
                Some(Ok(entries)) => {
                    upload.enter(Stage::Sending);
                    let count = sent + entries.len() as u64;
                    let parts: Vec<_> = cut_chunk(entries).map(ScanPart::Chunk).collect();
                    Some((parts, Some((upload, data, count))))
                }
                Some(Err(error)) => {
                    upload.state.lock().broken = Some(error);
                    upload.enter(Stage::Broken);
                    None
                }
                None => {
                    upload.enter(Stage::Ended);
                    Some((vec![ScanPart::End { entries: sent }], None))
                }
            }
        });
        let moved = self.clone();
        let chunks = chunks.flat_map(stream::iter).map(move |part| {
            moved.state.lock().moved = Instant::now();
            part.into()
        });
        start.chain(chunks)
    }

    /// Waits for the answer as long as the restore moves on.
    pub(crate) async fn answered(
        &self,
        patience: Duration,
        answer: impl Future<Output = Result<Response<RestoreResponse>, Status>>,
    ) -> Result<Commit> {
        let mut answer = pin!(answer);
        let result = loop {
            let (stage, moved) = self.progress();
            // While the source is read, the node bounds the wait.
            let until = if stage == Stage::Reading { Instant::now() } else { moved } + patience;
            tokio::select! {
                biased;
                result = &mut answer => break result,
                () = sleep_until(until) => {
                    let (stage, moved) = self.progress();
                    if stage != Stage::Reading && moved + patience <= Instant::now() {
                        return Err(self.judge(Error::new(ErrorKind::Unknown, "restore came to a halt")));
                    }
                }
            }
        };
        match result {
            Ok(response) => response.into_inner().try_into(),
            Err(status) => Err(self.judge(from_status(&status, Call::Write))),
        }
    }

    fn enter(&self, stage: Stage) {
        let mut state = self.state.lock();
        state.stage = stage;
        state.moved = Instant::now();
    }

    fn progress(&self) -> (Stage, Instant) {
        let state = self.state.lock();
        (state.stage, state.moved)
    }

    /// What a failure means.
    fn judge(&self, error: Error) -> Error {
        let mut state = self.state.lock();
        if let Some(source) = state.broken.take() {
            let kind = match source.kind() {
                // Of the source: this engine is neither closed nor in doubt, unless it is this client's end.
                ErrorKind::Closed if self.closing.is_cancelled() => ErrorKind::Closed,
                ErrorKind::Closed | ErrorKind::Unknown | ErrorKind::Internal => ErrorKind::Unavailable,
                kind => kind,
            };
            return Error::new(kind, "the stream to restore broke off").because(source);
        }
        match error.kind() {
            ErrorKind::Unknown if state.stage != Stage::Ended => {
                Error::new(ErrorKind::Unavailable, "restore broke off before its end was sent").because(error)
            }
            _ => error,
        }
    }
}
