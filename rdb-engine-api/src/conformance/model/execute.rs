use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;

use super::super::Context;
use super::super::db::Db;
use super::super::runner::message_of;
use super::compare::{broken, failed, read, same_entries, same_record};
use super::reference::{Broken, Model, State, promised};
use super::step::{Act, Beyond, Check, Id, Look, Name, Step, Which, Write};
use crate::{
    Batch, Condition, Durability, EngineInfo, Entry, EntryStream, ErrorKind, Key, KeyRange, Limits, Op,
    Outcome, Result, Scan, Session, SessionOptions, View, Watch, WriteOptions,
};

/// How long one step may take before it counts as never answered.
const STEP_DEADLINE: Duration = Duration::from_secs(20);
/// The promise that is broken where a step is never answered.
pub(super) const ANSWERED: &str = "every call is answered (C1)";
/// How long an engine that broke its promise is given to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Scans left open at once; the oldest has to go for one more.
const OPEN_SCANS: usize = 4;
/// Sizes up to which a request beyond a limit is tried; engines with higher limits are not.
const MOST_BYTES: usize = 64 << 20;
const MOST_ENTRIES: usize = 100_000;

/// A step whose answer is not the model's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disagreement {
    /// The step's place in the sequence.
    pub(super) place: usize,
    pub(super) broken: Broken,
}

/// Takes the steps one after the other, on an engine and a model that both begin empty. The first answer
/// on which the two disagree is the end of it.
pub(super) async fn execute(cx: &Context, steps: &[Step]) -> Option<Disagreement> {
    let mut at = 0;
    let run = async {
        let mut run = Run::open(cx).await;
        for (place, step) in steps.iter().enumerate() {
            at = place;
            let taken = tokio::time::timeout(STEP_DEADLINE, run.step(step)).await;
            taken.unwrap_or_else(|_| Err(broken(ANSWERED, "no answer for 20 s")))?;
            if run.unknown {
                break;
            }
        }
        if run.unsettled && !run.closed && !run.unknown {
            run.settle().await?;
        }
        run.scans.clear();
        cx.stop().await;
        Ok(())
    };
    let ended = AssertUnwindSafe(run).catch_unwind().await;
    let ended = ended.unwrap_or_else(|panic| {
        Err(broken("each step ends as promised, and none in a panic", &message_of(&*panic)))
    });
    let broken = ended.err()?;
    // What is broken may fail to close, too: that is not what was found.
    let closed = AssertUnwindSafe(cx.stop()).catch_unwind();
    let _ = tokio::time::timeout(CLOSE_DEADLINE, closed).await;
    Some(Disagreement { place: at, broken })
}

/// Small enough to be reached, and larger than what the sequences need.
fn limits() -> Limits {
    Limits {
        max_value_bytes: 32 << 10,
        max_batch_len: 64,
        max_batch_bytes: 1 << 20,
        max_get_many_keys: 20,
        ..Limits::default()
    }
}

/// A scan that is open, and what it has to deliver.
struct Open {
    id: Id,
    stream: EntryStream,
    expected: Vec<Entry>,
    /// Whether its engine was closed meanwhile: then it may end early, but not as if it were whole.
    closed: bool,
}

struct Run<'a> {
    cx: &'a Context,
    db: Db,
    info: EngineInfo,
    model: Model,
    /// The versions of the commits, by the step that made them.
    versions: BTreeMap<Id, crate::Version>,
    scans: Vec<Open>,
    closed: bool,
    /// After a crash, until it was looked what survived.
    unsettled: bool,
    /// Whether a write may still take effect, at any time: from then on the model knows nothing.
    unknown: bool,
}

