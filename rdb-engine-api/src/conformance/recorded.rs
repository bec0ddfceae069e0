use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::StreamExt as _;
use rdb_checker::{Answer, Blob, Call, Current, Recorder, Request};

use crate::{
    Batch, Commit, Condition, Engine, EngineInfo, EntryStream, Error, Key, Metric, Op, Outcome, Record,
    Result, Scan, Session, SessionOptions, Stamp, View, Watch, WatchStream, WriteOptions,
};

/// An engine that records what its callers ask and are answered, for a checker to judge.
///
/// A write that is dropped or ends in [`Unknown`](crate::ErrorKind::Unknown) stays open in the history, and
/// so does a scan that was not read to its end.
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
        self.engine.watch(watch).await
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

fn scan_request(scan: &Scan) -> Request {
    let (reverse, limit) = (scan.direction == crate::Direction::Reverse, scan.limit);
    let (start, end) = match scan.range.to_span() {
        Some(span) => (blob(&span.start), span.end.map(|end| blob(&end))),
        None => (blob(&[]), Some(blob(&[]))),
    };
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
    Request::Write { conditions: conditions.collect(), ops: ops.collect() }
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
