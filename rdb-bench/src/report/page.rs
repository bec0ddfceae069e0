use std::fmt::Write as _;

use plotters::style::RGBColor;

use super::Report;
use super::groups::{Group, Series, groups};
use super::numbers::{bytes, date, time, whole};
use super::plot::{self, COLOURS, GRID, INK};
use super::table::Table;
use crate::{Latency, Measurement};

/// More lines than this in one plot cannot be told apart.
const MOST_LINES: usize = 8;
/// The colours of [`COLOURS`] on a dark ground.
const DARK: [&str; 8] =
    ["#5aa9f8", "#f28b9a", "#63c58f", "#e0b645", "#b794e8", "#45c4c9", "#f09a62", "#a3adb8"];
const DARK_INK: &str = "#dfe4ea";
const DARK_GRID: &str = "#3a424c";

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fff;--card:#f6f8fa;--ink:#1f2933;--soft:#5b6672;--rule:#d9dee3}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:16px;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:.4em 0 .1em}
h2{font-size:1.2rem;margin:1.8em 0 .5em}
h3{font-size:1rem;margin:0 0 .3em}
.soft{color:var(--soft);font-size:.9rem;margin:.2em 0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:16px}
figure{margin:0;padding:12px;background:var(--card);border:1px solid var(--rule);border-radius:10px}
svg{display:block;width:100%;height:auto;font-family:inherit}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;margin:.5em 0 .8em;padding:0;list-style:none;font-size:.9rem}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:3px;margin-right:.45em}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem;margin:.6em 0}
th,td{padding:.3em .7em;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
th.text,td.text{text-align:left}
th{color:var(--soft);font-weight:600}
details{margin:.6em 0}
summary{cursor:pointer}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:.4em 0 1em;font-size:.9rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.bad{color:#c0392b}
";

pub(super) fn html(report: &Report) -> String {
    let mut page = String::new();
    let title = escaped(&report.title);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
        colours()
    );
    let date = date(report.taken_at_unix_s);
    let _ = writeln!(page, "<p class=\"soft\">{date}, by {}</p>", escaped(&report.taken_by));
    let _ = writeln!(page, "<p class=\"soft\">{}</p>", escaped(&machine(report)));
    for group in groups(&report.measurements) {
        section(&mut page, &group);
    }
    page.push_str("<h2>All figures</h2>\n");
    table(&mut page, &Table::of(&report.measurements));
    for measurement in &report.measurements {
        conditions(&mut page, measurement);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, group: &Group<'_>) {
    let _ = writeln!(page, "<section>\n<h2>{}</h2>", escaped(&group.title));
    let of_series: Vec<String> = group.series.iter().map(|series| series.label.clone()).collect();
    let (callers, runs) = runs(&group.series);
    let title =
        |of: &str| callers.as_ref().map_or_else(|| of.to_owned(), |callers| format!("{of}, {callers}"));
    let of_runs: Vec<String> = runs.iter().map(|(label, _)| label.clone()).collect();
    let latencies: Vec<&Latency> = runs.iter().map(|(_, run)| &run.latency).collect();
    let runs: Vec<&Measurement> = runs.into_iter().map(|(_, run)| run).collect();
    page.push_str("<div class=\"plots\">\n");
    figure(page, "Throughput", &of_series, &plot::throughput(&group.series));
    figure(page, &title("Latency by percentile"), &of_runs, &plot::latency(&latencies));
    // Of a second or less there is no course to show.
    if runs.iter().any(|run| run.each_second.len() > 1) {
        figure(page, &title("Throughput over time"), &of_runs, &plot::over_time(&runs));
    }
    page.push_str("</div>\n</section>\n");
}

/// The runs of all series; where those are too many for one plot, of each the one with the most callers. Where
/// that is one number, it is told apart.
fn runs<'a>(series: &[Series<'a>]) -> (Option<String>, Vec<(String, &'a Measurement)>) {
    let many = series.iter().map(|series| series.runs.len()).sum::<usize>() > MOST_LINES;
    let mut runs: Vec<(String, &Measurement)> = Vec::new();
    for series in series {
        let first = if many { series.runs.len().saturating_sub(1) } else { 0 };
        runs.extend(series.runs[first..].iter().map(|run| (series.label.clone(), *run)));
    }
    let callers = |run: &Measurement| match run.settings.callers {
        1 => "1 caller".to_owned(),
        callers => format!("{callers} callers"),
    };
    let first = runs.first().map(|(_, run)| callers(run));
    match first {
        Some(all) if runs.iter().all(|(_, run)| callers(run) == all) => (Some(all), runs),
        _ => {
            runs.iter_mut().for_each(|(label, run)| *label = format!("{label}, {}", callers(run)));
            (None, runs)
        }
    }
}

fn figure(page: &mut String, title: &str, legend: &[String], svg: &str) {
    let _ = writeln!(page, "<figure>\n<h3>{title}</h3>\n<ul class=\"legend\">");
    for (label, colour) in legend.iter().zip(COLOURS.iter().cycle()) {
        let place = COLOURS.iter().position(|other| other == colour).unwrap_or(0);
        let _ = writeln!(page, "<li><i class=\"c{place}\"></i>{}</li>", escaped(label));
    }
    let _ = writeln!(page, "</ul>\n{}</figure>", svg.replacen("<svg ", "<svg role=\"img\" ", 1));
}

fn table(page: &mut String, table: &Table) {
    let cell = |kind: &str, text: &str, left: &bool| {
        let class = if *left { " class=\"text\"" } else { "" };
        format!("<{kind}{class}>{}</{kind}>", escaped(text))
    };
    page.push_str("<div class=\"wide\"><table>\n<tr>");
    table.titles.iter().zip(&table.texts).for_each(|(title, left)| *page += &cell("th", title, left));
    page.push_str("</tr>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        row.iter().zip(&table.texts).for_each(|(text, left)| *page += &cell("td", text, left));
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

/// All that one has to know to judge a measurement, and to repeat it.
fn conditions(page: &mut String, of: &Measurement) {
    let settings = &of.settings;
    let mut pairs = vec![
        ("target", format!("{} {}", of.target.name, of.target.version)),
        ("durability", of.target.durability.clone()),
        ("workload", settings.workload.meaning().to_owned()),
        ("records", whole(settings.records as f64)),
        ("keys, values", format!("{} B, {}", settings.key_bytes, bytes(settings.value_bytes as u64))),
        ("distribution", settings.distribution.to_string()),
        ("callers", whole(settings.callers as f64)),
        ("outstanding each", whole(settings.outstanding as f64)),
        (
            "loop",
            settings.rate.map_or_else(
                || "closed".to_owned(),
                |rate| format!("open, {} a second; latency from when each was planned", whole(rate)),
            ),
        ),
        ("warm-up, measured", format!("{:?}, {:.2} s", settings.warm_up, of.elapsed_s)),
        ("operations", whole(of.operations as f64)),
        ("records a second", whole(of.records_per_second)),
        ("errors", whole(of.errors as f64)),
        ("conflicts", whole(of.conflicts as f64)),
        ("not found", whole(of.misses as f64)),
        ("seed", settings.seed.to_string()),
    ];
    pairs.extend(of.target.command_line.iter().map(|line| ("command line", line.clone())));
    pairs.extend(of.target.details.iter().map(|(name, value)| (name.as_str(), value.clone())));
    pairs.extend(of.begun_late.iter().map(|late| ("begun late, p99", time(late.p99_us))));
    pairs.extend(of.begun_late.iter().map(|_| ("due, not begun at the end", whole(of.not_begun as f64))));
    let callers = settings.callers;
    let _ = writeln!(
        page,
        "<details><summary>{}: {}, {callers} callers: {} a second</summary>",
        escaped(&of.target.name),
        settings.workload,
        whole(of.per_second)
    );
    if of.stopped {
        page.push_str("<p class=\"bad\">It was stopped before its time.</p>\n");
    }
    for text in &of.error_texts {
        let _ = writeln!(page, "<p class=\"bad\">{}</p>", escaped(text));
    }
    page.push_str("<dl>\n");
    for (name, value) in pairs {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(&value));
    }
    page.push_str("</dl></details>\n");
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let gibibytes = machine.memory_bytes as f64 / f64::from(1 << 30);
    let mut text = format!(
        "{}, {} cores, {gibibytes:.1} GiB of memory, {}, kernel {}",
        machine.cpu, machine.cores, machine.system, machine.kernel
    );
    if let Some(disk) = &report.disk {
        let (p50, p99) = (time(disk.sync.p50_us), time(disk.sync.p99_us));
        let _ = write!(text, "; {}, fdatasync of 4 KiB: {p50} (p99 {p99})", disk.file_system);
    }
    text
}

/// What the plots' colours are called in the legend, and what becomes of them on a dark ground.
fn colours() -> String {
    let mut style = String::new();
    for (place, colour) in COLOURS.iter().enumerate() {
        let _ = writeln!(style, ".c{place}{{background:{}}}", name(*colour));
    }
    style.push_str(
        "@media(prefers-color-scheme:dark){\n\
         :root{--ground:#14181d;--card:#1b2027;--ink:#dfe4ea;--soft:#9aa5b1;--rule:#3a424c}\n\
         .bad{color:#ff8a80}\n",
    );
    for (place, (colour, dark)) in COLOURS.iter().zip(DARK).enumerate() {
        let _ = writeln!(style, ".c{place}{{background:{dark}}}");
        recolour(&mut style, *colour, dark);
    }
    recolour(&mut style, INK, DARK_INK);
    recolour(&mut style, GRID, DARK_GRID);
    style.push_str("}\n");
    style
}

fn recolour(style: &mut String, colour: RGBColor, dark: &str) {
    let name = name(colour);
    let _ = writeln!(style, "svg [fill=\"{name}\"]{{fill:{dark}}}svg [stroke=\"{name}\"]{{stroke:{dark}}}");
}

/// As the SVG has it.
fn name(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