impl<'a> Run<'a> {
    async fn open(cx: &'a Context) -> Self {
        let db = cx.open_with(limits()).await;
        let info = db.engine().info().clone();
        Self {
            cx,
            db,
            info,
            model: Model::new(),
            versions: BTreeMap::new(),
            scans: Vec::new(),
            closed: false,
            unsettled: false,
            unknown: false,
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), Broken> {
        let volatile = self.info.best_durability == Durability::Volatile;
        match &step.act {
            Act::Close => {
                let closed = self.db.engine().close().await;
                self.end_openings();
                return closed.map_err(|error| failed("a close", &error));
            }
            Act::Reopen => {
                self.end_openings();
                self.db = self.cx.reopen().await;
                self.model.reopened(volatile);
                self.closed = false;
                return Ok(());
            }
            Act::Crash => {
                self.db = self.cx.crash().await;
                self.end_openings();
                self.model.crashed();
                (self.closed, self.unsettled) = (false, true);
                return Ok(());
            }
            _ => {}
        }
        if self.unsettled && !self.closed {
            self.settle().await?;
        }
        match &step.act {
            Act::Get(name) => self.get(*name).await,
            Act::GetMany(names) => self.get_many(names).await,
            Act::Scan(look) => self.scan(look).await,
            Act::OpenScan(look) => self.open_scan(step.id, look).await,
            Act::Drain(id) => self.drain(*id).await,
            Act::Write(write) => self.write(step.id, write).await,
            Act::Refuse(beyond, name) => self.refuse(*beyond, name.key()).await,
            Act::Close | Act::Reopen | Act::Crash => Ok(()),
        }
    }

    fn end_openings(&mut self) {
        self.closed = true;
        self.scans.iter_mut().for_each(|scan| scan.closed = true);
    }

    /// Looks what survived a crash.
    async fn settle(&mut self) -> Result<(), Broken> {
        self.unsettled = false;
        let view = self.db.engine().scan(Scan::new(KeyRange::all())).await;
        let view = view.map_err(|error| failed("a scan after a crash", &error))?;
        let (entries, ended) = read(view.data).await;
        ended.map_err(|error| failed("a scan after a crash", &error))?;
        let records = entries.into_iter().filter_map(|entry| Some((entry.key, entry.record?)));
        self.model.settle(view.version, &records.collect::<State>())
    }

    async fn get(&mut self, name: Name) -> Result<(), Broken> {
        let key = name.key();
        let answer = self.db.engine().get(&key).await;
        let Some(record) = self.answered(answer, "a get", &[])? else { return Ok(()) };
        same_record(
            record.as_ref(),
            self.model.state().get(&key),
            "a get returns the latest record (C1)",
            &key,
        )
    }

    async fn get_many(&mut self, names: &[Name]) -> Result<(), Broken> {
        let keys: Vec<Key> = names.iter().map(|name| name.key()).collect();
        let answer = self.db.engine().get_many(&keys).await;
        let beyond = keys.len() > self.info.limits.max_get_many_keys;
        let refusals: &[_] = if beyond { &[ErrorKind::InvalidArgument] } else { &[] };
        let Some(view) = self.answered(answer, "a get of several keys", refusals)? else { return Ok(()) };
        promised(view.data.len() == keys.len(), "a get of several keys answers for each (C8)", || {
            format!("{} answers for {} keys", view.data.len(), keys.len())
        })?;
        let promise = "a get of several keys answers each from one view (C8)";
        for (key, record) in keys.iter().zip(&view.data) {
            same_record(record.as_ref(), self.model.state().get(key), promise, key)?;
        }
        self.model.saw_view(view.version)
    }

    async fn scan(&mut self, look: &Look) -> Result<(), Broken> {
        let Some(view) = self.try_scan(look).await? else { return Ok(()) };
        let expected = self.model.scan(&look.0);
        self.model.saw_view(view.version)?;
        let (entries, ended) = read(view.data).await;
        ended.map_err(|error| failed("a scan", &error))?;
        same_entries(&entries, &expected, "a scan delivers the records of its view in order (C8)")
    }

    async fn open_scan(&mut self, id: Id, look: &Look) -> Result<(), Broken> {
        let most = OPEN_SCANS.min(self.info.limits.max_scans / 2);
        if self.scans.len() >= most && !self.scans.is_empty() {
            self.scans.remove(0);
        }
        let Some(view) = self.try_scan(look).await? else { return Ok(()) };
        self.model.saw_view(view.version)?;
        if most > 0 {
            let expected = self.model.scan(&look.0);
            self.scans.push(Open { id, stream: view.data, expected, closed: false });
        }
        Ok(())
    }

    /// Opens a scan. One that has just ended may hold its place for a moment longer.
    async fn try_scan(&self, look: &Look) -> Result<Option<View<EntryStream>>, Broken> {
        loop {
            match self.db.engine().scan(look.0.clone()).await {
                Err(error) if error.kind() == ErrorKind::Exhausted && !self.closed => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answer => return self.answered(answer, "opening a scan", &[]),
            }
        }
    }

    async fn drain(&mut self, id: Id) -> Result<(), Broken> {
        let Some(place) = self.scans.iter().position(|scan| scan.id == id) else { return Ok(()) };
        let scan = self.scans.remove(place);
        let (entries, ended) = read(scan.stream).await;
        match ended {
            Ok(()) => {
                same_entries(&entries, &scan.expected, "an open scan shows the view it was opened in (C8)")
            }
            Err(error) if self.may_end(scan.closed, error.kind()) => {
                let part = &scan.expected[..entries.len().min(scan.expected.len())];
                same_entries(&entries, part, "what a scan delivers before it ends early is its view's (C8)")
            }
            Err(error) => Err(failed("reading a scan that was left open", &error)),
        }
    }

    /// Whether a scan that was left open may end early in this way (C8): with its engine, or for resting too
    /// long on one that grants little time.
    fn may_end(&self, closed: bool, kind: ErrorKind) -> bool {
        let impatient = self.info.limits.scan_idle < STEP_DEADLINE;
        closed && kind == ErrorKind::Closed || impatient && kind == ErrorKind::Exhausted
    }

    async fn write(&mut self, id: Id, write: &Write) -> Result<(), Broken> {
        let limits = &self.info.limits;
        let batch = self.batch(write);
        let mut options = WriteOptions::default();
        (options.durability, options.timeout) = (write.level, write.timeout);
        let mut refusals = Vec::new();
        if batch.len() > limits.max_batch_len || batch.size_bytes() > limits.max_batch_bytes {
            refusals.push(ErrorKind::InvalidArgument);
        }
        if write.level.is_some_and(|level| level > self.info.best_durability) {
            refusals.push(ErrorKind::Unsupported);
        }
        let answer = self.db.engine().write(batch.clone(), options).await;
        // Its time may run out before its turn: then it was certainly not applied, or nobody can tell (C10).
        if let Err(error) = &answer
            && write.timeout == Some(Duration::ZERO)
            && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown)
        {
            self.unknown = error.kind() == ErrorKind::Unknown;
            return Ok(());
        }
        let Some(outcome) = self.answered(answer, "a write", &refusals)? else { return Ok(()) };
        let asked = write.level.unwrap_or(self.info.default_durability);
        self.model.saw_outcome(&batch, asked, self.info.best_durability, &outcome)?;
        if let Outcome::Committed(commit) = outcome {
            self.versions.insert(id, commit.version);
        }
        Ok(())
    }

