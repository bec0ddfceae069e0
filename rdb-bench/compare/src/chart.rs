use std::fmt::Write as _;

/// What lines are drawn in, told apart by people who see few colours too.
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 52.0;

/// Lines over a few places in a row, drawn as SVG that needs nothing besides.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x_title: String,
    pub(crate) y_title: String,
    /// What is written below each place.
    pub(crate) places: Vec<String>,
    /// Whether each step upward is ten times the one below.
    pub(crate) is_logarithmic: bool,
    /// The name of each line, and its height at each place where it has one.
    pub(crate) lines: Vec<(String, Vec<Option<f64>>)>,
}

impl Chart {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let values = || self.lines.iter().flat_map(|(_, line)| line.iter().flatten().copied());
        let (lowest, highest) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
        let scale = if self.is_logarithmic { Scale::powers(lowest, highest) } else { Scale::even(highest) };
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let _ = self.draw(&mut svg, &scale);
        svg
    }

    fn draw(&self, svg: &mut String, scale: &Scale) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\" fill=\"#333\">"
        )?;
        writeln!(svg, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>")?;
        writeln!(svg, "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>", self.title)?;
        for tick in &scale.ticks {
            let y = scale.y(*tick);
            writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>")?;
            let label = short(*tick);
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                y + 4.0
            )?;
        }
        for (place, label) in self.places.iter().enumerate() {
            let (x, y) = (self.x(place), bottom + 18.0);
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>")?;
        }
        let middle = f64::midpoint(LEFT, right);
        writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 12.0,
            self.x_title
        )?;
        let middle = f64::midpoint(TOP, bottom);
        writeln!(
            svg,
            "<text x=\"16\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {middle})\">{}</text>",
            self.y_title
        )?;
        for (number, (name, line)) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let points = line
                .iter()
                .enumerate()
                .filter_map(|(place, value)| Some((self.x(place), scale.y((*value)?))));
            let points: Vec<(f64, f64)> = points.collect();
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            )?;
            for (x, y) in points {
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
            }
            let y = TOP + 12.0 + 20.0 * number as f64;
            let x = right + 14.0;
            writeln!(svg, "<path d=\"M{x} {}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>", y - 4.0)?;
            writeln!(svg, "<text x=\"{}\" y=\"{y}\">{name}</text>", x + 24.0)?;
        }
        writeln!(svg, "</svg>")
    }

    fn x(&self, place: usize) -> f64 {
        let steps = self.places.len().saturating_sub(1).max(1) as f64;
        LEFT + 20.0 + (WIDTH - RIGHT - LEFT - 40.0) * place as f64 / steps
    }
}

/// Where a value is in the picture.
struct Scale {
    ticks: Vec<f64>,
    is_logarithmic: bool,
}

impl Scale {
    /// From nothing to above the highest, in five steps or so of a round number.
    fn even(highest: f64) -> Self {
        let rough = (highest / 5.0).max(f64::MIN_POSITIVE);
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(power * 10.0);
        let steps = (highest / step).ceil().max(1.0) as usize;
        Self { ticks: (0..=steps).map(|it| it as f64 * step).collect(), is_logarithmic: false }
    }

    /// From the power of ten below the lowest to the one above the highest.
    fn powers(lowest: f64, highest: f64) -> Self {
        let (from, to) = (lowest.max(1e-3).log10().floor() as i32, highest.max(1e-2).log10().ceil() as i32);
        Self {
            ticks: (from..=to.max(from + 1)).map(|power| 10_f64.powi(power)).collect(),
            is_logarithmic: true,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let along = |it: f64| if self.is_logarithmic { it.max(1e-9).log10() } else { it };
        let (first, last) =
            (self.ticks.first().copied().unwrap_or(0.0), self.ticks.last().copied().unwrap_or(1.0));
        let part = (along(value) - along(first)) / (along(last) - along(first));
        HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)
    }
}

/// A number for an axis: 250k, 1.5M.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_point_is_within_the_picture_and_zero_at_its_foot() {
        let scale = Scale::even(233_000.0);
        assert_eq!(scale.ticks, [0.0, 50_000.0, 100_000.0, 150_000.0, 200_000.0, 250_000.0]);
        assert_eq!(scale.y(0.0), HEIGHT - BOTTOM);
        assert!(scale.y(233_000.0) > TOP);
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart() {
        let scale = Scale::powers(90.0, 7_300.0);
        assert_eq!(scale.ticks, [10.0, 100.0, 1_000.0, 10_000.0]);
        let steps: Vec<f64> =
            scale.ticks.windows(2).map(|pair| scale.y(pair[0]) - scale.y(pair[1])).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-6), "{steps:?}");
    }
}
