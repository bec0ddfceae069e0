mod keys;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rdb_client::{Batch, Bytes, Durability, Engine, ErrorKind, Key, Op, Outcome, Version, WriteOptions};
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, BufReader};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use self::keys::Keys;
use crate::args;
use crate::count;
use crate::failure::{Exit, Failure};
use crate::format::Format;
use crate::lines::{LineError, Lines};
use crate::output::{Output, Print};
use crate::progress::Progress;
use crate::signals::{self, Signals};

/// The most records of a batch.
const BATCH_RECORDS: usize = 1_000;
/// The most bytes of a batch of several records.
const BATCH_BYTES: usize = 1 << 20;
/// The most batches under way at once.
const IN_FLIGHT: usize = 4;

/// Stores all records of a file.
pub(crate) async fn import(
    engine: Arc<dyn Engine>,
    args: args::Import,
    out: &mut Output,
) -> Result<(), Failure> {
    let format = args.format()?;
    let (source, size) = open(&args.file).await?;
    let mut options = WriteOptions::default();
    options.durability = args.write.durability;
    let begun = Instant::now();
    let mut import = Import::new(engine, options, args.ttl, Progress::begin("importing", size));
    let ended = import.run(source, format, &mut Signals::listen()?).await;
    let note = import.note();
    let Import { done, progress, .. } = import;
    // Leaves the line to what is said next.
    drop(progress);
    match ended {
        Ok(()) => summary(&done, begun.elapsed().as_secs_f64(), out),
        Err(failure) => Err(failure.note(&note)),
    }
}

type Source = Pin<Box<dyn AsyncBufRead + Send>>;

async fn open(path: &Path) -> Result<(Source, Option<u64>), Failure> {
    const BUFFER: usize = 256 << 10;
    if path == Path::new("-") {
        return Ok((Box::pin(BufReader::with_capacity(BUFFER, tokio::io::stdin())), None));
    }
    let failed = |error| Failure::io(&path.display().to_string(), &error);
    let file = File::open(path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    // A pipe has a name, too, but no size.
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::pin(BufReader::with_capacity(BUFFER, file)), size))
}

fn summary(done: &Done, seconds: f64, out: &mut Output) -> Result<(), Failure> {
    let rate = done.records as f64 / seconds.max(1e-9);
    let durability = done.durability.map(Durability::name);
    if out.print == Print::Json {
        return out.json(&json!({
            "records": done.records,
            "bytes": done.bytes,
            "seconds": seconds,
            "records_per_second": rate,
            "version": done.version.map(Version::get),
            "durability": durability,
        }));
    }
    let durability = durability.map(|level| format!(", {level}")).unwrap_or_default();
    out.line(&format!(
        "imported {} ({} bytes) in {seconds:.2} s, {rate:.0} records/s{durability}",
        count::records(done.records),
        done.bytes
    ))
}

/// What the node has acknowledged.
#[derive(Clone, Debug, Default)]
struct Done {
    records: u64,
    bytes: u64,
    /// The latest version of all.
    version: Option<Version>,
    /// The weakest durability of all.
    durability: Option<Durability>,
}

/// Records that are stored together.
#[derive(Default)]
struct Load {
    batch: Batch,
    batch_bytes: usize,
    keys: Keys,
    first_line: u64,
    last_line: u64,
    /// What it took from the source.
    bytes: u64,
}

/// What became of a load.
struct Landed {
    load: u64,
    records: u64,
    bytes: u64,
    first_line: u64,
    last_line: u64,
    result: rdb_client::Result<Outcome>,
}

/// An import under way. Of two lines with one key the later wins, so two batches that share a key are never
/// under way at once: the node may take batches in any order.
struct Import {
    engine: Arc<dyn Engine>,
    options: WriteOptions,
    ttl: Option<Duration>,
    progress: Progress,
    done: Done,
    next: Load,
    flights: JoinSet<Landed>,
    /// The keys of the batches under way.
    keys: HashMap<u64, Keys>,
    sent: u64,
    /// The first lines of the batches that were sent and not acknowledged.
    unacknowledged: BTreeSet<u64>,
    /// The last line that was taken into a batch.
    last_line: u64,
    /// Of the batches that failed, the one with the lowest lines.
    failed: Option<(u64, Failure)>,
}

