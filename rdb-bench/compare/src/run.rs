use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};
use rdb_bench::{Disk, Distribution, Measurement, Report, Run, Settings, Workload};

use crate::cli::{PlaceArgs, SYNCS};
use crate::compare::Display;
use crate::failure::Result;
use crate::page;
use crate::place::Place;
use crate::subject::{Opened, Subject};

const EXAMPLES: &str = "Examples:
  rdb-bench run                                                    # get, put and cas by the SDK
  rdb-bench run a b c d e f --target mem,sled,rocks --html ycsb.html
  rdb-bench run put --target sdk,raw,etcd,redis-synced --callers 1,16,64 --rounds 5
  rdb-bench run get --target sdk,sdk-unary --rate 20000            # an open loop

In a closed loop each answer is followed by the next request. In an open loop (--rate) requests are planned ahead,
and a latency counts from when its request was due, so that a stall is seen by all that it delays. What is not
installed or cannot do a workload is left out, and said so.";

/// Measure any targets by any workloads: a table, and pages for people and programs
///
/// Starts what it measures, on free ports and in folders of its own, loads the records, warms up, and measures; the
/// targets take turns. All of it is gone when it ends, after Ctrl-C, too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// What is asked, one after the other
    #[arg(value_name = "WORKLOAD", default_values = ["get", "put", "cas"], value_parser = workload())]
    workloads: Vec<Workload>,

    /// What is measured; several are separated by commas
    #[arg(long = "target", value_name = "NAME", value_delimiter = ',', default_value = "sdk", value_enum)]
    targets: Vec<Subject>,

    /// How many callers ask at once; several numbers are measured one after the other
    #[arg(
        long,
        value_name = "NUMBER",
        value_delimiter = ',',
        default_value = "1,64",
        value_parser = value_parser!(u16).range(1..)
    )]
    callers: Vec<u16>,

    /// How many requests each caller has under way at once
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = value_parser!(u16).range(1..=1024))]
    outstanding: u16,

    /// Operations a second of an open loop
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// How often each is measured; the table has every round, plots the median one
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,

    /// The number of records
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000, value_parser = value_parser!(u64).range(1..))]
    records: u64,

    /// Bytes of each key
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    key_size: usize,

    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = value_size())]
    value_size: usize,

    /// The most records of one scan
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = value_parser!(u64).range(1..))]
    scan_records: u64,

    /// How records are chosen [default: as the workload has it]
    #[arg(long, value_name = "HOW", value_parser = distribution())]
    distribution: Option<Distribution>,

    /// What all randomness follows from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// All figures with their raw samples; `rdb-bench report` makes the page of it again
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// One page of HTML with plots; it needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    place: PlaceArgs,
}

fn workload() -> impl TypedValueParser<Value = Workload> {
    let named = |workload: Workload| PossibleValue::new(workload.name()).help(workload.meaning());
    PossibleValuesParser::new(Workload::ALL.map(named)).try_map(|name| name.parse::<Workload>())
}

fn distribution() -> impl TypedValueParser<Value = Distribution> {
    PossibleValuesParser::new(Distribution::ALL.map(Distribution::name))
        .try_map(|name| name.parse::<Distribution>())
}

/// More than any target takes is refused before as much memory is taken.
fn value_size() -> impl TypedValueParser<Value = usize> {
    value_parser!(u32).range(..=64 << 20).map(|bytes| bytes as usize)
}

