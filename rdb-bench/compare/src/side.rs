use std::sync::Arc;

use async_trait::async_trait;
use rdb_bench::{Run, Settings, Target};
use rdb_client::{Engine, KeyRange, Watch, WatchStream};

use crate::failure::Result;
use crate::figures::Figures;

/// One side of a comparison, open and loaded: measured once in each round.
#[async_trait]
pub(crate) trait Side: Send {
    /// The command lines, and what else says how it is measured; without paths of this machine.
    fn how(&self) -> String;

    /// Warms up, and measures.
    async fn measure(&mut self) -> Result<Figures>;
}

/// A side that the library's runner drives.
pub(crate) struct Driven {
    run: Run,
    how: String,
    /// An engine of which a watch is opened, and never read, while it is measured.
    watched: Option<Arc<dyn Engine>>,
    /// What has to live as long as the target.
    _peer: Box<dyn Send + Sync>,
}

impl Driven {
    /// Loads what the workload wants to be there.
    pub(crate) async fn open(
        target: Arc<dyn Target>,
        settings: Settings,
        peer: impl Send + Sync + 'static,
    ) -> Result<Self> {
        let info = target.info();
        let how = info.command_line.unwrap_or(info.name);
        let needs_records = settings.workload.needs_records();
        let run = Run::new(target, settings);
        if needs_records {
            run.load().await?;
        }
        Ok(Self { run, how, watched: None, _peer: Box::new(peer) })
    }

    /// Says more about how it is measured.
    pub(crate) fn noting(mut self, note: &str) -> Self {
        self.how = format!("{}; {note}", self.how);
        self
    }

    /// Opens a watch over all keys of this engine in each measurement, and never reads it.
    pub(crate) fn with_stalled_watcher(mut self, engine: Arc<dyn Engine>) -> Self {
        self.watched = Some(engine);
        self
    }

    async fn stalled_watch(&self) -> Result<Option<WatchStream>> {
        let Some(engine) = &self.watched else { return Ok(None) };
        Ok(Some(engine.watch(Watch::new(KeyRange::all())).await?.data))
    }
}

#[async_trait]
impl Side for Driven {
    fn how(&self) -> String {
        self.how.clone()
    }

    async fn measure(&mut self) -> Result<Figures> {
        let unread = self.stalled_watch().await?;
        let measured = self.run.measure().await?;
        drop(unread);
        if let (1.., Some(error)) = (measured.errors, measured.error_texts.first()) {
            return Err(format!("{} operations failed: {error}", measured.errors).into());
        }
        // A read of nothing is no rival's read.
        if measured.misses > 0 {
            return Err(format!("{} records were missing", measured.misses).into());
        }
        Ok(Figures::from(&measured))
    }
}
