use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rdb_bench::{Disk, Machine, Report};

use crate::compare::{self, Display};
use crate::failure::Result;
use crate::page;
use crate::performance::Performance;
use crate::place::Place;
use crate::run::RunArgs;
use crate::{date, document, peers, rows, scale};

/// How often the disk is asked how long it takes to sync.
pub(crate) const SYNCS: u32 = 500;

/// Measures FlareDB side by side with RocksDB, Redis and etcd
///
/// Everything that is measured is started by this program, on free ports and in folders of its own, and stopped
/// again. Rivals that are not installed are left out, and named. `rdb bench` measures a node that runs already.
#[derive(Debug, Parser)]
#[command(
    name = "rdb-bench",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        rdb-bench run a b c --target sdk,sled,etcd --html ycsb.html\n  \
        rdb-bench compare --list\n  \
        rdb-bench compare --row cas-etcd --rounds 3 --seconds 2\n  \
        rdb-bench scale --divide-by 100"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    /// Measure the project's targets, row by row; the rivals take turns, round after round
    Compare(Compare),
    /// Measure many records: speed, memory, and the time until a start is over
    Scale(ScaleArgs),
    /// Write the pages and plots of a JSON file again, without measuring anything
    Report {
        /// A file that compare or scale wrote (Markdown and plots), or run or `rdb bench` (HTML)
        file: PathBuf,
    },
    /// Serve records from a map, with nothing around it
    #[command(hide = true)]
    Bare {
        #[arg(long)]
        records: u64,
        #[arg(long)]
        key_bytes: usize,
        #[arg(long)]
        value_bytes: usize,
    },
}

#[derive(Debug, Args)]
struct Compare {
    /// A row to measure, as --list tells them; may be given several times [default: all]
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<String>,

    /// Print the rows, and measure nothing
    #[arg(long)]
    list: bool,

    /// Leave out the rows that take minutes
    #[arg(long)]
    skip_slow: bool,

    /// Measure the curves of throughput and latency against callers, too
    #[arg(long)]
    curves: bool,

    /// How often each side of a row is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// A page of HTML with plots, of the curves where they are measured; the raw samples are beside it, as
    /// NAME.samples.json
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// The command-line client [default: rdb beside this one]
    #[arg(long, value_name = "PATH")]
    rdb: Option<PathBuf>,

    /// The Debian package index, as lines of key TAB value, packed by gzip or not
    #[arg(long, value_name = "FILE", default_value = "../shared/data/debian-packages.tsv.gz")]
    packages: PathBuf,

    /// The number of records
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    records: u64,

    /// The number of records in the row that has many
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    many_records: u64,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
struct ScaleArgs {
    /// Divide the numbers of records by this
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    divide_by: u64,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
struct Output {
    /// The file to write, with a page of Markdown and plots beside it; what it holds and is not measured now stays
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// How long each side is measured at a time
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0, value_parser = seconds)]
    seconds: f64,

    /// How long it runs before that
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    warm_up: f64,

    /// The folder for data: its disk is measured
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    disk: PathBuf,

    /// The engine of the node
    #[arg(long, value_name = "NAME", default_value = "rocks")]
    engine: String,

    /// The node's program [default: rdb-server beside this one]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let known = (0.01..=3_600.0).contains(&seconds);
    known.then_some(seconds).ok_or_else(|| "not between 0.01 and 3600".to_owned())
}

impl Cli {
    /// Does what was asked.
    pub(crate) async fn run(self) -> Result<()> {
        match self.command {
            Command::Run(run) => run.run().await,
            Command::Compare(compare) if compare.list => {
                for row in &rows::ROWS {
                    println!("{:<24} {}", row.name, row.title);
                }
                Ok(())
            }
            Command::Compare(compare) => compare.run().await,
            Command::Scale(scale) => scale.run().await,
            Command::Report { file } => match Performance::read(&file) {
                Ok(performance) => document::write(&performance, &file),
                Err(error) => page::draw(&file).map_err(|_| error),
            },
            Command::Bare { records, key_bytes, value_bytes } => {
                peers::serve(records, key_bytes, value_bytes).await
            }
        }
    }
}

impl Compare {
    async fn run(self) -> Result<()> {
        let place = Place {
            rdb: beside(self.rdb.as_ref(), "rdb")?,
            packages: self.packages.clone(),
            records: self.records,
            many_records: self.many_records,
            ..self.place.place()?
        };
        // Found now rather than when all is measured.
        let samples = self.html.as_ref().map(|html| html.with_extension("samples.json"));
        let files = [&self.html, &samples].into_iter().flatten();
        files.into_iter().try_for_each(|file| page::writable(file))?;
        let mut rows = rows::chosen(&self.rows)?;
        rows.retain(|row| !(self.skip_slow && row.slow));
        let rounds = self.rounds as usize;
        let curves = if self.curves { compare::curve_measurements(rounds) } else { 0 };
        let display = Display::new(rows.len() * rounds * 2 + curves);
        let mut performance = self.output.begin(&self.place, rounds).await?;
        for row in rows {
            let row = compare::row(row, rounds, &place, &display).await;
            display.line(&document::line(&row));
            performance.merge(vec![row]);
            self.output.save(&performance)?;
        }
        if self.curves {
            performance.curves = compare::curves(rounds, &place, &display).await;
        }
        display.end();
        if let (Some(html), Some(samples)) = (&self.html, &samples) {
            let report = report(&performance);
            page::write(html, &report.html())?;
            page::write(samples, &report.json())?;
        }
        self.output.end(&performance)
    }
}

