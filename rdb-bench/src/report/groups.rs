use std::collections::BTreeSet;

use super::numbers::{bytes, short};
use crate::{Measurement, Workload};

/// Measurements that are shown in the same plots.
pub(super) struct Group<'a> {
    pub(super) title: String,
    pub(super) series: Vec<Series<'a>>,
}

/// The same target and workload with different numbers of callers: a line of a plot.
pub(super) struct Series<'a> {
    pub(super) label: String,
    /// Ascending by callers, one of each: of several rounds the median one.
    pub(super) runs: Vec<&'a Measurement>,
}

/// A group for each workload where there are several targets, otherwise one of all workloads.
pub(super) fn groups(measurements: &[Measurement]) -> Vec<Group<'_>> {
    let targets: BTreeSet<&str> = measurements.iter().map(|of| of.target.name.as_str()).collect();
    if targets.len() < 2 {
        let title = measurements.first().map_or_else(String::new, |of| {
            format!("{} {}, {}", of.target.name, of.target.version, of.target.durability)
        });
        let all: Vec<&Measurement> = measurements.iter().collect();
        return if all.is_empty() { Vec::new() } else { vec![Group { title, series: series(&all) }] };
    }
    let of_workload = |workload: Workload| -> Option<Group<'_>> {
        let some: Vec<&Measurement> =
            measurements.iter().filter(|of| of.settings.workload == workload).collect();
        let title = format!("{}: {}", workload.name(), workload.meaning());
        (!some.is_empty()).then(|| Group { title, series: series(&some) })
    };
    Workload::ALL.into_iter().filter_map(of_workload).collect()
}

fn series<'a>(measurements: &[&'a Measurement]) -> Vec<Series<'a>> {
    let labels = labels(measurements);
    let mut all: Vec<Series<'a>> = Vec::new();
    for (label, of) in labels.into_iter().zip(measurements) {
        match all.iter_mut().find(|series| series.label == label) {
            Some(series) => series.runs.push(of),
            None => all.push(Series { label, runs: vec![of] }),
        }
    }
    for series in &mut all {
        series.runs.sort_by(|a, b| {
            (a.settings.callers, a.per_second)
                .partial_cmp(&(b.settings.callers, b.per_second))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let rounds = series.runs.chunk_by(|a, b| a.settings.callers == b.settings.callers);
        series.runs = rounds.map(|rounds| rounds[rounds.len() / 2]).collect();
    }
    all
}

/// What tells each of them from the others, the number of callers apart.
fn labels(measurements: &[&Measurement]) -> Vec<String> {
    let parts: Vec<[String; 8]> = measurements.iter().map(|of| parts(of)).collect();
    let differs = |part: usize| parts.iter().map(|parts| &parts[part]).collect::<BTreeSet<_>>().len() > 1;
    let kept: Vec<usize> = (0..8).filter(|part| differs(*part)).collect();
    let label = |parts: &[String; 8]| {
        let mut kept: Vec<&str> =
            kept.iter().map(|part| parts[*part].as_str()).filter(|part| !part.is_empty()).collect();
        if kept.is_empty() {
            kept.push(&parts[1]);
        }
        kept.join(", ")
    };
    parts.iter().map(label).collect()
}

fn parts(of: &Measurement) -> [String; 8] {
    let settings = &of.settings;
    [
        of.target.name.clone(),
        settings.workload.to_string(),
        of.target.durability.clone(),
        settings.rate.map_or_else(String::new, |rate| format!("{}/s", short(rate))),
        format!("values of {}", bytes(settings.value_bytes as u64)),
        format!("{} records", short(settings.records as f64)),
        match settings.distribution == settings.workload.distribution() {
            true => String::new(),
            false => settings.distribution.to_string(),
        },
        format!("{} outstanding", settings.outstanding),
    ]
}
