//! The caller's side of a restore: takes a stream, checks each entry, and feeds the committer.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio::{select, task, time};
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use super::restore::{Job, Part};
use super::row::{self, Encoded};
use super::{check_limit, expiry};
use crate::{ChangeSet, Commit, Entry, EntryStream, Error, ErrorKind, Limits, Result, Space, Version, View};

/// Rows of one commit, however short they are.
const PART_LEN: usize = 4096;
/// Parts that wait for the committer: with the one it writes and the one that fills, what a restore holds
/// in memory (C14).
const AHEAD: usize = 1;

/// What a restore is held to.
#[derive(Debug)]
pub(super) struct Bounds {
    max_value_bytes: usize,
    /// The most bytes of a part, but for a longer record.
    part_bytes: usize,
    /// The longest that the stream may rest.
    idle: Duration,
}

impl Bounds {
    pub(super) fn new(limits: &Limits, part_bytes: usize) -> Self {
        Self { max_value_bytes: limits.max_value_bytes, part_bytes, idle: limits.scan_idle }
    }
}

/// Hands a view to the committer, and waits for what becomes of it.
pub(super) async fn restore(
    view: View<EntryStream>,
    bounds: Bounds,
    queue: &Queue,
    closing: &CancellationToken,
) -> Result<Commit> {
    let (parts, received) = mpsc::channel(AHEAD);
    let (answer, answered) = oneshot::channel();
    queue.push_restore(Job { version: view.version, parts: received, answer })?;
    // A task of its own, so that a caller that stops polling holds up neither the committer nor a close.
    let (closing, gone) = (closing.clone(), CancellationToken::new());
    let _caller = gone.clone().drop_guard();
    tokio::spawn(async move {
        let mut intake = Intake::new(view.version, bounds);
        let end = select! {
            biased;
            // Without a word: the committer takes the silence for what it is.
            () = gone.cancelled() => return,
            () = closing.cancelled() => {
                Part::Failed(Error::new(ErrorKind::Closed, "engine was closed during the restore"))
            }
            fed = intake.feed(view.data, &parts) => fed.map_or_else(Part::Failed, |()| Part::End),
        };
        // A committer that takes no more has answered.
        let _ = parts.send(end).await;
    });
    answered.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unknown, "the committer died")))
}

#[derive(Debug)]
struct Intake {
    version: Version,
    bounds: Bounds,
    last: Bytes,
    part: ChangeSet,
    part_bytes: usize,
}

impl Intake {
    fn new(version: Version, bounds: Bounds) -> Self {
        Self { version, bounds, last: Bytes::new(), part: ChangeSet::new(), part_bytes: 0 }
    }

    async fn feed(&mut self, mut chunks: EntryStream, parts: &mpsc::Sender<Part>) -> Result<()> {
        let idle = self.bounds.idle;
        let rested = |()| {
            Error::new(ErrorKind::Exhausted, "the stream to restore rested for too long")
                .with("limit_ms", idle.as_millis())
        };
        let mut until = Instant::now() + idle;
        while let Some(chunk) = time::timeout_at(until, chunks.next()).await.map_err(|_| rested(()))? {
            let chunk = chunk.map_err(source_failed)?;
            if chunk.is_empty() {
                // A stream that sends nothing rests, however busily: it must neither put the limit off nor keep
                // this task from hearing of a close.
                task::yield_now().await;
                if until <= Instant::now() {
                    return Err(rested(()));
                }
                continue;
            }
            for entry in chunk {
                self.take(entry)?;
                if self.part.len() >= PART_LEN || self.part_bytes >= self.bounds.part_bytes {
                    self.hand_over(parts).await;
                }
            }
            until = Instant::now() + idle;
        }
        if !self.part.is_empty() {
            self.hand_over(parts).await;
        }
        Ok(())
    }

    fn take(&mut self, Entry { key, record }: Entry) -> Result<()> {
        let refused = |message: &str| Error::new(ErrorKind::InvalidArgument, message).with("key", &key);
        let Some(record) = record else { return Err(refused("a restore takes records, not keys alone")) };
        check_limit("value is too long", record.value.len(), self.bounds.max_value_bytes)?;
        // No key is empty, so the first is behind the empty one.
        if key.as_bytes() <= &self.last[..] {
            return Err(refused("records to restore are not in strictly ascending order"));
        }
        if record.version > self.version {
            return Err(refused("record to restore is newer than its view").with("view", self.version));
        }
        // With a key of its own: this one may be a slice of a message, all of which the part would keep. A part of
        // 4,096 short records must not hold as many long messages (C14).
        let Encoded { key, row, record } = row::encode(&key, &record);
        if let Some((entry, value)) = expiry::entry_of(&key, &record) {
            self.part_bytes += entry.len() + value.len();
            self.part.push(Space::System, entry, Some(value));
        }
        let key = key.into_bytes();
        self.part_bytes += key.len() + row.len();
        self.last = key.clone();
        self.part.push(Space::Data, key, Some(row));
        Ok(())
    }

    async fn hand_over(&mut self, parts: &mpsc::Sender<Part>) {
        self.part_bytes = 0;
        // A committer that takes no more has answered: that the rest is read in vain harms nobody.
        let _ = parts.send(Part::Rows(mem::take(&mut self.part))).await;
    }
}

/// Why the stream broke off. What its kind says of the source must not be taken for a word about this
/// engine: `Closed` would mean that it needs to be reopened, and `Unknown` that something was restored.
fn source_failed(error: Error) -> Error {
    let kind = match error.kind() {
        ErrorKind::Closed | ErrorKind::Unknown | ErrorKind::Internal => ErrorKind::Unavailable,
        kind => kind,
    };
    Error::new(kind, "the stream to restore broke off").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Record};

    fn intake() -> Intake {
        Intake::new(Version::MIN, Bounds::new(&Limits::default(), 4 << 20))
    }

    #[test]
    fn a_part_keeps_nothing_of_the_messages_that_its_records_came_in() {
        let message = Bytes::from(vec![b'm'; 1 << 20]);
        let mut intake = intake();
        let record = Record::new(message.slice(100..110), Version::MIN);
        intake.take(Entry::new(Key::new(message.slice(..10)).unwrap(), Some(record))).unwrap();
        assert!(message.is_unique(), "the part holds on to the message");
    }
}
