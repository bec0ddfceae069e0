//! What people read, from what programs read.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::chart::Chart;
use crate::failure::Result;
use crate::figures::Figures;
use crate::performance::{Curve, Measured, MeasuredSide, Performance};
use crate::row::{Direction, Figure};
use crate::scale::{Scale, Stage};

/// The number of callers at which latencies are plotted.
const LATENCY_CALLERS: usize = 64;

/// Writes the JSON file, the Markdown beside it, and the plots in a folder beside it.
pub(crate) fn write(performance: &Performance, json: &Path) -> Result<()> {
    fs::write(json, performance.json()?)?;
    // From the file, whose numbers may differ in the last bit from those in memory.
    let performance = &Performance::read(json)?;
    fs::write(json.with_extension("md"), markdown(performance))?;
    let folder = json.with_extension("");
    fs::create_dir_all(&folder)?;
    for (name, svg) in plots(performance) {
        fs::write(folder.join(name), svg)?;
    }
    Ok(())
}

/// The page.
pub(crate) fn markdown(performance: &Performance) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(performance, &mut page);
    page
}

fn write_page(performance: &Performance, page: &mut String) -> std::fmt::Result {
    let Performance { machine, disk, versions, rounds, seconds, warm_up_seconds, rows, .. } = performance;
    writeln!(page, "# Performance\n")?;
    writeln!(
        page,
        "Measured on {} by `./dev bench`, which writes this page from [performance.json](performance.json). All \
         figures are ratios of two sides that ran in turn on one machine in one run: absolute figures drift from \
         machine to machine and from hour to hour, and are here only to show what the ratios come from. Clients \
         and servers share the machine. Unless a row says otherwise: keys of 16 bytes, values of 100 bytes, \
         100,000 records, uniformly chosen; {rounds} rounds of {seconds} s a side after {warm_up_seconds} s of \
         warm-up; the ratio is the median of the rounds' ratios, and the spread is from the lowest to the \
         highest. Where the time goes, and what was tried: [performance-notes.md](performance-notes.md).\n",
        performance.date
    )?;
    writeln!(page, "| machine | |\n|---|---|")?;
    writeln!(page, "| processors | {} x {} |", machine.cores, machine.cpu)?;
    writeln!(page, "| memory | {:.0} GiB |", machine.memory_bytes as f64 / f64::from(1 << 30))?;
    writeln!(page, "| system | {}, Linux {} |", machine.system, machine.kernel)?;
    let sync = &disk.sync;
    writeln!(
        page,
        "| disk | {}; append of 4 KiB and fdatasync: p50 {:.0} µs, p99 {:.0} µs |",
        disk.file_system, sync.p50_us, sync.p99_us
    )?;
    for (program, version) in versions {
        writeln!(page, "| {program} | {version} |")?;
    }
    writeln!(page, "\n## Targets\n")?;
    let met = rows.iter().filter(|row| row.met == Some(true)).count();
    let stretch = rows.iter().filter(|row| row.stretch_met == Some(true)).count();
    writeln!(page, "{met} of {} targets are met, {stretch} of them with the stretch.\n", rows.len())?;
    writeln!(page, "| | ratio | spread | target | stretch | |\n|---|---|---|---|---|---|")?;
    for row in rows {
        let (ratio, spread) = (row.ratio.map_or_else(|| "-".to_owned(), times), spread(row));
        let (target, stretch) = (limit(row.direction, row.target), limit(row.direction, row.stretch));
        writeln!(
            page,
            "| [{}](#{}) | {ratio} | {spread} | {target} | {stretch} | {} |",
            row.title,
            row.name,
            verdict(row)
        )?;
    }
    if !performance.curves.is_empty() {
        writeln!(page, "\n## Plots\n")?;
        for (name, _) in plots(performance) {
            let title = name.trim_end_matches(".svg").replace('-', " ");
            writeln!(page, "![{title}](performance/{name})\n")?;
        }
    }
    writeln!(page, "\n## How each row is measured")?;
    for row in rows {
        write_row(row, page)?;
    }
    if !performance.scale.is_empty() {
        writeln!(page, "\n## Scale")?;
        for scale in &performance.scale {
            write_scale(scale, page)?;
        }
    }
    Ok(())
}

fn write_row(row: &Measured, page: &mut String) -> std::fmt::Result {
    writeln!(page, "\n### {}\n\n{}. {}\n", row.name, sentence(&row.title), row.how)?;
    if let Some(reason) = &row.not_measured {
        return writeln!(page, "Not measured on {}: {reason}.", row.date);
    }
    writeln!(
        page,
        "| {} | {} | p50, µs | p99, µs | every round |\n|---|---|---|---|---|",
        row.date,
        row.figure.title()
    )?;
    for side in [&row.ours, &row.rival] {
        let figure = |figure| side.median(figure).map_or_else(|| "-".to_owned(), number);
        let rounds: Vec<_> =
            side.rounds.iter().filter_map(|round| row.figure.of(round)).map(number).collect();
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            side.name,
            figure(row.figure),
            figure(Figure::P50),
            figure(Figure::P99),
            rounds.join(", ")
        )?;
    }
    for side in [&row.ours, &row.rival] {
        write_how(side, page)?;
    }
    Ok(())
}

fn write_how(side: &MeasuredSide, page: &mut String) -> std::fmt::Result {
    let durability = side.durability.as_ref().map(|it| format!(", durability {it}")).unwrap_or_default();
    writeln!(page, "\n{}{durability}: `{}`", side.name, side.how)
}