    fn batch(&self, write: &Write) -> Batch {
        let limits = &self.info.limits;
        let large = (20_000).min(limits.max_value_bytes).min(limits.max_batch_bytes / 32);
        let checked = write.checks.iter().fold(Batch::new(), |batch, (name, check)| {
            let condition = match check {
                Check::Present => Condition::Present,
                Check::Absent => Condition::Absent,
                Check::Value(data) => Condition::Value(data.bytes(large)),
                Check::Version(which) => Condition::Version(self.version(*which)),
            };
            batch.when(name.key(), condition)
        });
        write.ops.iter().fold(checked, |batch, (name, op)| match op {
            Some(data) => batch.put(name.key(), data.bytes(large)),
            None => batch.delete(name.key()),
        })
    }

    fn version(&self, which: Which) -> crate::Version {
        let given = match which {
            Which::Current(name) => self.model.state().get(&name.key()).map(|record| record.version),
            Which::Of(id) => self.versions.get(&id).copied(),
            Which::Never => None,
        };
        given.unwrap_or_else(|| self.model.never())
    }

    /// Asks for what has to be refused. That nothing was applied, the steps behind it tell.
    async fn refuse(&mut self, beyond: Beyond, key: Key) -> Result<(), Broken> {
        let limits = self.info.limits.clone();
        let capabilities = self.info.capabilities;
        let put = |value: Bytes| Batch::new().put(key.clone(), value);
        let plain = WriteOptions::default();
        let (batch, options, kind) = match beyond {
            Beyond::ValueTooLong if limits.max_value_bytes < MOST_BYTES => {
                (put(vec![b'x'; limits.max_value_bytes + 1].into()), plain, ErrorKind::InvalidArgument)
            }
            Beyond::BatchTooLong if limits.max_batch_len < MOST_ENTRIES => {
                // A short key, so that it is this limit alone.
                let grow = |batch: Batch, _| batch.put(Name(0).key(), "too long");
                ((0..=limits.max_batch_len).fold(Batch::new(), grow), plain, ErrorKind::InvalidArgument)
            }
            Beyond::BatchTooLarge if limits.max_batch_bytes < MOST_BYTES => {
                let value = Bytes::from(vec![b'x'; limits.max_value_bytes.min(limits.max_batch_bytes)]);
                let count = limits.max_batch_bytes / (value.len() + key.len()) + 1;
                let grow = |batch: Batch, _| batch.put(key.clone(), value.clone());
                ((0..count).fold(Batch::new(), grow), plain, ErrorKind::InvalidArgument)
            }
            Beyond::TooManyKeys if limits.max_get_many_keys < MOST_ENTRIES => {
                let keys = vec![Name(0).key(); limits.max_get_many_keys + 1];
                let answer = self.db.engine().get_many(&keys).await;
                return self.refused(answer.map(drop), beyond, ErrorKind::InvalidArgument);
            }
            Beyond::TimeToLive if !capabilities.expiry => {
                let op =
                    Op::Put { value: Bytes::from_static(b"short-lived"), ttl: Some(Duration::from_secs(9)) };
                (Batch::new().op(key, op), plain, ErrorKind::Unsupported)
            }
            Beyond::Stamp if !capabilities.sessions => {
                let one = NonZeroU64::MIN;
                let stamp = Session::new(one, one, one, Duration::from_secs(1)).stamp(one, 0);
                (put(Bytes::from_static(b"stamped")), plain.stamp(stamp), ErrorKind::Unsupported)
            }
            Beyond::Session if !capabilities.sessions => {
                let answer = self.db.engine().open_session(SessionOptions::default()).await;
                return self.refused(answer.map(drop), beyond, ErrorKind::Unsupported);
            }
            Beyond::Watch if !capabilities.watch => {
                let answer = self.db.engine().watch(Watch::new(KeyRange::all())).await;
                return self.refused(answer.map(drop), beyond, ErrorKind::Unsupported);
            }
            _ => return Ok(()),
        };
        let answer = self.db.engine().write(batch, options).await;
        self.refused(answer.map(drop), beyond, kind)
    }

