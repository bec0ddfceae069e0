use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::numbers::{short, steps};

/// An axis of a plot, labelled at given places: what plotters would choose is not round on ours.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Where it is labelled, and how.
    pub(super) labels: Vec<(f64, String)>,
}

impl Axis {
    /// From nothing to at least so much.
    pub(super) fn from_zero(title: &'static str, most: f64) -> Self {
        let steps = steps(most.max(1.0), 5);
        let to = steps.last().copied().unwrap_or(1.0);
        Self { title, from: 0.0, to, labels: steps.into_iter().map(|step| (step, short(step))).collect() }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (begin, end): (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        begin + (part * f64::from(end - begin)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.labels.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, at: &f64) -> String {
        let found = self.labels.iter().find(|(place, _)| place == at);
        found.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}