impl Import {
    fn new(
        engine: Arc<dyn Engine>,
        options: WriteOptions,
        ttl: Option<Duration>,
        progress: Progress,
    ) -> Self {
        Self {
            engine,
            options,
            ttl,
            progress,
            done: Done::default(),
            next: Load::default(),
            flights: JoinSet::new(),
            keys: HashMap::new(),
            sent: 0,
            unacknowledged: BTreeSet::new(),
            last_line: 0,
            failed: None,
        }
    }

    /// Reads and stores until the end, a failure, or a signal. Whatever ends it, what was sent is waited
    /// for, so that the count of what was acknowledged is exact.
    async fn run(&mut self, source: Source, format: Format, signals: &mut Signals) -> Result<(), Failure> {
        let ended = tokio::select! {
            biased;
            exit = signals.next() => Err(Stop::Ended(Failure::new(exit, signals::name(exit)))),
            ended = self.read(source, format) => ended,
        };
        // Lines before one that makes no sense are stored; after a failed batch or a signal no more is begun.
        if let Ok(()) | Err(Stop::Malformed(_)) = &ended
            && self.failed.is_none()
        {
            tokio::select! {
                biased;
                exit = signals.next() => return Err(abandoned(exit)),
                _ = self.send() => {}
            }
        }
        loop {
            let flight = tokio::select! {
                next = self.flights.join_next() => next,
                exit = signals.next() => return Err(abandoned(exit)),
            };
            let Some(flight) = flight else { break };
            // Noted where it failed: the failure with the lowest lines is told when all have landed.
            let _ = self.land(flight);
        }
        let failed = self.failed.take().map(|(_, failure)| failure);
        match (ended, failed) {
            (Err(Stop::Ended(failure)), None) => Err(failure),
            (Err(Stop::Ended(failure)), Some(failed)) => Err(failure.note(failed.message())),
            // The batch that failed is why the malformed line's predecessors are not all stored.
            (_, Some(failed)) => Err(failed),
            (Err(Stop::Malformed(failure)), None) => Err(failure),
            (Ok(()) | Err(Stop::Failed), None) => Ok(()),
        }
    }

    /// What was acknowledged. Batches are answered in any order, so the count alone does not say which lines
    /// were; the line before which nothing is missing does.
    fn note(&self) -> String {
        let waiting = (!self.next.batch.is_empty()).then_some(self.next.first_line);
        let first = self.unacknowledged.first().copied().or(waiting).unwrap_or(self.last_line + 1);
        let records = count::records(self.done.records);
        let lines = match first {
            1 => String::new(),
            _ => format!("; all lines before {first} were acknowledged"),
        };
        format!("{records} had been acknowledged{lines}; importing the same file again is safe")
    }

    async fn read(&mut self, source: Source, format: Format) -> Result<(), Stop> {
        let limits = self.engine.info().limits.clone();
        let mut lines = Lines::new(source, format.max_line_bytes(&limits));
        loop {
            let decoded = match lines.next().await {
                Ok(None) => return Ok(()),
                Ok(Some((line, bytes))) => format.decode(line, &limits).map(|record| (record, bytes)),
                Err(LineError::TooLong { limit }) => Err(format!("is longer than {limit} bytes")),
                Err(LineError::Io(error)) => {
                    return Err(Stop::Malformed(Failure::io("cannot read the file", &error)));
                }
            };
            let number = lines.number();
            let ((key, value), bytes) = decoded.map_err(|reason| {
                Stop::Malformed(Failure::new(Exit::Error, format!("line {number}: {reason}")))
            })?;
            self.add(key, value, number, bytes).await?;
        }
    }

