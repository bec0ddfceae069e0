//! The plots, as SVG. Colours are those of the light page; the page's style sheet changes them by name for
//! dark mode, so each is used for one purpose only.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::axis::Axis;
use super::groups::Series;
use super::numbers::{time, whole};
use crate::{Latency, Measurement};

/// Narrow, so that letters are large enough where a phone shrinks it.
const SIZE: (u32, u32) = (480, 330);
const LETTERS: i32 = 17;
pub(super) const INK: RGBColor = RGBColor(0x1f, 0x29, 0x33);
pub(super) const GRID: RGBColor = RGBColor(0xd9, 0xde, 0xe3);
/// For series, in this order; those beyond begin again.
pub(super) const COLOURS: [RGBColor; 8] = [
    RGBColor(0x0b, 0x6b, 0xcb),
    RGBColor(0xd1, 0x49, 0x5b),
    RGBColor(0x2e, 0x8b, 0x57),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x7b, 0x4b, 0xb3),
    RGBColor(0x00, 0x86, 0x8b),
    RGBColor(0xc2, 0x57, 0x1a),
    RGBColor(0x5a, 0x64, 0x72),
];

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// What a line of a plot shows.
type Points = Vec<(f64, f64)>;

/// Operations a second against callers; bars where the number of callers is always the same.
pub(super) fn throughput(series: &[Series<'_>]) -> String {
    let mut callers: Vec<usize> =
        series.iter().flat_map(|series| &series.runs).map(|run| run.settings.callers).collect();
    callers.sort_unstable();
    callers.dedup();
    if callers.len() < 2 {
        let bars: Vec<(&str, f64)> = series
            .iter()
            .flat_map(|series| series.runs.iter().map(|run| (series.label.as_str(), run.per_second)))
            .collect();
        return draw_in((SIZE.0, 74 + 50 * bars.len() as u32), |area| draw_bars(area, &bars));
    }
    let most = series.iter().flat_map(|series| &series.runs).map(|run| run.per_second).fold(0.0, f64::max);
    // Each number of callers has the same room, as they mostly double.
    let place = |count: usize| callers.iter().position(|callers| *callers == count).unwrap_or(0) as f64;
    let x = Axis {
        title: "callers",
        from: -0.2,
        to: callers.len() as f64 - 0.8,
        labels: callers.iter().map(|count| (place(*count), count.to_string())).collect(),
    };
    let lines: Vec<Points> = series
        .iter()
        .map(|series| series.runs.iter().map(|run| (place(run.settings.callers), run.per_second)).collect())
        .collect();
    draw(&x, &Axis::from_zero("operations per second", most), &lines, true)
}

/// Latency at each percentile; both axes logarithmic, that of percentiles in the part that took longer.
pub(super) fn latency(latencies: &[&Latency]) -> String {
    const PERCENTILES: [(f64, &str); 6] =
        [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")];
    let nines = |quantile: f64| -(1.0 - quantile).log10();
    let lines: Vec<Points> = latencies
        .iter()
        .map(|latency| {
            let count: u64 = latency.buckets.iter().map(|bucket| bucket.count).sum();
            let mut below = 0;
            let mut points: Points = Vec::new();
            for bucket in &latency.buckets {
                let micros = (bucket.up_to_ns.max(1) as f64 / 1e3).min(latency.max_us.max(1e-3));
                points.push((nines(below as f64 / count as f64), micros.log10()));
                below += bucket.count;
                points.push((nines(below as f64 / count as f64).min(5.0), micros.log10()));
            }
            points.retain(|(x, _)| *x <= 4.0 + 1e-9);
            thinned(points)
        })
        .collect();
    let all = || lines.iter().flatten().map(|(_, y)| *y);
    let from = all().fold(f64::INFINITY, f64::min).min(6.0);
    let to = all().fold(f64::NEG_INFINITY, f64::max).max(from);
    let (from, to) = (from.floor(), to.ceil().max(from.floor() + 1.0));
    let exponents = from as i32..=to as i32;
    let y = Axis {
        title: "latency",
        from,
        to,
        labels: exponents.map(|exponent| (f64::from(exponent), round(10_f64.powi(exponent)))).collect(),
    };
    let labels = PERCENTILES.into_iter().map(|(quantile, label)| (nines(quantile), label.to_owned()));
    draw(&Axis { title: "percentile", from: 0.0, to: 4.0, labels: labels.collect() }, &y, &lines, false)
}

/// Operations in each second.
pub(super) fn over_time(runs: &[&Measurement]) -> String {
    let lines: Vec<Points> = runs
        .iter()
        .map(|run| {
            let seconds = run.each_second.iter().enumerate();
            let whole = seconds.filter_map(|(second, count)| {
                // The last one is cut short: what is left of it counts for a whole one if it tells enough.
                let length = (run.elapsed_s - second as f64).min(1.0);
                (length > 0.3).then(|| (second as f64 + 0.5, *count as f64 / length))
            });
            whole.collect()
        })
        .collect();
    let longest = runs.iter().map(|run| run.elapsed_s).fold(0.0, f64::max);
    let most = lines.iter().flatten().map(|(_, count)| *count).fold(0.0, f64::max);
    let x = Axis::from_zero("seconds", longest);
    draw(&x, &Axis::from_zero("operations per second", most), &lines, true)
}

/// A power of ten of microseconds, without places behind the point.
fn round(micros: f64) -> String {
    time(micros).replace(".00", "").replace(".0", "")
}

/// Neighbours that a pixel would hide are left out; the plot stays the same, and the page small.
fn thinned(points: Points) -> Points {
    let mut kept: Points = Vec::new();
    let last = points.len().saturating_sub(1);
    for (number, point) in points.into_iter().enumerate() {
        let far = kept
            .last()
            .is_none_or(|before| (point.0 - before.0).abs() > 0.01 || (point.1 - before.1).abs() > 0.01);
        if far || number == last {
            kept.push(point);
        }
    }
    kept
}

fn draw(x: &Axis, y: &Axis, lines: &[Points], dots: bool) -> String {
    draw_in(SIZE, |area| draw_lines(area, x, y, lines, dots))
}

fn draw_in(size: (u32, u32), draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = draw(&area).and_then(|()| Ok(area.present()?));
        // It is drawn into memory: what can fail is a range that makes no sense, of figures that make none.
        if let Err(error) = drawn {
            drop(area);
            return format!("<p>cannot be drawn: {error}</p>");
        }
    }
    svg
}

fn draw_lines(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    x: &Axis,
    y: &Axis,
    lines: &[Points],
    dots: bool,
) -> Drawn {
    let letters = ("sans-serif", LETTERS).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .margin_top(10)
        .margin_right(24)
        .x_label_area_size(50)
        .y_label_area_size(74)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .x_labels(x.labels.len())
        .y_labels(y.labels.len())
        .label_style(letters.clone())
        .axis_desc_style(letters)
        .x_desc(x.title)
        .y_desc(y.title)
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart.draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)))?;
        if dots {
            chart.draw_series(line.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
    }
    Ok(())
}

/// A bar each, with its name above it and its figure behind it.
fn draw_bars(area: &DrawingArea<SVGBackend<'_>, Shift>, bars: &[(&str, f64)]) -> Drawn {
    let letters = ("sans-serif", LETTERS).into_font().color(&INK);
    let most = bars.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let x = Axis::from_zero("operations per second", most);
    let count = bars.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .margin_top(4)
        .margin_right(24)
        .margin_left(14)
        .x_label_area_size(50)
        .build_cartesian_2d(x.clone(), count..0.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .disable_y_mesh()
        .x_labels(x.labels.len())
        .label_style(letters.clone())
        .axis_desc_style(letters.clone())
        .x_desc(x.title)
        .draw()?;
    for (number, ((name, value), colour)) in bars.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let top = number as f64;
        let bar = [(0.0, top + 0.48), (*value, top + 0.9)];
        chart.draw_series([Rectangle::new(bar, colour.filled())])?;
        let text = format!("{name}: {}", whole(*value));
        chart.draw_series([Text::new(text, (x.to * 0.008, top + 0.1), letters.clone())])?;
    }
    Ok(())
}
