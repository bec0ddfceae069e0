use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::StreamExt as _;
use rdb_checker::{Answer, Blob, Call, Current, Delivered, Recorder, Request, Watching};

use crate::{
    Batch, Cause, Commit, Condition, Engine, EngineInfo, EntryStream, Error, ErrorKind, Key, KeyRange,
    Metric, Op, Outcome, Record, Result, Scan, Session, SessionOptions, Stamp, Version, View, Watch,
    WatchEvent, WatchStream, WriteOptions,
};

/// An engine that records what its callers ask and are answered, for a checker to judge.
///
/// A write that is dropped or ends in [`Unknown`](crate::ErrorKind::Unknown) stays open in the history, and
/// so does a scan that was not read to its end. What a watch delivers is recorded as its reader takes it: a
/// removal by the engine (C15) is known to the history where somebody watches.
pub struct Recorded {
    engine: Arc<dyn Engine>,
    recorder: Recorder,
}

impl Recorded {
    /// Records the calls of this engine, which is to be empty.
    pub fn new(engine: Arc<dyn Engine>, recorder: Recorder) -> Self {
        Self { engine, recorder }
    }

    fn call(&self, request: Request) -> Call {
        // An engine does not know its callers: each call counts as one.
        self.recorder.caller().call(request)
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("engine", &self.engine).finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Engine for Recorded {
    fn info(&self) -> &EngineInfo {
        self.engine.info()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.engine.metrics()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        let call = self.call(Request::Get { key: blob(key.as_bytes()) });
        let result = self.engine.get(key).await;
        call.answered(match &result {
            Ok(record) => Answer::Record(record.as_ref().map(record_of)),
            Err(_) => Answer::Failed,
        });
        result
    }

    async fn get_many(&self, keys: &[Key]) -> Result<View<Vec<Option<Record>>>> {
        let call =
            self.call(Request::GetMany { keys: keys.iter().map(|key| blob(key.as_bytes())).collect() });
        let result = self.engine.get_many(keys).await;
        call.answered(match &result {
            Ok(view) => Answer::Records {
                version: Some(view.version.get()),
                records: view.data.iter().map(|record| record.as_ref().map(record_of)).collect(),
            },
            Err(_) => Answer::Failed,
        });
        result
    }

    async fn scan(&self, scan: Scan) -> Result<View<EntryStream>> {
        let mut call = self.call(scan_request(&scan));
        let View { version, data } = match self.engine.scan(scan).await {
            Ok(view) => view,
            Err(error) => {
                call.answered(Answer::Failed);
                return Err(error);
            }
        };
        call.has_returned();
        let reading = Reading { chunks: data, call: Some(call), version: version.get(), entries: Vec::new() };
        let chunks = futures::stream::unfold(reading, |mut reading| async move {
            let chunk = reading.next().await?;
            Some((chunk, reading))
        });
        Ok(View { version, data: chunks.boxed() })
    }

    async fn write(&self, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let call = self.call(write_request(&batch));
        let result = self.engine.write(batch, options).await;
        if let Some(answer) = write_answer(&result) {
            call.answered(answer);
        }
        result
    }

    async fn watch(&self, watch: Watch) -> Result<View<WatchStream>> {
        let (start, end) = span(&watch.range);
        let told = self.recorder.watch(start, end, watch.after.map(Version::get));
        let View { version, data } = self.engine.watch(watch).await?;
        told.began(version.get());
        let reading = (data, Some(told));
        let events = futures::stream::unfold(reading, |(mut data, told)| async move {
            let event = data.next().await?;
            let told = told.and_then(|told| tell(told, &event));
            Some((event, (data, told)))
        });
        Ok(View { version, data: events.boxed() })
    }

    async fn open_session(&self, options: SessionOptions) -> Result<Session> {
        self.engine.open_session(options).await
    }

    async fn resume_session(&self, id: NonZeroU64) -> Result<Option<Session>> {
        self.engine.resume_session(id).await
    }

    async fn end_session(&self, id: NonZeroU64) -> Result<()> {
        self.engine.end_session(id).await
    }

    async fn settle(&self, stamp: Stamp) -> Result<Option<Outcome>> {
        self.engine.settle(stamp).await
    }

    async fn time(&self) -> Result<SystemTime> {
        self.engine.time().await
    }

    /// Not recorded: a history begins with an empty engine, and none that begins with another can be judged.
    async fn restore(&self, view: View<EntryStream>) -> Result<Commit> {
        self.engine.restore(view).await
    }

    async fn close(&self) -> Result<()> {
        self.engine.close().await
    }
}

/// The least time that an engine's clock tells apart (C15): a put late in one of these may count it whole.
const TICK: Duration = Duration::from_millis(1);

/// Tells what a watch delivered; gives back nothing where that was its end.
fn tell(told: Watching, event: &Result<WatchEvent>) -> Option<Watching> {
    match event {
        Ok(WatchEvent::Commit(commit)) => told.delivered(Delivered::Commit {
            version: commit.version.get(),
            expiry: commit.cause == Cause::Expiry,
            ops: commit
                .ops
                .iter()
                .map(|op| (blob(op.key.as_bytes()), op.record.as_ref().map(record_of)))
                .collect(),
        }),
        Ok(WatchEvent::Progress(version)) => told.delivered(Delivered::Progress { version: version.get() }),
        Err(error) => {
            // Of another kind it is the oldest version that can be had.
            let last = error.version().filter(|_| error.kind() == ErrorKind::Exhausted);
            told.ended(error.kind().to_string(), last.map(Version::get));
            return None;
        }
    }
    Some(told)
}

/// A scan on its way: what it answers is known at its end.
struct Reading {
    chunks: EntryStream,
    call: Option<Call>,
    version: u64,
    entries: Vec<(Blob, Option<rdb_checker::Record>)>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Vec<crate::Entry>>> {
        let chunk = self.chunks.next().await;
        match &chunk {
            Some(Ok(chunk)) => self.entries.extend(
                chunk.iter().map(|entry| (blob(entry.key.as_bytes()), entry.record.as_ref().map(record_of))),
            ),
            Some(Err(_)) => self.end(Answer::Failed),
            None => {
                let entries = std::mem::take(&mut self.entries);
                self.end(Answer::Entries { version: Some(self.version), entries });
            }
        }
        chunk
    }

    fn end(&mut self, answer: Answer) {
        if let Some(call) = self.call.take() {
            call.answered(answer);
        }
    }
}

fn blob(bytes: &[u8]) -> Blob {
    bytes.into()
}

fn record_of(record: &Record) -> rdb_checker::Record {
    rdb_checker::Record { value: blob(&record.value), version: Some(record.version.get()) }
}

fn span(range: &KeyRange) -> (Blob, Option<Blob>) {
    match range.to_span() {
        Some(span) => (blob(&span.start), span.end.map(|end| blob(&end))),
        None => (blob(&[]), Some(blob(&[]))),
    }
}

fn scan_request(scan: &Scan) -> Request {
    let (reverse, limit) = (scan.direction == crate::Direction::Reverse, scan.limit);
    let (start, end) = span(&scan.range);
    Request::Scan { start, end, reverse, limit }
}

fn write_request(batch: &Batch) -> Request {
    let condition = |condition: &Condition| match condition {
        Condition::Absent => rdb_checker::Condition::Absent,
        Condition::Present => rdb_checker::Condition::Present,
        Condition::Version(version) => rdb_checker::Condition::Version(version.get()),
        Condition::Value(value) => rdb_checker::Condition::Value(blob(value)),
    };
    let conditions = batch.conditions().iter().map(|(key, of)| (blob(key.as_bytes()), condition(of)));
    let ops = batch.ops().iter().map(|(key, op)| {
        let value = match op {
            Op::Put { value, .. } => Some(blob(value)),
            Op::Delete => None,
        };
        (blob(key.as_bytes()), value)
    });
    let ttls = batch.ops().iter().filter_map(|(key, op)| match op {
        Op::Put { ttl: Some(ttl), .. } => {
            Some((blob(key.as_bytes()), ttl.saturating_sub(TICK).as_nanos() as u64))
        }
        _ => None,
    });
    // Of two operations on one key the last wins, and so it does where it has no time to live.
    let last = |key: &Blob| batch.ops().iter().rfind(|(other, _)| other.as_bytes() == key.as_bytes());
    let lives = |key: &Blob| matches!(last(key), Some((_, Op::Put { ttl: Some(_), .. })));
    let ttls = ttls.filter(|(key, _)| lives(key)).collect();
    Request::Write { conditions: conditions.collect(), ops: ops.collect(), ttls }
}

/// What a write was answered; none where that is unknown (C10).
fn write_answer(result: &Result<Outcome>) -> Option<Answer> {
    match result {
        Ok(Outcome::Committed(commit)) => Some(Answer::Committed { version: Some(commit.version.get()) }),
        Ok(Outcome::Unchanged(commit)) => Some(Answer::Unchanged { version: Some(commit.version.get()) }),
        Ok(Outcome::Conflict(conflict)) => Some(Answer::Conflict {
            index: conflict.index,
            version: Some(conflict.version.get()),
            current: conflict.current.as_ref().map_or(Current::Absent, |it| Current::Present(record_of(it))),
        }),
        Err(error) => (!Error::may_have_been_applied(error)).then_some(Answer::Failed),
    }
}
