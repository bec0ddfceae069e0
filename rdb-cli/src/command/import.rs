use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use rdb_client::{Batch, Bytes, Durability, Engine, ErrorKind, Key, Outcome, Version, WriteOptions};
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, BufReader};
use tokio::signal::ctrl_c;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::format::Format;
use crate::lines::{LineError, Lines};
use crate::output::{Output, Print};
use crate::progress::Progress;

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
    let mut import = Import::new(engine, options, Progress::begin(size));
    let ended = import.run(source, format).await;
    let Import { done, progress, .. } = import;
    // Leaves the line to what is said next.
    drop(progress);
    match ended {
        Ok(()) => summary(&done, begun.elapsed().as_secs_f64(), out),
        Err(failure) => {
            let note = format!(
                "{} records had been acknowledged; importing the same file again is safe",
                done.records
            );
            Err(failure.note(&note))
        }
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
        "imported {} records ({} bytes) in {seconds:.2} s, {rate:.0} records/s{durability}",
        done.records, done.bytes
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
    keys: HashSet<Key>,
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
    progress: Progress,
    done: Done,
    next: Load,
    flights: JoinSet<Landed>,
    /// The keys of the batches under way.
    keys: HashMap<u64, HashSet<Key>>,
    sent: u64,
}

impl Import {
    fn new(engine: Arc<dyn Engine>, options: WriteOptions, progress: Progress) -> Self {
        Self {
            engine,
            options,
            progress,
            done: Done::default(),
            next: Load::default(),
            flights: JoinSet::new(),
            keys: HashMap::new(),
            sent: 0,
        }
    }

    /// Reads and stores until the end, a failure, or an interruption. Whatever ends it, what was sent is
    /// waited for, so that the count of what was acknowledged is exact.
    async fn run(&mut self, source: Source, format: Format) -> Result<(), Failure> {
        let ended = self.read(source, format).await;
        // Lines before one that makes no sense are stored; after a failed batch or an interruption no more
        // is begun.
        let flush = match &ended {
            Ok(()) | Err(Stop::Malformed(_)) => self.send().await,
            Err(Stop::Failed(_)) => Ok(()),
        };
        let mut landed = Ok(());
        loop {
            let next = tokio::select! {
                next = self.flights.join_next() => next,
                Ok(()) = ctrl_c() => {
                    let message = "interrupted; batches were under way and may have been stored as well";
                    return Err(Failure::new(Exit::Interrupted, message));
                }
            };
            let Some(flight) = next else { break };
            // The first failure is the one to tell.
            landed = landed.and(self.land(flight));
        }
        match ended {
            Ok(()) => flush.and(landed),
            // The batch that failed is why the malformed line's predecessors are not all stored.
            Err(Stop::Malformed(failure)) => flush.and(landed).and(Err(failure)),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }

    async fn read(&mut self, source: Source, format: Format) -> Result<(), Stop> {
        let limits = self.engine.info().limits.clone();
        let mut lines = Lines::new(source, format.max_line_bytes(&limits));
        let mut interrupted = std::pin::pin!(ctrl_c());
        loop {
            let line = tokio::select! {
                biased;
                Ok(()) = &mut interrupted => {
                    return Err(Stop::Failed(Failure::new(Exit::Interrupted, "interrupted")));
                }
                line = lines.next() => line,
            };
            let decoded = match line {
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
            self.add(key, value, number, bytes).await.map_err(Stop::Failed)?;
        }
    }

    async fn add(&mut self, key: Key, value: Bytes, line: u64, bytes: u64) -> Result<(), Failure> {
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
        next.bytes += bytes;
        next.batch_bytes += record;
        next.keys.insert(key.clone());
        next.batch = std::mem::take(&mut next.batch).put(key, value);
        Ok(())
    }

    /// Sends what has been gathered, as soon as there is room and none of its keys is under way.
    async fn send(&mut self) -> Result<(), Failure> {
        if self.next.batch.is_empty() {
            return Ok(());
        }
        while self.flights.len() >= IN_FLIGHT
            || self.keys.values().any(|keys| !keys.is_disjoint(&self.next.keys))
        {
            let Some(flight) = self.flights.join_next().await else { break };
            self.land(flight)?;
        }
        let Load { batch, keys, first_line, last_line, bytes, .. } = std::mem::take(&mut self.next);
        let (engine, options, number) = (Arc::clone(&self.engine), self.options.clone(), self.sent);
        self.sent += 1;
        self.keys.insert(number, keys);
        let records = batch.len() as u64;
        self.flights.spawn(async move {
            let result = engine.write(batch, options).await;
            Landed { load: number, records, bytes, first_line, last_line, result }
        });
        Ok(())
    }

    fn land(&mut self, flight: Result<Landed, tokio::task::JoinError>) -> Result<(), Failure> {
        let landed = flight.map_err(|error| {
            Failure::new(Exit::Error, format!("cannot tell the outcome of a batch: {error}"))
        })?;
        self.keys.remove(&landed.load);
        let place = format!("lines {} to {}", landed.first_line, landed.last_line);
        match landed.result {
            Ok(Outcome::Committed(commit)) => {
                self.done.records += landed.records;
                self.done.bytes += landed.bytes;
                self.done.version = self.done.version.max(Some(commit.version));
                let weakest =
                    self.done.durability.map_or(commit.durability, |level| level.min(commit.durability));
                self.done.durability = Some(weakest);
                self.progress.advance(landed.bytes, self.done.records);
                Ok(())
            }
            Ok(outcome) => {
                let message = format!("{}: a put ended in {outcome:?}", ErrorKind::Internal);
                Err(Failure::new(Exit::Error, message).at(&place))
            }
            Err(error) => Err(Failure::from(error).at(&place)),
        }
    }
}

/// Why reading ended before the end.
enum Stop {
    /// The file cannot be read on, but what was read can be stored.
    Malformed(Failure),
    /// Nothing more is to be stored.
    Failed(Failure),
}

#[cfg(test)]
mod tests;
