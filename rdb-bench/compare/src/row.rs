use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::figures::Figures;

/// A line of the table of targets: what is compared with what, and how it has to come out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// How it is chosen on the command line, and called in the JSON.
    pub(crate) name: &'static str,
    /// What it is, in the words of the targets.
    pub(crate) title: &'static str,
    /// What its reader has to know besides the figures.
    pub(crate) how: &'static str,
    pub(crate) figure: Figure,
    pub(crate) direction: Direction,
    pub(crate) target: f64,
    pub(crate) stretch: f64,
    pub(crate) ours: Contender,
    pub(crate) rival: Contender,
    /// Whether it takes minutes.
    pub(crate) slow: bool,
}

/// Which figure of the two sides is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Operations or records a second.
    PerSecond,
    /// The time that half of the operations stay below.
    P50,
    /// The time that 99 of a hundred operations stay below.
    P99,
}

/// On which side of the target the ratio has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    AtLeast,
    AtMost,
}

impl Direction {
    pub(crate) fn is_met(self, ratio: f64, target: f64) -> bool {
        match self {
            Self::AtLeast => ratio >= target,
            Self::AtMost => ratio <= target,
        }
    }
}

impl Figure {
    /// The figure of a measurement; none where it was not measured.
    pub(crate) fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::PerSecond => Some(figures.per_second),
            Self::P50 => figures.latency.map(|latency| latency.p50_us),
            Self::P99 => figures.latency.map(|latency| latency.p99_us),
        }
    }

    /// As it is called in a table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::PerSecond => "a second",
            Self::P50 => "p50, µs",
            Self::P99 => "p99, µs",
        }
    }
}
