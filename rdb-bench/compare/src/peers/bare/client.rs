use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::{Channel, Endpoint};

use super::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::failure::Result;
use crate::wire::bare::bare_client::BareClient;
use crate::wire::bare::{BareRequest, BareRequests};

/// The most requests of a message.
const MESSAGE: usize = 256;

type Answer = oneshot::Sender<Option<Bytes>>;
type Waiting = Arc<Mutex<HashMap<u64, Answer>>>;

/// Connects, and sends each request in a call of its own.
pub(super) async fn connect(address: &str) -> Result<BareClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    Ok(BareClient::new(endpoint.connect().await?))
}

/// A client whose callers share one both-ways stream: whatever waits goes out in one message, at once.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    queue: mpsc::UnboundedSender<BareRequest>,
    waiting: Waiting,
    next: Arc<AtomicU64>,
}

impl Stream {
    /// Opens the stream.
    pub(super) async fn open(address: &str) -> Result<Self> {
        let (queue, queued) = mpsc::unbounded_channel();
        let messages = stream::unfold(queued, async |mut queued: mpsc::UnboundedReceiver<BareRequest>| {
            let mut requests = Vec::new();
            // Takes what is there; waits only for the first.
            let taken = queued.recv_many(&mut requests, MESSAGE).await;
            (taken > 0).then_some((BareRequests { requests }, queued))
        });
        let mut answers = connect(address).await?.stream(messages).await?.into_inner();
        let waiting = Waiting::default();
        let awaited = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Ok(Some(message)) = answers.message().await {
                let Ok(mut awaited) = awaited.lock() else { break };
                for response in message.responses {
                    if let Some(answer) = awaited.remove(&response.number) {
                        // A caller that went away wants no answer.
                        let _ = answer.send(response.value);
                    }
                }
            }
            // Whoever still waits is told by the drop of its sender.
            if let Ok(mut awaited) = awaited.lock() {
                awaited.clear();
            }
        });
        Ok(Self { queue, waiting, next: Arc::default() })
    }

    /// Asks for a key.
    pub(super) async fn get(&self, key: Bytes) -> Result<Option<Bytes>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().map_err(|_| "the stream's reader panicked")?.insert(number, answer);
        self.queue.send(BareRequest { number, key })?;
        Ok(answered.await?)
    }
}
