use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use rdb_checker::Recorder;

use super::disk::Disk;
use super::harness::Skipped;
use super::{Context, Harness, judged, model};
use crate::{Durability, EngineInfo};

/// How long a case may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// Single keys: reads, writes, conditions, versions.
    Core,
    /// Several keys in one write.
    Batch,
    /// Ranges, orders, views.
    Scan,
    /// Many callers at once.
    Concurrency,
    /// Levels of durability, and what is there after a reopen or a crash.
    Durability,
    /// Requests beyond the limits, and full queues.
    Limits,
    /// Opening and closing, foreign and damaged directories.
    Lifecycle,
    /// Restores, and what is there when one does not come to its end.
    Restore,
    /// Records with a time to live.
    Expiry,
    /// Watches: what they deliver, and how they end.
    Watch,
    /// Exactly-once writes.
    Sessions,
    /// Writes that wait for their conditions to hold.
    Blocking,
    /// Random sequences of every operation.
    Model,
    /// What is there after a power cut; a suite of its own, which wants root.
    Power,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Batch => "batch",
            Self::Scan => "scan",
            Self::Concurrency => "concurrency",
            Self::Durability => "durability",
            Self::Limits => "limits",
            Self::Lifecycle => "lifecycle",
            Self::Restore => "restore",
            Self::Expiry => "expiry",
            Self::Watch => "watch",
            Self::Sessions => "sessions",
            Self::Blocking => "blocking",
            Self::Model => "model",
            Self::Power => "power",
        })
    }
}

/// What an engine must declare for a case to apply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Data that outlives the process.
    Persistent,
    /// Data that does not.
    Volatile,
    /// A directory of its own, which every persistent engine is taken to have.
    Directory,
    /// The highest durability there is.
    Synced,
    /// A best durability below the highest there is.
    BelowSynced,
    /// That it does not declare expiry.
    NoExpiry,
    /// That it does not declare watches.
    NoWatch,
    /// That it does not declare sessions.
    NoSessions,
    /// That it does not declare restores.
    NoRestore,
    /// That it declares restores.
    Restore,
    /// That it declares restores, and data that outlives the process.
    PersistentRestore,
    /// That it does not declare blocking writes.
    NoBlocking,
    /// That it declares expiry.
    Expiry,
    /// That it declares expiry, and data that outlives the process.
    PersistentExpiry,
    /// That it declares expiry and restores.
    ExpiryRestore,
    /// That it declares expiry and watches.
    ExpiryWatch,
    /// That it declares expiry and sessions.
    ExpirySessions,
    /// That it declares expiry and blocking writes.
    ExpiryBlocking,
    /// That it declares watches.
    Watch,
    /// That it declares watches and restores.
    WatchRestore,
    /// That it declares sessions.
    Sessions,
    /// That it declares sessions, and data that outlives the process.
    PersistentSessions,
    /// That it declares sessions and blocking writes.
    SessionsBlocking,
    /// That it declares blocking writes.
    Blocking,
}

impl Need {
    /// Why a case with this need does not apply to the engine; none where it does.
    fn unmet(self, info: &EngineInfo) -> Option<&'static str> {
        let (can, persistent) = (info.capabilities, info.best_durability > Durability::Volatile);
        let (met, otherwise) = match self {
            Self::Persistent => {
                (info.best_durability > Durability::Volatile, "the engine declares that nothing outlives it")
            }
            Self::Volatile => {
                (info.best_durability == Durability::Volatile, "the engine declares that data outlives it")
            }
            Self::Directory => (
                info.best_durability > Durability::Volatile,
                "the engine declares that it keeps nothing on disk",
            ),
            Self::Synced => (
                info.best_durability == Durability::Synced,
                "the engine declares that a power cut may take what it answered",
            ),
            Self::BelowSynced => (
                info.best_durability < Durability::Synced,
                "the engine declares the highest durability there is",
            ),
            Self::NoExpiry => (!info.capabilities.expiry, "the engine declares expiry"),
            Self::NoWatch => (!info.capabilities.watch, "the engine declares watches"),
            Self::NoSessions => (!info.capabilities.sessions, "the engine declares sessions"),
            Self::NoRestore => (!info.capabilities.restore, "the engine declares restores"),
            Self::Restore => (info.capabilities.restore, "the engine declares no restores"),
            Self::PersistentRestore => (
                info.capabilities.restore && info.best_durability > Durability::Volatile,
                "the engine declares no restores, or that nothing outlives it",
            ),
            Self::NoBlocking => (!can.blocking, "the engine declares blocking writes"),
            Self::Expiry => (can.expiry, "the engine declares no expiry"),
            Self::PersistentExpiry => {
                (can.expiry && persistent, "the engine declares no expiry, or that nothing outlives it")
            }
            Self::ExpiryRestore => {
                (can.expiry && can.restore, "the engine does not declare both expiry and restores")
            }
            Self::ExpiryWatch => {
                (can.expiry && can.watch, "the engine does not declare both expiry and watches")
            }
            Self::ExpirySessions => {
                (can.expiry && can.sessions, "the engine does not declare both expiry and sessions")
            }
            Self::ExpiryBlocking => {
                (can.expiry && can.blocking, "the engine does not declare both expiry and blocking writes")
            }
            Self::Watch => (can.watch, "the engine declares no watches"),
            Self::WatchRestore => {
                (can.watch && can.restore, "the engine does not declare both watches and restores")
            }
            Self::Sessions => (can.sessions, "the engine declares no sessions"),
            Self::PersistentSessions => {
                (can.sessions && persistent, "the engine declares no sessions, or that nothing outlives it")
            }
            Self::SessionsBlocking => (
                can.sessions && can.blocking,
                "the engine does not declare both sessions and blocking writes",
            ),
            Self::Blocking => (can.blocking, "the engine declares no blocking writes"),
        };
        (!met).then_some(otherwise)
    }
}