    fn refused(&self, answer: Result<()>, beyond: Beyond, kind: ErrorKind) -> Result<(), Broken> {
        let Err(error) = answer else {
            let promise = format!("what an engine does not do is refused as {kind} (C14, C18)");
            return Err(broken(&promise, &format!("{beyond:?} was answered as if it had been done")));
        };
        let honest = error.kind() == kind || self.closed && error.kind() == ErrorKind::Closed;
        promised(honest, &format!("what an engine does not do is refused as {kind} (C14, C18)"), || {
            format!("{beyond:?} ended in {}: {}", error.kind(), error.report())
        })
    }

    /// The answer of a call that is to succeed, unless one of these kinds is due; none where it is.
    fn answered<T>(&self, answer: Result<T>, what: &str, due: &[ErrorKind]) -> Result<Option<T>, Broken> {
        let refusal = self.closed || !due.is_empty();
        match answer {
            Ok(answer) if !refusal => Ok(Some(answer)),
            Ok(_) if due.is_empty() => Err(broken(
                "a closed engine answers every call with Closed (C12)",
                &format!("{what} succeeded"),
            )),
            Ok(_) => Err(broken(&format!("{what} is refused as one of {due:?} (C9, C14)"), "it succeeded")),
            Err(error) => {
                let expected =
                    due.contains(&error.kind()) || self.closed && error.kind() == ErrorKind::Closed;
                if expected { Ok(None) } else { Err(failed(what, &error)) }
            }
        }
    }
}