impl RunArgs {
    /// Measures all of it, and shows it.
    pub(crate) async fn run(self) -> Result<()> {
        let place = self.place.place()?;
        for workload in &self.workloads {
            self.settings(*workload, &place).try_for_each(|settings| settings.check())?;
        }
        let files = [&self.json, &self.html].into_iter().flatten();
        files.into_iter().try_for_each(|file| page::writable(file))?;
        let mut report = Report::new("Side by side", concat!("rdb-bench ", env!("CARGO_PKG_VERSION")));
        report.disk = Some(Disk::measure(&place.disk, SYNCS)?);
        let each = self.callers.len() * self.rounds as usize;
        let display = Display::new(self.workloads.len() * self.targets.len() * each);
        for workload in &self.workloads {
            self.workload(*workload, &place, &display, &mut report.measurements).await;
        }
        display.end();
        if report.measurements.is_empty() {
            return Err("nothing could be measured".into());
        }
        print!("{}", report.table());
        for of in report.measurements.iter().filter(|of| of.errors > 0) {
            let first = of.error_texts.first().map_or("", String::as_str);
            eprintln!(
                "rdb-bench: {}, {}: {} failed: {first}",
                of.target.name, of.settings.workload, of.errors
            );
        }
        for of in report.measurements.iter().filter(|of| of.not_begun > of.settings.in_flight() as u64) {
            let (name, workload) = (&of.target.name, of.settings.workload);
            eprintln!("rdb-bench: {name}, {workload}: {} were due and not begun at the end", of.not_begun);
        }
        if let Some(file) = &self.json {
            page::write(file, &report.json())?;
        }
        if let Some(file) = &self.html {
            page::write(file, &report.html())?;
        }
        Ok(())
    }

    /// One of the numbers of callers each.
    fn settings(&self, workload: Workload, place: &Place) -> impl Iterator<Item = Settings> {
        let settings = Settings {
            records: self.records,
            key_bytes: self.key_size,
            value_bytes: self.value_size,
            distribution: self.distribution.unwrap_or_else(|| workload.distribution()),
            scan_records: self.scan_records,
            outstanding: self.outstanding.into(),
            rate: self.rate.map(f64::from),
            warm_up: place.warm_up,
            time: place.time,
            seed: self.seed,
            ..Settings::new(workload)
        };
        self.callers.iter().map(move |callers| Settings { callers: (*callers).into(), ..settings.clone() })
    }

    /// All targets are there from its beginning to its end, and new: what one workload writes the next one does
    /// not read.
    async fn workload(
        &self,
        workload: Workload,
        place: &Place,
        display: &Display,
        done: &mut Vec<Measurement>,
    ) {
        let mut open: Vec<(Subject, Opened)> = Vec::new();
        let mut measured: Vec<(Option<usize>, Measurement)> = Vec::new();
        for subject in &self.targets {
            display.tell(format!("{workload}: start {}", subject.name()));
            match self.open(*subject, workload, place).await {
                Ok(opened) => open.push((*subject, opened)),
                Err(error) => display.line(&format!("{workload}, {}: not measured: {error}", subject.name())),
            }
        }
        for settings in self.settings(workload, place) {
            for round in 0..self.rounds {
                // Whoever comes second finds another machine: they take turns.
                if round > 0 {
                    open.reverse();
                }
                let mut able = Vec::new();
                for (subject, opened) in open {
                    let callers = settings.callers;
                    display.tell(format!("{workload}, {callers} callers: {}", subject.name()));
                    match measure(&opened, settings.clone()).await {
                        Ok(of) => {
                            let place = self.targets.iter().position(|target| *target == subject);
                            measured.push((place, of));
                            able.push((subject, opened));
                        }
                        Err(error) => {
                            display.line(&format!("{workload}, {}: not measured: {error}", subject.name()));
                        }
                    }
                    display.advance();
                }
                open = able;
            }
        }
        measured.sort_by_key(|(place, of)| (*place, of.settings.callers));
        done.extend(measured.into_iter().map(|(_, of)| of));
    }

    async fn open(&self, subject: Subject, workload: Workload, place: &Place) -> Result<Opened> {
        let Some(settings) = self.settings(workload, place).next() else { return Err("no callers".into()) };
        subject.check(workload)?;
        let opened = subject.open(place, &settings).await?;
        if workload.needs_records() {
            Run::new(opened.target.clone(), settings).load().await?;
        }
        Ok(opened)
    }
}

async fn measure(opened: &Opened, settings: Settings) -> Result<Measurement> {
    let measured = Run::new(opened.target.clone(), settings).measure().await?;
    match measured.error_texts.first() {
        Some(error) if measured.operations == 0 => Err(error.clone().into()),
        _ => Ok(measured),
    }
}