/// One thing that the contract promises, and how it is checked.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// The case's name, which begins with its clause.
    pub name: &'static str,
    /// The group it belongs to.
    pub group: Group,
    /// What the engine must declare for it to apply.
    pub need: Option<Need>,
    pub(super) body: for<'a> fn(&'a Context) -> LocalBoxFuture<'a, ()>,
}

impl Case {
    /// Why the case does not apply to an engine that declares this, in this harness; none where it does.
    pub fn skipped(&self, info: &EngineInfo, harness: &dyn Harness) -> Option<String> {
        let unmet = self.need.and_then(|need| need.unmet(info)).map(str::to_owned);
        unmet.or_else(|| self.left_out(harness))
    }

    fn left_out(&self, harness: &dyn Harness) -> Option<String> {
        harness.skips().into_iter().find(|skip| self.is_meant_by(&skip.what)).map(|skip| skip.reason)
    }

    fn deadline(&self) -> Duration {
        if self.group == Group::Model { model::deadline() } else { DEADLINE }
    }

    pub(super) fn is_meant_by(&self, skipped: &Skipped) -> bool {
        match skipped {
            Skipped::Group(group) => *group == self.group,
            Skipped::Case(name) => name == self.name,
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

/// Every case of the suite, in the order of the list.
pub fn cases() -> &'static [Case] {
    super::list::CASES
}

/// What became of a case that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ran, and the engine kept its promise.
    Passed,
    /// It does not apply, for this reason.
    Skipped(String),
}

/// Why a case failed: what was promised, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Runs a case as a test: panics where it fails, prints `skip: ` where it does not apply.
///
/// # Panics
/// Where the case fails, and where no case has this name.
pub fn run(name: &str, harness: impl Harness) {
    match run_case(name, Arc::new(harness)) {
        Ok(Verdict::Passed) => {}
        Ok(Verdict::Skipped(reason)) => println!("skip: {reason}"),
        Err(failure) => panic!("{name}: {failure}"),
    }
}

/// Runs a case on a thread and a runtime of its own.
///
/// # Panics
/// Where no case has this name.
pub fn run_case(name: &str, harness: Arc<dyn Harness>) -> Result<Verdict, Failure> {
    let case = cases().iter().chain(super::list::POWER_CUTS).find(|case| case.name == name);
    let case = *case.unwrap_or_else(|| panic!("no conformance case is called `{name}`"));
    on_thread(name, case.deadline(), move || on_runtime(judge(case, harness)))
}

/// What the engine declares.
pub(super) fn declared(harness: Arc<dyn Harness>) -> Result<EngineInfo, Failure> {
    on_thread("declared", DEADLINE, move || {
        on_runtime(async { Context::new(harness, None).declared().await })
    })
}

fn on_thread<T: Send + 'static>(
    name: &str,
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (done, result) = mpsc::channel();
    // A thread, so that an engine that blocks for ever inside a call is caught by the deadline too.
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // Nobody waits any more where the deadline has passed.
        let _ = done.send(result.map_err(|panic| Failure::new(message_of(&*panic))));
    });
    if let Err(error) = thread {
        return Err(Failure::new(format!("the machine gave no thread: {error}")));
    }
    match result.recv_timeout(deadline) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            Err(Failure::new(format!("the case did not end within {} s", deadline.as_secs())))
        }
        Err(RecvTimeoutError::Disconnected) => Err(Failure::new("the case's thread died")),
    }
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("the operating system grants a runtime its threads");
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(10));
    result
}

async fn judge(case: Case, harness: Arc<dyn Harness>) -> Verdict {
    // Where many callers meet, what they see is judged as a whole, too.
    let recorder = (case.group == Group::Concurrency).then(Recorder::new);
    let context = Context::new(harness, recorder.clone());
    // What the engine declares costs an opening: only where the case depends on it.
    let skipped = match case.need {
        Some(_) => case.skipped(&context.declared().await, context.harness()),
        None => case.left_out(context.harness()),
    };
    if let Some(reason) = skipped {
        return Verdict::Skipped(reason);
    }
    if case.group == Group::Power {
        if let Some(reason) = Disk::impossible() {
            return Verdict::Skipped(reason.to_owned());
        }
        context.move_to_disk().await;
    }
    // Only the words of the panic are used of what it left.
    if let Err(panic) = AssertUnwindSafe((case.body)(&context)).catch_unwind().await {
        context.abandon().await;
        resume_unwind(panic);
    }
    context.stop().await;
    if let Some(recorder) = recorder {
        judged::judge(case.name, &recorder.history());
    }
    Verdict::Passed
}

pub(super) fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        "the case panicked without a message".to_owned()
    }
}