    async fn add(&mut self, key: Key, value: Bytes, line: u64, bytes: u64) -> Result<(), Stop> {
        let limits = &self.engine.info().limits;
        let record = key.len() + value.len();
        let full = self.next.batch.len() >= BATCH_RECORDS.min(limits.max_batch_len)
            || self.next.batch_bytes + record > BATCH_BYTES.min(limits.max_batch_bytes);
        if full {
            self.send().await?;
        }
        let next = &mut self.next;
        if next.batch.is_empty() {
            next.first_line = line;
        }
        next.last_line = line;
        self.last_line = line;
        next.bytes += bytes;
        next.batch_bytes += record;
        next.keys.push(key.clone());
        next.batch = std::mem::take(&mut next.batch).op(key, Op::Put { value, ttl: self.ttl });
        Ok(())
    }

    /// Sends what has been gathered, as soon as there is room and none of its keys is under way.
    async fn send(&mut self) -> Result<(), Stop> {
        if self.next.batch.is_empty() {
            return Ok(());
        }
        self.next.keys.sort();
        while self.flights.len() >= IN_FLIGHT || self.keys.values().any(|keys| keys.meet(&self.next.keys)) {
            let Some(flight) = self.flights.join_next().await else { break };
            self.land(flight)?;
        }
        let Load { batch, keys, first_line, last_line, bytes, .. } = std::mem::take(&mut self.next);
        let (engine, options, number) = (Arc::clone(&self.engine), self.options.clone(), self.sent);
        self.sent += 1;
        self.keys.insert(number, keys);
        self.unacknowledged.insert(first_line);
        let records = batch.len() as u64;
        self.flights.spawn(async move {
            let result = engine.write(batch, options).await;
            Landed { load: number, records, bytes, first_line, last_line, result }
        });
        Ok(())
    }

    /// Notes what became of a batch; a failure stops the import.
    fn land(&mut self, flight: Result<Landed, JoinError>) -> Result<(), Stop> {
        let landed = match flight {
            Ok(landed) => landed,
            Err(error) => {
                let message = format!("cannot tell the outcome of a batch: {error}");
                return Err(self.fail(u64::MAX, Failure::new(Exit::Error, message)));
            }
        };
        self.keys.remove(&landed.load);
        let Landed { first_line, last_line, .. } = landed;
        let failure = match landed.result {
            Ok(Outcome::Committed(commit)) => {
                self.unacknowledged.remove(&first_line);
                self.done.records += landed.records;
                self.done.bytes += landed.bytes;
                self.done.version = self.done.version.max(Some(commit.version));
                let weakest =
                    self.done.durability.map_or(commit.durability, |level| level.min(commit.durability));
                self.done.durability = Some(weakest);
                self.progress.advance(landed.bytes, self.done.records);
                return Ok(());
            }
            Ok(outcome) => {
                Failure::new(Exit::Error, format!("{}: a put ended in {outcome:?}", ErrorKind::Internal))
            }
            Err(error) => Failure::from(error),
        };
        let place = match first_line == last_line {
            true => format!("line {first_line}"),
            false => format!("lines {first_line} to {last_line}"),
        };
        Err(self.fail(first_line, failure.at(&place)))
    }

    fn fail(&mut self, first_line: u64, failure: Failure) -> Stop {
        if self.failed.as_ref().is_none_or(|(lowest, _)| first_line < *lowest) {
            self.failed = Some((first_line, failure));
        }
        Stop::Failed
    }
}

/// The second signal, or one while only answers are awaited.
fn abandoned(exit: Exit) -> Failure {
    let name = signals::name(exit);
    Failure::new(exit, format!("{name}; batches were under way and may have been stored as well"))
}

/// Why reading ended before the end.
enum Stop {
    /// The file cannot be read on, but what was read can be stored.
    Malformed(Failure),
    /// A batch failed, which is noted; nothing more is to be stored.
    Failed,
    /// A signal came; nothing more is to be stored.
    Ended(Failure),
}

#[cfg(test)]
mod tests;