/// A size, as the page shows it.
pub(crate) fn scale(scale: &Scale) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_scale(scale, &mut text);
    text
}

fn write_scale(scale: &Scale, page: &mut String) -> std::fmt::Result {
    let records = number(scale.records as f64);
    writeln!(page, "\n### {records} records of {} bytes on {}\n", scale.value_bytes, scale.engine)?;
    writeln!(
        page,
        "| 64 callers | load | get | get p99 | CAS | CAS p99 | full scan |\n|---|---|---|---|---|---|---|"
    )?;
    for (name, stage) in [("in process", &scale.in_process), ("served", &scale.served)] {
        let Stage { load_per_second, get, cas, scan_per_second } = stage;
        let p99 = |figures: &Figures| {
            figures.latency.map_or_else(|| "-".to_owned(), |it| number(it.p99_us) + " µs")
        };
        writeln!(
            page,
            "| {name} | {}/s | {}/s | {} | {}/s | {} | {}/s |",
            number(*load_per_second),
            number(get.per_second),
            p99(get),
            number(cas.per_second),
            p99(cas),
            number(*scan_per_second)
        )?;
    }
    let mebibytes = |bytes: u64| number(bytes as f64 / f64::from(1 << 20));
    writeln!(
        page,
        "\nThe node never had more than {} MiB of memory; its caches and write buffers may have {} MiB, and a \
         quarter more is allowed: {}. It serves {} ms after a start that follows a clean stop, and {} ms after \
         one that follows SIGKILL in the middle of writes.",
        mebibytes(scale.peak_resident_bytes),
        mebibytes(scale.configured_bytes),
        if scale.within_allowance { "met" } else { "not met" },
        number(scale.start_after_clean_stop_ms),
        number(scale.start_after_kill_ms)
    )
}

/// The plots, by their file names.
pub(crate) fn plots(performance: &Performance) -> Vec<(&'static str, String)> {
    let files = [
        ("get-throughput.svg", "get", "get: throughput against callers", false),
        ("cas-throughput.svg", "cas", "durable CAS: throughput against callers", false),
        ("get-latency.svg", "get", "get: latency at 64 callers", true),
        ("cas-latency.svg", "cas", "durable CAS: latency at 64 callers", true),
    ];
    let mut plots = Vec::new();
    for (file, plot, title, is_latency) in files {
        let curves: Vec<&Curve> = performance.curves.iter().filter(|curve| curve.plot == plot).collect();
        if curves.is_empty() {
            continue;
        }
        let chart = if is_latency { latency(&curves, title) } else { throughput(&curves, title) };
        plots.push((file, chart.svg()));
    }
    plots
}

fn throughput(curves: &[&Curve], title: &str) -> Chart {
    let mut callers: Vec<usize> =
        curves.iter().flat_map(|curve| curve.points.iter().map(|it| it.0)).collect();
    callers.sort_unstable();
    callers.dedup();
    let line = |curve: &&Curve| {
        let at = |callers| curve.points.iter().find(|it| it.0 == callers).map(|it| it.1.per_second);
        (curve.name.clone(), callers.iter().copied().map(at).collect())
    };
    Chart {
        title: title.to_owned(),
        x_title: "callers".into(),
        y_title: "operations a second".into(),
        places: callers.iter().map(usize::to_string).collect(),
        is_logarithmic: false,
        lines: curves.iter().map(line).collect(),
    }
}

fn latency(curves: &[&Curve], title: &str) -> Chart {
    let line = |curve: &&Curve| {
        let found = curve.points.iter().find(|it| it.0 == LATENCY_CALLERS)?.1.latency?;
        let points = vec![Some(found.p50_us), found.p90_us, Some(found.p99_us), found.p99_9_us];
        Some((curve.name.clone(), points))
    };
    Chart {
        title: title.to_owned(),
        x_title: "percentile".into(),
        y_title: "microseconds".into(),
        places: ["p50", "p90", "p99", "p99.9"].map(str::to_owned).to_vec(),
        is_logarithmic: true,
        lines: curves.iter().filter_map(line).collect(),
    }
}

/// For a terminal: a line for each row.
pub(crate) fn line(row: &Measured) -> String {
    let ratio = row.ratio.map_or_else(|| "-".to_owned(), times);
    let why = row.not_measured.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!(
        "{:<24} {ratio:>8}  {:<15} target {:<14} {}{why}",
        row.name,
        spread(row),
        limit(row.direction, row.target),
        verdict(row)
    )
}

fn verdict(row: &Measured) -> &'static str {
    match (row.met, row.stretch_met) {
        (None, _) => "not measured",
        (Some(false), _) => "not met",
        (Some(true), Some(true)) => "met, with the stretch",
        (Some(true), _) => "met",
    }
}

fn spread(row: &Measured) -> String {
    row.spread.map_or_else(|| "-".to_owned(), |(low, high)| format!("{} to {}", times(low), times(high)))
}

fn limit(direction: Direction, target: f64) -> String {
    match direction {
        Direction::AtLeast => format!("{target}x"),
        Direction::AtMost => format!("at most {target}x"),
    }
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}x") } else { format!("{ratio:.1}x") }
}

/// Whole, with commas between thousands; small ones with a digit behind the point.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn sentence(title: &str) -> String {
    if title.starts_with("rdb") {
        return title.to_owned();
    }
    let mut letters = title.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
