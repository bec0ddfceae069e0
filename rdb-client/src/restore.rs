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
/// was restored and nothing will be, whatever becomes of the request (C10, C19). The connection takes messages
/// on a thread of its own, also while the caller gives up: one lock decides which of them came first, and after
/// a failure that certifies that nothing was restored, no end is sent any more.
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
    /// There will be no end: the source broke off, or the caller has been told that nothing was restored.
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
            if !upload.enter(Stage::Reading) {
                return None;
            }
            let chunk = tokio::select! {
                biased;
                () = upload.closing.cancelled() => Some(Err(closed())),
                chunk = data.next() => chunk,
            };
            match chunk {
                Some(Ok(entries)) => {
                    if entries.is_empty() {
                        // Nothing goes out for it: a source of such chunks alone must not keep the connection.
                        tokio::task::yield_now().await;
                    }
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
                None => upload.enter(Stage::Ended).then(|| (vec![ScanPart::End { entries: sent }], None)),
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

    /// False where there will be no end, which stays so.
    fn enter(&self, stage: Stage) -> bool {
        let mut state = self.state.lock();
        if state.stage == Stage::Broken {
            return false;
        }
        state.stage = stage;
        state.moved = Instant::now();
        true
    }

    fn progress(&self) -> (Stage, Instant) {
        let state = self.state.lock();
        (state.stage, state.moved)
    }

    /// What a failure means. From now on no end is sent that is not on its way yet.
    fn judge(&self, error: Error) -> Error {
        let mut state = self.state.lock();
        let has_ended = state.stage == Stage::Ended;
        if !has_ended {
            state.stage = Stage::Broken;
        }
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
            ErrorKind::Unknown if !has_ended => {
                Error::new(ErrorKind::Unavailable, "restore broke off before its end was sent").because(error)
            }
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::channel::mpsc;
    use rdb_engine_api::{Entry, Version};

    use super::*;

    /// The connection asks for more on its own thread, also just after the caller has given up.
    #[tokio::test]
    async fn no_end_is_sent_after_the_caller_was_told_that_nothing_was_restored() {
        let upload = Upload::new(CancellationToken::new());
        let (mut source, data) = mpsc::unbounded::<Result<Vec<Entry>>>();
        let version = Version::new(1).unwrap();
        let mut messages = pin!(upload.messages(View { version, data: data.boxed() }));
        let entry = Entry::new(rdb_engine_api::Key::new("k").unwrap(), None);
        source.start_send(Ok(vec![entry])).unwrap();
        assert!(messages.next().await.is_some(), "the beginning");
        assert!(messages.next().await.is_some(), "what there is");
        let error = upload.answered(Duration::ZERO, pending()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "the end was not sent: {}", error.report());
        drop(source);
        assert!(messages.next().await.is_none(), "an end would make whole what was said to be nothing (C10)");
    }

    #[tokio::test]
    async fn a_halt_after_the_end_was_sent_is_unknown() {
        let upload = Upload::new(CancellationToken::new());
        let view = View { version: Version::new(1).unwrap(), data: stream::empty().boxed() };
        assert_eq!(upload.messages(view).count().await, 2, "the beginning and the end");
        let error = upload.answered(Duration::ZERO, pending()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{}", error.report());
    }
}
