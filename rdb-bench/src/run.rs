use std::fmt;
use std::sync::Arc;

use crate::{Measurement, Progress, Result, Settings, Stop, Target};

/// A workload to be run against a target.
pub struct Run {
    target: Arc<dyn Target>,
    settings: Settings,
    stop: Stop,
    watcher: Box<dyn Fn(Progress) + Send + Sync>,
}
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("target", &self.target)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// Prepares a run; nothing is asked yet.
    pub fn new(target: Arc<dyn Target>, settings: Settings) -> Self {
        Self { target, settings, stop: Stop::new(), watcher: Box::new(|_| ()) }
    }

    /// Can be ended by this.
    #[must_use]
    pub fn stop_by(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Tells several times a second how far it is.
    #[must_use]
    pub fn on_progress(mut self, watcher: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.watcher = Box::new(watcher);
        self
    }
}

impl Run {
    /// Stores the records that the workload wants to be there, in batches, and measures that.
    ///
    /// # Errors
    /// Where the settings make no sense, or a batch fails.
    pub async fn load(&self) -> Result<Measurement> {
        (self.watcher)(Progress {
            phase: crate::Phase::Load,
            done: 0.0,
            elapsed: std::time::Duration::ZERO,
            operations: 0,
            per_second: 0.0,
        });
        Err("not yet".to_owned())
    }

    /// Warms up, runs the workload, and measures it.
    ///
    /// # Errors
    /// Where the settings make no sense, or nothing at all is answered. Operations that fail are counted.
    pub async fn measure(&self) -> Result<Measurement> {
        self.stop.stopped().await;
        Err("not yet".to_owned())
    }
}
