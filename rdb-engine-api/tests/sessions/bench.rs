//! An engine on a [`Shelf`], and short forms of what the tests ask of it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rdb_engine_api::{
    Batch, Condition, Durability, Engine, Error, ErrorKind, Key, Limits, Local, LocalOptions, ManualClock,
    MetricValue, Outcome, Result, Session, SessionOptions, Stamp, Version, WriteOptions,
};

use crate::shelf::Shelf;

pub(crate) struct Bench {
    pub(crate) shelf: Shelf,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) engine: Arc<Local<Shelf>>,
    options: LocalOptions,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(limit: impl FnOnce(&mut Limits)) -> Self {
        let mut options = LocalOptions::default();
        limit(&mut options.limits);
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_000)));
        Self::on(Shelf::default(), clock, options)
    }

    fn on(shelf: Shelf, clock: Arc<ManualClock>, options: LocalOptions) -> Self {
        let engine = Arc::new(Local::open(shelf.clone(), options.clone(), clock.clone()).unwrap());
        Self { shelf, clock, engine, options }
    }

    /// Opens the engine again after an orderly end.
    pub(crate) async fn reopen(&mut self) {
        self.engine.close().await.unwrap();
        *self = Self::on(self.shelf.clone(), self.clock.clone(), self.options.clone());
    }

    /// Opens it again on what is left of it.
    pub(crate) fn reopen_on(&mut self, shelf: Shelf) {
        *self = Self::on(shelf, self.clock.clone(), self.options.clone());
    }

    pub(crate) fn reopen_fails(&self, shelf: Shelf) -> Error {
        Local::open(shelf, self.options.clone(), self.clock.clone()).unwrap_err()
    }

    pub(crate) async fn session(&self) -> Session {
        self.engine.open_session(SessionOptions::default()).await.unwrap()
    }

    pub(crate) async fn resumed(&self, session: Session) -> Session {
        self.engine.resume_session(session.id).await.unwrap().expect("the session is open")
    }

    pub(crate) async fn write(&self, batch: &Batch, stamp: Stamp) -> Result<Outcome> {
        self.engine.write(batch.clone(), WriteOptions::default().stamp(stamp)).await
    }

    pub(crate) async fn kind(&self, batch: &Batch, stamp: Stamp) -> ErrorKind {
        self.write(batch, stamp).await.unwrap_err().kind()
    }

    pub(crate) async fn value(&self, name: &str) -> Option<String> {
        let record = self.engine.get(&key(name)).await.unwrap()?;
        Some(String::from_utf8(record.value.to_vec()).unwrap())
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.engine.metrics();
        let found = metrics.iter().find(|metric| metric.name == name).expect("there is such a metric");
        match found.value {
            MetricValue::Counter(value) | MetricValue::Gauge(value) => value,
            _ => panic!("{name} is not a number"),
        }
    }

    /// Waits until a metric has a value; how often it has to look depends on other threads.
    pub(crate) async fn until(&self, name: &str, value: f64) {
        let wait = async {
            while self.metric(name) != value {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "{name} is {} and not {value}", self.metric(name));
    }

    /// Begins a commit that does not end before [`Shelf::release`].
    pub(crate) async fn hold_committer(&self) -> tokio::task::JoinHandle<Result<Outcome>> {
        self.shelf.hold();
        let commits = self.shelf.commits();
        let engine = Arc::clone(&self.engine);
        let blocker = Batch::new().put(key("blocker"), "b");
        let held = tokio::spawn(async move { engine.write(blocker, WriteOptions::default()).await });
        while self.shelf.commits() == commits {
            tokio::task::yield_now().await;
        }
        held
    }

    /// Sends a write without waiting for its answer.
    pub(crate) fn send(
        &self,
        batch: &Batch,
        options: WriteOptions,
    ) -> tokio::task::JoinHandle<Result<Outcome>> {
        let (engine, batch) = (Arc::clone(&self.engine), batch.clone());
        tokio::spawn(async move { engine.write(batch, options).await })
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

pub(crate) fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

/// Creates the key, so that it conflicts if it is judged a second time.
pub(crate) fn create(name: &str) -> Batch {
    Batch::new().when(key(name), Condition::Absent).put(key(name), "v")
}

pub(crate) fn committed(outcome: &Outcome) -> Version {
    match outcome {
        Outcome::Committed(commit) => commit.version,
        other => panic!("not committed: {other:?}"),
    }
}

pub(crate) fn durability(outcome: &Outcome) -> Durability {
    match outcome {
        Outcome::Committed(commit) | Outcome::Unchanged(commit) => commit.durability,
        Outcome::Conflict(conflict) => panic!("a conflict: {conflict:?}"),
    }
}
