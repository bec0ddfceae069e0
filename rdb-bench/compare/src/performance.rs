use std::path::Path;

use rdb_bench::{Disk, Machine, Settings};
use serde::{Deserialize, Serialize};

use crate::date;
use crate::failure::Result;
use crate::figures::Figures;
use crate::row::{Direction, Figure, Row};
use crate::scale::Scale;

/// What `docs/performance.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Performance {
    /// When it was measured, as YYYY-MM-DD in UTC.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) disk: Disk,
    /// Programs and their versions.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
    /// One for each row of the table of targets that was asked for.
    pub(crate) rows: Vec<Measured>,
    /// Throughput and latency against the number of callers.
    pub(crate) curves: Vec<Curve>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) scale: Vec<Scale>,
}

/// A row of the table of targets, measured or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) title: String,
    /// When it was measured: a row may be measured again alone.
    pub(crate) date: String,
    pub(crate) figure: Figure,
    pub(crate) direction: Direction,
    pub(crate) target: f64,
    pub(crate) stretch: f64,
    /// The median of the rounds' ratios.
    pub(crate) ratio: Option<f64>,
    /// The lowest and the highest ratio of a round.
    pub(crate) spread: Option<(f64, f64)>,
    /// Whether the median ratio is on the right side of the target.
    pub(crate) met: Option<bool>,
    /// The same for the stretch.
    pub(crate) stretch_met: Option<bool>,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_measured: Option<String>,
    pub(crate) ours: MeasuredSide,
    pub(crate) rival: MeasuredSide,
    pub(crate) how: String,
}

/// One side of a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeasuredSide {
    pub(crate) name: String,
    /// Command lines and settings.
    pub(crate) how: String,
    /// When a write is answered, where the library's runner asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) durability: Option<String>,
    /// What the library's runner asks: sizes, callers, requests under way, seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<Settings>,
    /// What each round gave.
    pub(crate) rounds: Vec<Figures>,
}

/// One contender at several numbers of callers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// `get` or `cas`.
    pub(crate) plot: String,
    pub(crate) name: String,
    /// The number of callers, and the median round by throughput.
    pub(crate) points: Vec<(usize, Figures)>,
}

impl Measured {
    /// A row with the figures of as many rounds on both sides.
    pub(crate) fn new(row: &Row, ours: MeasuredSide, rival: MeasuredSide) -> Self {
        let figure = |figures: &Figures| row.figure.of(figures);
        let ratios = ours.rounds.iter().zip(&rival.rounds).map(|(ours, rival)| {
            let (ours, rival) = (figure(ours)?, figure(rival)?);
            (rival > 0.0).then_some(ours / rival)
        });
        let mut ratios: Vec<f64> = ratios.collect::<Option<_>>().unwrap_or_default();
        ratios.sort_by(f64::total_cmp);
        let ratio = median(&ratios);
        Self {
            name: row.name.to_owned(),
            title: row.title.to_owned(),
            date: date::today(),
            figure: row.figure,
            direction: row.direction,
            target: row.target,
            stretch: row.stretch,
            ratio,
            spread: ratios.first().copied().zip(ratios.last().copied()),
            met: ratio.map(|ratio| row.direction.is_met(ratio, row.target)),
            stretch_met: ratio.map(|ratio| row.direction.is_met(ratio, row.stretch)),
            not_measured: None,
            ours,
            rival,
            how: row.how.to_owned(),
        }
    }

    /// A row without figures.
    pub(crate) fn not_measured(row: &Row, reason: String) -> Self {
        let side = |name| MeasuredSide { name, ..MeasuredSide::default() };
        let empty = Self::new(row, side(row.ours.name()), side(row.rival.name()));
        Self { not_measured: Some(reason), ..empty }
    }
}

impl MeasuredSide {
    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        let mut figures: Vec<f64> = self.rounds.iter().filter_map(|round| figure.of(round)).collect();
        figures.sort_by(f64::total_cmp);
        median(&figures)
    }
}

/// Of figures in order; of an even number the mean of the two in the middle.
pub(crate) fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

impl Performance {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// As it is in the file.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Replaces rows of the same name, and keeps the others: rows that were measured alone, on the same machine.
    pub(crate) fn merge(&mut self, rows: Vec<Measured>) {
        for row in rows {
            match self.rows.iter_mut().find(|old| old.name == row.name) {
                Some(old) => *old = row,
                None => self.rows.push(row),
            }
        }
        let place = |row: &Measured| crate::rows::ROWS.iter().position(|it| it.name == row.name);
        self.rows.sort_by_key(|row| place(row).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    fn side(rates: &[f64]) -> MeasuredSide {
        let rounds = rates.iter().map(|rate| Figures::rate(*rate)).collect();
        MeasuredSide { rounds, ..MeasuredSide::default() }
    }

    #[test]
    fn a_row_is_judged_by_the_median_of_its_rounds_ratios() {
        let row = &ROWS[0]; // at least 1.9, stretch 2.4
        let measured = Measured::new(row, side(&[200.0, 100.0, 900.0]), side(&[100.0, 100.0, 300.0]));
        assert_eq!(measured.ratio, Some(2.0));
        assert_eq!(measured.spread, Some((1.0, 3.0)));
        assert_eq!((measured.met, measured.stretch_met), (Some(true), Some(false)));
    }

    #[test]
    fn a_time_has_to_be_at_most_the_target() {
        let row = ROWS.iter().find(|row| row.name == "cas-one-caller-etcd").unwrap(); // at most 0.9
        let timed = |p50_us| {
            let latency = Some(crate::figures::Percentiles { p50_us, ..Default::default() });
            let rounds = vec![Figures { latency, ..Figures::default() }];
            MeasuredSide { rounds, ..MeasuredSide::default() }
        };
        assert_eq!(Measured::new(row, timed(80.0), timed(100.0)).met, Some(true));
        assert_eq!(Measured::new(row, timed(95.0), timed(100.0)).met, Some(false));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let measured = Measured::not_measured(&ROWS[4], "etcd is not installed".into());
        assert_eq!((measured.met, measured.ratio), (None, None));
    }

    #[test]
    fn rows_measured_again_replace_the_old_ones_in_the_order_of_the_table() {
        let not = |index: usize, reason: &str| Measured::not_measured(&ROWS[index], reason.into());
        let mut performance =
            Performance { rows: vec![not(3, "old"), not(5, "old")], ..Performance::default() };
        performance.merge(vec![not(5, "new"), not(0, "new")]);
        let rows: Vec<_> =
            performance.rows.iter().map(|row| (row.name.as_str(), row.not_measured.as_deref())).collect();
        let expected =
            [(ROWS[0].name, Some("new")), (ROWS[3].name, Some("old")), (ROWS[5].name, Some("new"))];
        assert_eq!(rows, expected);
    }
}
