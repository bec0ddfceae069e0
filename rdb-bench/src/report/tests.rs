use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::recorder::Times;
use crate::{Figures, Kind, Settings, TargetInfo, Workload};

fn measurement(target: &str, workload: Workload, callers: usize, per_second: u64) -> Measurement {
    let settings = Settings { callers, ..Settings::new(workload) };
    let mut times = Times::new();
    let base = 20.0 + 2.0 * callers as f64;
    for number in 0..20_000_u32 {
        // A long tail, so that the plot has something to show.
        let part = (f64::from(number) + 0.5) / 20_000.0;
        times.record(Duration::from_secs_f64(base * (1.0 + 0.3 * (1.0 / (1.0 - part)).powf(0.7)) / 1e6));
    }
    let latency = times.latency();
    let operations = 5 * per_second;
    let kinds: BTreeMap<Kind, Figures> = workload
        .mix()
        .iter()
        .map(|(kind, share)| {
            let operations = operations * u64::from(*share) / 100;
            (*kind, Figures { operations, errors: 0, records: operations, latency: latency.clone() })
        })
        .collect();
    Measurement {
        target: TargetInfo::new(target, "0.1.0", "synced").command_line("a <b> & \"c\""),
        settings,
        elapsed_s: 5.0,
        stopped: false,
        operations,
        per_second: per_second as f64,
        records_per_second: per_second as f64,
        errors: 0,
        error_texts: Vec::new(),
        misses: 0,
        conflicts: 0,
        latency,
        begun_late: None,
        not_begun: 0,
        kinds,
        each_second: (0..5).map(|second| per_second + second * per_second / 50).collect(),
    }
}

fn report(measurements: Vec<Measurement>) -> Report {
    Report { measurements, ..Report::new("How fast <it> is", "rdb-bench 0.1.0") }
}

fn one_target() -> Report {
    let mut all = Vec::new();
    for (workload, base) in [(Workload::Get, 150_000), (Workload::Put, 60_000), (Workload::A, 80_000)] {
        for callers in [1, 16, 64, 256] {
            all.push(measurement("rdb", workload, callers, base * callers as u64 / (callers as u64 + 20)));
        }
    }
    report(all)
}

fn rivals() -> Report {
    let targets = [("rdb pipelined", 180_000), ("rdb unary", 60_000), ("redis", 240_000)];
    let of = |workload| targets.map(move |(target, rate)| measurement(target, workload, 64, rate));
    report([Workload::Get, Workload::Cas].into_iter().flat_map(of).collect())
}

/// To be looked at: FLAREDB_SHOW_REPORTS names a directory.
#[test]
fn a_report_holds_every_series_and_needs_nothing_besides() {
    for (name, report, lines) in [("one", one_target(), 12), ("rivals", rivals(), 12)] {
        let page = report.html();
        if let Some(directory) = std::env::var_os("FLAREDB_SHOW_REPORTS") {
            std::fs::write(std::path::Path::new(&directory).join(format!("{name}.html")), &page).unwrap();
        }
        assert_eq!(page.matches("<details>").count(), report.measurements.len(), "{name}");
        for measurement in &report.measurements {
            let (target, workload) = (&measurement.target.name, measurement.settings.workload);
            assert!(page.contains(target.as_str()) && page.contains(workload.name()), "{name}: {target}");
        }
        // Of one target three plots: three lines of callers, and for each the run with the most of them. Of
        // rivals three plots for each workload, a bar or line for each of them.
        let drawn = page.matches("<polyline ").count();
        let bars = page.matches("<rect ").count();
        let (polylines, rects) = if name == "one" { (9, 0) } else { (lines, 6) };
        let of_series = |tag: &str| -> usize {
            plot::COLOURS.iter().map(|colour| series_elements(&page, tag, *colour)).sum()
        };
        assert_eq!(of_series("polyline"), polylines, "{name}: {drawn} lines");
        assert_eq!(of_series("rect"), rects, "{name}: {bars} bars");
        assert!(page.contains("a &lt;b&gt; &amp; &quot;c&quot;") && !page.contains("<it>"), "{name}");
        for foreign in ["<script", "http-equiv", " src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{name}: {foreign}");
        }
        let links = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(links, 0, "{name}");
        assert!(!page.contains("cannot be drawn"), "{name}");
        assert!(page.len() < 300_000, "{name}: {} bytes", page.len());
    }
}

fn series_elements(
    page: &str,
    tag: &str,
    plotters::style::RGBColor(r, g, b): plotters::style::RGBColor,
) -> usize {
    let colour = format!("\"#{r:02X}{g:02X}{b:02X}\"");
    let elements = page.lines().filter(|line| line.trim_start().starts_with(&format!("<{tag} ")));
    elements.filter(|line| line.contains(&colour)).count()
}

#[test]
fn json_comes_back_as_it_was() {
    let mut report = rivals();
    report.measurements[0].begun_late = Some(report.measurements[0].latency.clone());
    report.disk = Some(Disk::measure(&std::env::temp_dir(), 3).unwrap());
    let read: Report = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(read, report);
    assert_eq!(read.disk.unwrap().sync.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 3);
}

#[test]
fn a_table_is_aligned_and_shows_each_kind() {
    let text = one_target().table();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("WORKLOAD  CALLERS  OPERATION"), "{}", lines[0]);
    // A title, 12 measurements, and the two kinds of each of the 4 of workload A.
    assert_eq!(lines.len(), 1 + 12 + 8, "{text}");
    let end = |line: &str| line.chars().collect::<String>().find("/S").unwrap_or(0);
    let column = end(lines[0]) + 2;
    assert!(lines[1..].iter().all(|line| line.chars().nth(column - 1).unwrap().is_ascii_digit()), "{text}");
    assert!(rivals().table().starts_with("TARGET"), "{}", rivals().table());
}

#[test]
fn records_are_told_where_an_operation_is_of_several() {
    let mut scan = measurement("rdb", Workload::Scan, 1, 50);
    assert!(!report(vec![scan.clone()]).table().contains("RECORDS/S"));
    scan.records_per_second = 5_000.0;
    let table = report(vec![scan]).table();
    assert!(table.contains("OPS/S  RECORDS/S") && table.contains("  5,000  "), "{table}");
}

#[test]
fn of_several_rounds_the_median_one_is_plotted() {
    let rounds = [100, 900, 500].map(|rate| measurement("rdb", Workload::Get, 64, rate));
    let groups = groups::groups(&rounds);
    let runs = &groups[0].series[0].runs;
    assert_eq!((runs.len(), runs[0].per_second), (1, 500.0));
}

#[test]
fn a_report_of_nothing_is_a_page_all_the_same() {
    let page = report(Vec::new()).html();
    assert!(page.contains("All figures") && page.ends_with("</html>\n"));
    let mut nothing = measurement("rdb", Workload::Get, 1, 0);
    nothing.latency = crate::Latency::default();
    (nothing.each_second, nothing.elapsed_s) = (vec![0], 0.0);
    assert!(!report(vec![nothing]).html().contains("cannot be drawn"));
}
