use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::gate::Admission;

/// The answers to a request that has many.
#[derive(Debug)]
pub struct Answers<A> {
    sender: mpsc::Sender<Result<A, Status>>,
    idle: Duration,
}

impl<A> Answers<A> {
    /// Hands over one answer once the one before it is on its way.
    ///
    /// # Errors
    /// [`Exhausted`](ErrorKind::Exhausted) where the client reads too slowly, and
    /// [`Unavailable`](ErrorKind::Unavailable) where it has left. The work should end with them.
    pub async fn send(&self, answer: A) -> Result<()> {
        self.room().await?.send(Ok(answer));
        Ok(())
    }

    /// Waits until the answer before is on its way, for work that would rather not prepare one earlier.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub(crate) async fn room(&self) -> Result<mpsc::Permit<'_, Result<A, Status>>> {
        match timeout(self.idle, self.sender.reserve()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Unavailable, "answer has no reader any more")),
            Err(_) => Err(Error::new(ErrorKind::Exhausted, "answer was left unread for too long")
                .with("limit_ms", self.idle.as_millis())),
        }
    }
}

/// Does the work in a task that feeds the answers to the client, and last the error where there was one, or
/// the answer that the work returns.
///
/// A task, so that the work comes to its end by its deadline, or when its reader rests, even where nobody
/// polls the answers: a client that does not read keeps nothing.
pub(crate) fn feed<A, F>(
    admission: Arc<Admission>,
    idle: Duration,
    work: impl FnOnce(Answers<A>) -> F,
) -> ReceiverStream<Result<A, Status>>
where
    A: Send + 'static,
    F: Future<Output = Result<Option<A>>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let work = work(Answers { sender: sender.clone(), idle });
    tokio::spawn(async move {
        let past_deadline = async {
            match admission.requested() {
                Some(deadline) => deadline.passed().await,
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            biased;
            () = sender.closed() => return, // nobody is there any more; counted as cancelled
            () = admission.stop().cancelled() => Err(admission.cut_off("node is shutting down")),
            () = past_deadline => Err(admission.cut_off("deadline has passed")),
            result = admission.catch(work) => result,
        };
        let last = match result {
            Ok(last) => {
                admission.finish(&Ok(()));
                last.map(Ok)
            }
            Err(error) => Some(Err(admission.fail(error))),
        };
        // Before the reader takes the last message: it may take its time, or never come.
        drop(admission);
        if let Some(last) = last {
            let _ = sender.send(last).await; // fails where nobody is there any more
        }
    });
    ReceiverStream::new(receiver)
}
