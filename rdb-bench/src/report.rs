mod axis;
mod groups;
mod numbers;
mod page;
mod plot;
mod table;

use std::time::UNIX_EPOCH;

use rdb_engine_api::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

use crate::{Disk, Machine, Measurement};

/// Several measurements and the machine they were taken on: what is written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it is about.
    pub title: String,
    /// When it was begun: seconds since 1970, in UTC.
    pub taken_at_unix_s: u64,
    /// With what it was taken, such as `rdb 0.1.0`.
    pub taken_by: String,
    /// The machine that asked, and with it all that runs on the same one.
    pub machine: Machine,
    /// The disk of those that store on this machine, where it was measured.
    pub disk: Option<Disk>,
    /// What was measured, in the order in which it was. Of several rounds of the same, plots show the median
    /// one.
    pub measurements: Vec<Measurement>,
}

impl Report {
    /// A report on this machine, dated now, with nothing measured yet.
    pub fn new(title: impl Into<String>, taken_by: impl Into<String>) -> Self {
        let since = SystemClock::new().wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            title: title.into(),
            taken_at_unix_s: since.as_secs(),
            taken_by: taken_by.into(),
            machine: Machine::here(),
            ..Self::default()
        }
    }

    /// For people: a line for each measurement and kind of operation, aligned.
    pub fn table(&self) -> String {
        table::text(&self.measurements)
    }

    /// For programs, the raw samples included.
    pub fn json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// For people: a page that shows it all with plots and needs nothing besides, neither network nor script.
    pub fn html(&self) -> String {
        page::html(self)
    }
}

#[cfg(test)]
mod tests;
