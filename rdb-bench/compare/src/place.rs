use std::path::PathBuf;
use std::time::Duration;

use rdb_bench::{Keys, Settings, Workload};

use crate::failure::Result;

/// Where, with what and for how long is measured: the same for all rows of a run.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// A folder on the disk that is measured.
    pub(crate) disk: PathBuf,
    /// The node's program.
    pub(crate) server: PathBuf,
    /// The command-line client.
    pub(crate) rdb: PathBuf,
    /// The node's engine.
    pub(crate) engine: String,
    /// The package index, as `key TAB value` lines, packed by gzip or not.
    pub(crate) packages: PathBuf,
    /// How many records there are, unless a row has a number of its own.
    pub(crate) records: u64,
    /// How many records there are in the row that has many.
    pub(crate) many_records: u64,
    /// How long each side is measured in each round.
    pub(crate) time: Duration,
    /// How long it runs before that.
    pub(crate) warm_up: Duration,
}

impl Place {
    /// What is asked of a side that the library's runner measures.
    pub(crate) fn settings(&self, workload: Workload, callers: usize) -> Settings {
        let mut settings = Settings::new(workload);
        settings.records = self.records;
        settings.callers = callers;
        settings.time = self.time;
        settings.warm_up = self.warm_up;
        settings
    }

    /// The keys of the records.
    pub(crate) fn keys(&self) -> Result<Keys> {
        Ok(self.settings(Workload::Get, 1).keys()?)
    }
}
