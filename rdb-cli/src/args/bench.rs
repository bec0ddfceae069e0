use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use rdb_bench::{Distribution, Settings, Workload};

use super::Write;
use super::transfer::is_standard_output;
use crate::duration;
use crate::failure::{Exit, Failure};

/// Where the digits of a key begin, if nothing else is asked for: enough for any number of records.
const DIGITS: usize = 10;

/// Measure how fast the node is, with its engine and on its machine
///
/// Stores records of its own, runs each workload with each number of callers, shows throughput and latency, and
/// removes the records again. Ctrl-C ends it in order: what was measured is shown; a second one leaves the
/// records to the next run. Without arguments: get, put and cas, by 1 and by 64 callers.
///
/// Raw, a line each: workload, callers, operations a second, then p50, p90, p99, p99.9 and max in
/// microseconds, errors, and conflicts. Errors alone end in exit code 1, or 5 where the node did not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    rdb bench\n  \
    rdb bench cas --callers 1,16,64,256 --time 5s --html cas.html\n  \
    rdb bench a b f --records 100000 --value-size 1024 --json ycsb.json\n  \
    rdb bench get --rate 10000        # an open loop: latency counts from when each get was due\n  \
    rdb bench counter --callers 64    # all on one key: useful increments, and conflicts")]
pub(crate) struct Bench {
    /// What to measure, one after the other
    #[arg(value_name = "WORKLOAD", default_values = ["get", "put", "cas"], value_parser = workload())]
    pub(crate) workloads: Vec<Workload>,

    /// How many callers ask at once; several numbers are measured one after the other
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,64",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) callers: Vec<u16>,

    /// How many requests each caller has under way at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) outstanding: u16,

    /// For how long each is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    pub(crate) time: Duration,

    /// For how long each runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration::parse_or_zero)]
    pub(crate) warm_up: Duration,

    /// Operations a second, planned ahead, whether or not the node keeps up; without this, each answer is
    /// followed by the next request
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// How many records there are
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) records: u64,

    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value = "100")]
    pub(crate) value_size: usize,

    /// Bytes of each key, prefix included; 16 where the prefix leaves room for that
    #[arg(long, value_name = "BYTES")]
    pub(crate) key_size: Option<usize>,

    /// The most records of one scan
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) scan_records: u64,

    /// How records are chosen; without this, as the workload has it
    #[arg(long, value_name = "HOW", value_parser = distribution())]
    pub(crate) distribution: Option<Distribution>,

    /// What all randomness follows from
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,

    /// With what all keys begin: none but a benchmark's own records may be there
    #[arg(
        long,
        default_value = "bench/",
        value_parser = NonEmptyStringValueParser::new(),
        allow_hyphen_values = true
    )]
    pub(crate) prefix: String,

    /// Use the prefix even where others have records: THEY ARE REMOVED
    #[arg(long)]
    pub(crate) force: bool,

    /// Leave the records where they are; the next run with this prefix removes them
    #[arg(long)]
    pub(crate) keep: bool,

    /// Write all figures, with the raw samples, to this file; - for standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a page with plots to this file, or - for standard output; it needs no network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) write: Write,
}

impl Bench {
    /// Whether --json or --html is standard output, in this order.
    pub(crate) fn on_standard_output(&self) -> (bool, bool) {
        let is = |file: Option<&Path>| file.is_some_and(is_standard_output);
        (is(self.json.as_deref()), is(self.html.as_deref()))
    }

    /// What is to be run, in this order.
    pub(crate) fn settings(&self) -> Result<Vec<Settings>, Failure> {
        let all = self.workloads.iter().flat_map(|workload| {
            self.callers.iter().map(|callers| Settings {
                records: self.records,
                prefix: self.prefix.clone(),
                key_bytes: self.key_size.unwrap_or((self.prefix.len() + DIGITS).max(16)),
                value_bytes: self.value_size,
                distribution: self.distribution.unwrap_or_else(|| workload.distribution()),
                scan_records: self.scan_records,
                callers: (*callers).into(),
                outstanding: self.outstanding.into(),
                rate: self.rate.map(f64::from),
                warm_up: self.warm_up,
                time: self.time,
                seed: self.seed,
                ..Settings::new(*workload)
            })
        });
        if self.on_standard_output() == (true, true) {
            return Err(Failure::new(Exit::Usage, "--json and --html cannot both be standard output"));
        }
        let checked = all.map(|settings| settings.check().map(|()| settings));
        checked.collect::<Result<_, _>>().map_err(|reason| Failure::new(Exit::Usage, reason))
    }
}

fn workload() -> impl TypedValueParser<Value = Workload> {
    let named = |workload: Workload| PossibleValue::new(workload.name()).help(workload.meaning());
    PossibleValuesParser::new(Workload::ALL.map(named)).try_map(|name| name.parse::<Workload>())
}

fn distribution() -> impl TypedValueParser<Value = Distribution> {
    PossibleValuesParser::new(Distribution::ALL.map(Distribution::name))
        .try_map(|name| name.parse::<Distribution>())
}
