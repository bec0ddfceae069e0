use std::collections::HashSet;

use super::numbers::{time, whole};
use crate::{Latency, Measurement};

const TITLES: [&str; 14] = [
    "target",
    "workload",
    "callers",
    "operation",
    "ops/s",
    "records/s",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "errors",
    "conflicts",
    "durability",
];
/// So many columns are text, and stand at the left.
const TEXTS: [usize; 4] = [0, 1, 3, 13];

/// Titles and rows, without columns that say nothing.
pub(super) struct Table {
    pub(super) titles: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// Whether each column is text.
    pub(super) texts: Vec<bool>,
}

impl Table {
    pub(super) fn of<'a>(measurements: impl IntoIterator<Item = &'a Measurement>) -> Self {
        let rows: Vec<[String; 14]> = measurements.into_iter().flat_map(rows).collect();
        let empty = |text: &String| text.is_empty() || text == "0";
        let kept: Vec<usize> = (0..TITLES.len())
            .filter(|column| match TITLES[*column] {
                "errors" | "conflicts" => rows.iter().any(|row| !empty(&row[*column])),
                // Where operations are of one record each, it would be the same again.
                "records/s" => rows.iter().any(|row| !row[*column].is_empty()),
                "operation" => rows.iter().any(|row| row[0].is_empty()),
                "target" => {
                    rows.iter()
                        .filter(|row| !row[0].is_empty())
                        .map(|row| &row[0])
                        .collect::<HashSet<_>>()
                        .len()
                        > 1
                }
                _ => true,
            })
            .collect();
        Self {
            titles: kept.iter().map(|column| TITLES[*column]).collect(),
            rows: rows.iter().map(|row| kept.iter().map(|column| row[*column].clone()).collect()).collect(),
            texts: kept.iter().map(|column| TEXTS.contains(column)).collect(),
        }
    }
}

/// One row for all operations, and one for each kind where there are several.
fn rows(of: &Measurement) -> Vec<[String; 14]> {
    let callers = match of.settings.outstanding {
        1 => of.settings.callers.to_string(),
        outstanding => format!("{} x {outstanding}", of.settings.callers),
    };
    let workload = match of.settings.rate {
        None => of.settings.workload.to_string(),
        Some(rate) => format!("{} at {}/s", of.settings.workload, whole(rate)),
    };
    let one = of.kinds.len() == 1;
    let kind = of.kinds.keys().next().filter(|_| one).map_or("all", |kind| kind.name());
    let mut rows = vec![row(
        [&of.target.name, &workload, &callers, kind],
        (of.per_second, of.records_per_second),
        &of.latency,
        [of.errors, of.conflicts],
        &of.target.durability,
    )];
    if !one {
        rows.extend(of.kinds.iter().map(|(kind, figures)| {
            let each = |count: u64| count as f64 / of.elapsed_s.max(f64::MIN_POSITIVE);
            let rates = (each(figures.operations), each(figures.records));
            row(["", "", "", kind.name()], rates, &figures.latency, [figures.errors, 0], "")
        }));
    }
    rows
}

fn row(
    [target, workload, callers, kind]: [&str; 4],
    (per_second, records_per_second): (f64, f64),
    latency: &Latency,
    [errors, conflicts]: [u64; 2],
    durability: &str,
) -> [String; 14] {
    let times = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p99_9_us, latency.max_us];
    let [p50, p90, p99, p99_9, max] =
        times.map(|micros| if latency.buckets.is_empty() { "-".to_owned() } else { time(micros) });
    [
        target.to_owned(),
        workload.to_owned(),
        callers.to_owned(),
        kind.to_owned(),
        whole(per_second),
        // Reads that found nothing are no reason to tell records apart from operations.
        if records_per_second > per_second * 1.01 { whole(records_per_second) } else { String::new() },
        p50,
        p90,
        p99,
        p99_9,
        max,
        whole(errors as f64),
        whole(conflicts as f64),
        durability.to_owned(),
    ]
}

pub(super) fn text(measurements: &[Measurement]) -> String {
    let table = Table::of(measurements);
    let width = |column: usize| {
        let cells = table.rows.iter().map(|row| row[column].chars().count());
        cells.chain([table.titles[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.titles.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).zip(&table.texts).map(|((cell, width), text)| match text {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    let titles: Vec<String> = table.titles.iter().map(|title| title.to_uppercase()).collect();
    let rows = table.rows.iter().map(|row| line(row));
    std::iter::once(line(&titles)).chain(rows).collect()
}
