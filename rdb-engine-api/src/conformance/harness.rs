use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::Group;
use crate::{Engine, Error, ErrorKind, Limits, Result};

/// How the suite comes by the engine that it tests.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Opens the engine over what is in `directory`, which exists and is empty at first. The suite opens
    /// the same directory again after [`Running::stop`], a copy of it as after a crash, and, to see the
    /// second opener refused, one that is open already. An engine that keeps nothing ignores it.
    ///
    /// The engine is to hold its callers to `limits`. One that cannot be told its limits ignores them; the
    /// suite's own needs are small: 16 scans and 128 queued writes at once, values of 64 KiB.
    async fn open(&self, directory: &Path, limits: Limits) -> Result<Running>;

    /// What is not to be run, although the engine declares what it needs, and why.
    fn skips(&self) -> Vec<Skip>;
}

/// An engine that is open, and how all of it is brought to an orderly end.
pub struct Running {
    engine: Arc<dyn Engine>,
    stop: Option<BoxFuture<'static, Result<()>>>,
}

impl Running {
    /// An engine that has come to an end when [`Engine::close`] has returned.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, stop: None }
    }

    /// An engine with something behind it, a node for example, that `stop` brings to an end once
    /// [`Engine::close`] has returned.
    pub fn with_stop(
        engine: Arc<dyn Engine>,
        stop: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Self {
        Self { engine, stop: Some(Box::pin(stop)) }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Closes the engine and what is behind it; the directory is free when this has returned.
    pub async fn stop(self) -> Result<()> {
        self.engine.close().await?;
        match self.stop {
            Some(stop) => stop.await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// Something that a harness leaves out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    pub(super) what: Skipped,
    pub(super) reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    Group(Group),
    Case(String),
}

impl Skip {
    /// Leaves out a whole group.
    pub fn group(group: Group, reason: impl Into<String>) -> Self {
        Self { what: Skipped::Group(group), reason: reason.into() }
    }

    /// Leaves out one case.
    pub fn case(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: Skipped::Case(name.into()), reason: reason.into() }
    }
}

type Open = dyn Fn(&Path, Limits) -> Result<Arc<dyn Engine>> + Send + Sync;

/// The harness of an engine that a function call opens in this process.
pub struct LocalHarness {
    open: Arc<Open>,
    skips: Vec<Skip>,
}

impl LocalHarness {
    /// A harness that opens engines with this function, which may block.
    pub fn new<E: Engine>(open: impl Fn(&Path, Limits) -> Result<E> + Send + Sync + 'static) -> Self {
        let open = move |directory: &Path, limits| Ok(Arc::new(open(directory, limits)?) as Arc<dyn Engine>);
        Self { open: Arc::new(open), skips: Vec::new() }
    }

    /// Leaves something out.
    #[must_use]
    pub fn skip(mut self, skip: Skip) -> Self {
        self.skips.push(skip);
        self
    }
}

impl fmt::Debug for LocalHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalHarness").field("skips", &self.skips).finish_non_exhaustive()
    }
}

#[async_trait]
impl Harness for LocalHarness {
    async fn open(&self, directory: &Path, limits: Limits) -> Result<Running> {
        let (open, directory) = (Arc::clone(&self.open), directory.to_owned());
        let opened = tokio::task::spawn_blocking(move || open(&directory, limits)).await;
        match opened {
            Ok(engine) => Ok(Running::new(engine?)),
            Err(error) => Err(Error::new(ErrorKind::Internal, "opening the engine panicked").because(error)),
        }
    }

    fn skips(&self) -> Vec<Skip> {
        self.skips.clone()
    }
}
