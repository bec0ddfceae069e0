//! Scans: a snapshot on a blocking thread, feeding a bounded channel.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::{select, time};
use tokio_util::sync::CancellationToken;

use super::{Home, row};
use crate::{
    Direction, Entry, EntryStream, Error, ErrorKind, Key, Projection, Result, Row, Scan, Snapshot as _,
    Space, Store, Version, View,
};

const CHUNK_LEN: usize = 1024;
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks read ahead of the reader.
const AHEAD: usize = 2;

type Chunk = Vec<Entry>;

/// How a scan ended; set before its channel closes. Unset means that its thread died.
type Ending = Arc<Mutex<Option<Result<()>>>>;

pub(super) async fn open<S: Store>(
    home: Arc<Home<S>>,
    scan: Scan,
    idle: Duration,
    closing: CancellationToken,
    place: OwnedSemaphorePermit,
) -> Result<View<EntryStream>> {
    let (opened_sender, opened) = oneshot::channel();
    let (chunks, received) = mpsc::channel(AHEAD);
    let ending = Ending::default();
    let scanner = Scanner { scan, feed: Feed { chunks, idle, closing, runtime: Handle::current() } };
    let set_ending = Arc::clone(&ending);
    spawn_blocking(move || {
        let end = scanner.run(&home, opened_sender);
        *set_ending.lock() = Some(end);
        // The place first: whoever sees the scan's end can open the next.
        drop(place);
        drop((scanner, home));
    });
    let version =
        opened.await.map_err(|_| Error::new(ErrorKind::Internal, "opening the scan panicked"))??;
    let data = stream::unfold(Some((received, ending)), |state| async {
        let (mut received, ending) = state?;
        if let Some(chunk) = received.recv().await {
            return Some((Ok(chunk), Some((received, ending))));
        }
        let end = ending.lock().take();
        match end {
            Some(Ok(())) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(Error::new(ErrorKind::Internal, "the scan panicked")), None)),
        }
    });
    Ok(View { version, data: Box::pin(data) })
}

struct Scanner {
    scan: Scan,
    feed: Feed,
}

impl Scanner {
    fn run<S: Store>(&self, home: &Home<S>, opened: oneshot::Sender<Result<Version>>) -> Result<()> {
        let snapshot = match home.snapshot() {
            Ok((version, snapshot)) => {
                // A caller that has gone away meanwhile is found out at the first chunk.
                let _ = opened.send(Ok(version));
                snapshot
            }
            Err(error) => {
                let _ = opened.send(Err(error));
                return Ok(());
            }
        };
        let Some(span) = self.scan.range.to_span() else { return Ok(()) };
        let reverse = self.scan.direction == Direction::Reverse;
        let mut left = self.scan.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for row in snapshot.scan(Space::Data, &span, reverse)? {
            let row = row?;
            bytes += row.key.len() + row.value.len();
            chunk.push(self.entry(row)?);
            left -= 1;
            if left == 0 {
                break;
            }
            if chunk.len() == CHUNK_LEN || bytes >= CHUNK_BYTES {
                bytes = 0;
                // The next will have about as many entries.
                let next = Vec::with_capacity(chunk.len());
                if !self.feed.send(std::mem::replace(&mut chunk, next))? {
                    return Ok(());
                }
            }
        }
        if !chunk.is_empty() {
            self.feed.send(chunk)?;
        }
        Ok(())
    }

    fn entry(&self, row: Row) -> Result<Entry> {
        let record = row::decode(&row.key, row.value)?;
        let key = Key::new(row.key)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "stored key failed validation").because(error))?;
        let record = (self.scan.projection == Projection::Records).then_some(record);
        Ok(Entry::new(key, record))
    }
}

struct Feed {
    chunks: mpsc::Sender<Chunk>,
    idle: Duration,
    closing: CancellationToken,
    runtime: Handle,
}

impl Feed {
    /// Hands a chunk to the reader. False where the reader has gone away; an error where it rests for
    /// too long or the engine is closing.
    fn send(&self, chunk: Chunk) -> Result<bool> {
        if self.closing.is_cancelled() {
            return Err(closed());
        }
        let chunk = match self.chunks.try_send(chunk) {
            Ok(()) => return Ok(true),
            Err(mpsc::error::TrySendError::Closed(_)) => return Ok(false),
            Err(mpsc::error::TrySendError::Full(chunk)) => chunk,
        };
        self.runtime.block_on(async {
            select! {
                biased;
                () = self.closing.cancelled() => Err(closed()),
                sent = self.chunks.send(chunk) => Ok(sent.is_ok()),
                () = time::sleep(self.idle) => {
                    Err(Error::new(ErrorKind::Exhausted, "the scan's reader rested for too long")
                        .with("limit_ms", self.idle.as_millis()))
                }
            }
        })
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "engine was closed during the scan")
}