/// The curves, or the rows where there are none, with all that the library measured of them.
fn report(performance: &Performance) -> Report {
    let mut report = Report::new("FlareDB and its rivals", concat!("rdb-bench ", env!("CARGO_PKG_VERSION")));
    report.disk = Some(performance.disk.clone());
    let points = performance.curves.iter().flat_map(|curve| &curve.points);
    report.measurements = points.filter_map(|(_, figures)| figures.measurement.as_deref().cloned()).collect();
    if report.measurements.is_empty() {
        for side in performance.rows.iter().flat_map(|row| [&row.ours, &row.rival]) {
            let rounds = side.rounds.iter().filter_map(|figures| figures.measurement.as_deref().cloned());
            report.measurements.extend(rounds.map(|mut measured| {
                measured.target.name.clone_from(&side.name);
                measured
            }));
        }
    }
    report
}

impl ScaleArgs {
    async fn run(self) -> Result<()> {
        let place = self.place.place()?;
        let mut performance = self.output.begin(&self.place, 0).await?;
        for (records, value_bytes) in scale::SIZES {
            let measured = scale::measure(records / self.divide_by, value_bytes, &place).await?;
            let told = document::scale(&measured);
            println!("{told}");
            performance.scale.retain(|old| (old.records, old.value_bytes) != (measured.records, value_bytes));
            performance.scale.push(measured);
            self.output.save(&performance)?;
        }
        self.output.end(&performance)
    }
}

impl Output {
    /// What the file holds already, with this machine and these programs.
    async fn begin(&self, place: &PlaceArgs, rounds: usize) -> Result<Performance> {
        if let Some(file) = &self.json {
            page::writable(file)?;
        }
        let mut performance = match &self.json {
            Some(file) if file.is_file() => Performance::read(file)?,
            _ => Performance::default(),
        };
        performance.date = date::today();
        performance.machine = Machine::here();
        performance.disk = Disk::measure(&place.disk, SYNCS)?;
        // A page of numbers that nobody would read: the percentiles say it.
        performance.disk.sync.buckets.clear();
        performance.versions = versions().await;
        if rounds > 0 {
            performance.rounds = rounds;
            performance.seconds = place.seconds;
            performance.warm_up_seconds = place.warm_up;
        }
        Ok(performance)
    }

    /// Writes what there is, so that what was measured is not lost where the rest is not.
    fn save(&self, performance: &Performance) -> Result<()> {
        self.json.as_ref().map_or(Ok(()), |file| document::write(performance, file))
    }

    fn end(&self, performance: &Performance) -> Result<()> {
        self.save(performance)?;
        if let Some(file) = &self.json {
            println!("written: {}", file.display());
        }
        Ok(())
    }
}

async fn versions() -> Vec<(String, String)> {
    let known = [("FlareDB", env!("CARGO_PKG_VERSION")), ("RocksDB", env!("ROCKSDB_VERSION"))];
    let mut versions: Vec<_> = known.map(|(name, version)| (name.to_owned(), version.to_owned())).into();
    versions.extend(peers::versions().await);
    versions
}

/// A program that is given, or the one of this name that lies beside this one.
fn beside(given: Option<&PathBuf>, name: &str) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name(name),
    };
    // Programs are started in folders of their own.
    Ok(path.canonicalize().unwrap_or(path))
}

impl PlaceArgs {
    /// The place, with the usual numbers of records.
    pub(crate) fn place(&self) -> Result<Place> {
        let known = ["mem", "sled", "rocks"];
        if !known.contains(&self.engine.as_str()) {
            return Err(
                format!("unknown engine; known are {}. engine=`{}`", known.join(", "), self.engine).into()
            );
        }
        let disk = self.disk.canonicalize();
        let disk = disk.map_err(|error| format!("cannot use {}: {error}", self.disk.display()))?;
        Ok(Place {
            disk,
            server: beside(self.server.as_ref(), "rdb-server")?,
            rdb: beside(None, "rdb")?,
            engine: self.engine.clone(),
            packages: PathBuf::new(),
            records: 100_000,
            many_records: 10_000_000,
            time: Duration::from_secs_f64(self.seconds),
            warm_up: Duration::from_secs_f64(self.warm_up),
        })
    }
}
