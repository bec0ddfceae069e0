//! Both sides of each row, in turn, round after round.

use indicatif::{ProgressBar, ProgressStyle};
use rdb_bench::Workload;

use crate::contender::{Contender, Sdk};
use crate::failure::Result;
use crate::figures::Figures;
use crate::performance::{Curve, Measured, MeasuredSide};
use crate::place::Place;
use crate::row::Row;
use crate::side::Side;

/// How many callers there are along a curve.
const CALLERS: [usize; 5] = [1, 4, 16, 64, 256];

/// Says how far it is, where somebody looks.
#[derive(Debug)]
pub(crate) struct Display(ProgressBar);

impl Display {
    /// For so many measurements.
    pub(crate) fn new(measurements: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {elapsed}, {eta} left  {msg}");
        let bar = ProgressBar::new(measurements as u64);
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// What is going on.
    pub(crate) fn tell(&self, what: String) {
        self.0.set_message(what);
    }

    /// One measurement more is done.
    pub(crate) fn advance(&self) {
        self.0.inc(1);
    }

    /// A line that stays.
    pub(crate) fn line(&self, line: &str) {
        self.0.suspend(|| println!("{line}"));
    }

    /// Leaves nothing behind.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Measures a row. Both sides run from its beginning to its end, and are idle while the other one is measured.
pub(crate) async fn row(row: &Row, rounds: usize, place: &Place, display: &Display) -> Measured {
    display.tell(format!("{}: start", row.name));
    let begun = display.0.position();
    let measured = rounds_of(row, rounds, place, display).await;
    measured.unwrap_or_else(|error| {
        display.0.set_position(begun + 2 * rounds as u64);
        Measured::not_measured(row, error.to_string())
    })
}

async fn rounds_of(row: &Row, rounds: usize, place: &Place, display: &Display) -> Result<Measured> {
    let mut ours = Open::new(row.ours, place).await?;
    let mut rival = Open::new(row.rival, place).await?;
    for round in 0..rounds {
        // Whoever comes second finds another machine: they take turns.
        let order = if round % 2 == 0 { [&mut ours, &mut rival] } else { [&mut rival, &mut ours] };
        for side in order {
            display.tell(format!("{}: round {}, {}", row.name, round + 1, side.measured.name));
            side.measure().await?;
            display.0.inc(1);
        }
    }
    Ok(Measured::new(row, ours.measured, rival.measured))
}

struct Open {
    side: Box<dyn Side>,
    measured: MeasuredSide,
}

impl Open {
    async fn new(contender: Contender, place: &Place) -> Result<Self> {
        let named = |error| format!("{}: {error}", contender.name());
        let side = contender.open(place).await.map_err(named)?;
        let measured = MeasuredSide { name: contender.name(), ..MeasuredSide::default() };
        Ok(Self { side, measured })
    }

    async fn measure(&mut self) -> Result<()> {
        let named = |error| format!("{}: {error}", self.measured.name);
        let figures = self.side.measure().await.map_err(named)?;
        if let Some(told) = &figures.measurement {
            self.measured.durability = Some(told.target.durability.clone());
            self.measured.settings = Some(told.settings.clone());
        }
        self.measured.rounds.push(figures);
        self.measured.how = self.side.how();
        Ok(())
    }
}

/// Those that are plotted: the plot, and the name in it.
const PLOTTED: [(&str, &str); 7] = [
    ("get", "SDK"),
    ("get", "bare stream"),
    ("get", "Redis, multiplexed"),
    ("get", "redis-benchmark"),
    ("get", "etcd"),
    ("cas", "SDK"),
    ("cas", "etcd"),
];

fn plotted(callers: usize) -> [Contender; 7] {
    [
        Contender::Sdk(Sdk::new(Workload::Get, callers)),
        Contender::BareStream { callers },
        Contender::Redis { workload: Workload::Get, callers },
        Contender::RedisBenchmarkGet { clients: callers },
        Contender::Etcd { workload: Workload::Get, callers },
        Contender::Sdk(Sdk::new(Workload::Cas, callers)),
        Contender::Etcd { workload: Workload::Cas, callers },
    ]
}

/// How many measurements all curves take.
pub(crate) fn curve_measurements(rounds: usize) -> usize {
    PLOTTED.len() * CALLERS.len() * rounds
}

/// Measures all curves: each number of callers in turn, and at each the rivals interleaved. A rival that cannot
/// be measured has no curve.
pub(crate) async fn curves(rounds: usize, place: &Place, display: &Display) -> Vec<Curve> {
    let mut curves = PLOTTED.map(|(plot, name)| Curve {
        plot: plot.to_owned(),
        name: name.to_owned(),
        points: Vec::new(),
    });
    for callers in CALLERS {
        let mut open = Vec::new();
        for (place_of, contender) in plotted(callers).into_iter().enumerate() {
            display.tell(format!("curves: start {}", contender.name()));
            match Open::new(contender, place).await {
                Ok(side) => open.push((place_of, side)),
                Err(error) => display.line(&format!("no curve: {error}")),
            }
        }
        for _ in 0..rounds {
            for (_, side) in &mut open {
                display.tell(format!("curves: {}", side.measured.name));
                if let Err(error) = side.measure().await {
                    display.line(&format!("no point: {error}"));
                }
                display.0.inc(1);
            }
        }
        for (place_of, side) in open {
            if let Some(figures) = middle(side.measured.rounds) {
                curves[place_of].points.push((callers, figures));
            }
        }
    }
    curves.into_iter().filter(|curve| !curve.points.is_empty()).collect()
}

/// The round in the middle by its rate.
fn middle(mut rounds: Vec<Figures>) -> Option<Figures> {
    rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    let middle = rounds.len() / 2;
    rounds.into_iter().nth(middle)
}
