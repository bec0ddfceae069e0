//! Measures the node that the command is connected to, as an application meets it: by the SDK.

mod bar;
mod place;

use std::path::Path;
use std::sync::Arc;

use rdb_bench::{EngineTarget, Measurement, Report, Run, Settings, Stop, Target, Workload};
use rdb_client::{Client, Engine};
use serde_json::{Value, json};

use crate::args;
use crate::destination::Destination;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Print};
use crate::signals::{self, Signals};

use bar::Bar;
use place::Place;

/// Measures until all is done or a signal comes, shows it, and tidies up.
pub(crate) async fn bench(
    client: &Client,
    endpoint: &str,
    args: &args::Bench,
    out: &mut Output,
) -> Result<(), Failure> {
    let settings = args.settings()?;
    // Found now rather than when all is measured.
    let (json_out, html_out) = args.on_standard_output();
    let json = if json_out { None } else { open(args.json.as_deref())? };
    let html = if html_out { None } else { open(args.html.as_deref())? };
    let limit = client.info().limits.max_value_bytes;
    if args.value_size > limit {
        let reason =
            format!("values are longer than the node takes. is=`{}`, limit=`{limit}`", args.value_size);
        return Err(Failure::new(Exit::Usage, reason));
    }
    let mut signals = Signals::listen()?;
    let engine: Arc<dyn Engine> = Arc::new(client.clone());
    let place = Place::new(Arc::clone(&engine), &args.prefix);
    let target: Arc<dyn Target> = Arc::new(target(client, endpoint, args, engine));

    tokio::select! {
        taken = place.take(args.force) => taken?,
        exit = signals.next() => {
            return Err(Failure::new(exit, format!("{}; nothing was measured", signals::name(exit))));
        }
    }
    let mut report = Report::new(title(args, endpoint), format!("rdb {}", env!("CARGO_PKG_VERSION")));
    let stop = Stop::new();
    let mut signal = None;
    let done = {
        let all = all(&settings, &target, &place, &stop, &mut report.measurements);
        tokio::pin!(all);
        loop {
            tokio::select! {
                done = &mut all => break done,
                exit = signals.next() => {
                    if signal.replace(exit).is_some() {
                        return Err(left(exit, &args.prefix));
                    }
                    stop.stop();
                }
            }
        }
    };
    let instead = match (json_out, html_out) {
        (true, _) => Some(report.json() + "\n"),
        (_, true) => Some(report.html()),
        _ => None,
    };
    let shown = show(&report, instead, json, html, out);
    let tidied = match args.keep {
        true => Ok(()),
        false => tokio::select! {
            removed = place.remove() => removed.map_err(|failure| failure.at("cannot remove the records, which the next run does")),
            exit = signals.next() => Err(left(exit, &args.prefix)),
        },
    };
    shown?;
    done?;
    tidied?;
    match signal {
        Some(exit) => Err(Failure::new(exit, signals::name(exit))),
        None => judge(&report),
    }
}

/// Runs one after the other, and notes what came of each, until it is stopped.
async fn all(
    settings: &[Settings],
    target: &Arc<dyn Target>,
    place: &Place,
    stop: &Stop,
    done: &mut Vec<Measurement>,
) -> Result<(), Failure> {
    let mut loaded = false;
    for settings in settings {
        if stop.is_stopped() {
            break;
        }
        let bar = Arc::new(Bar::begin(settings));
        let tell = Arc::clone(&bar);
        let run = Run::new(Arc::clone(target), settings.clone())
            .stop_by(stop.clone())
            .on_progress(move |progress| tell.show(&progress));
        if settings.workload == Workload::Load {
            // What is there already would not be new.
            place.clear().await?;
            loaded = false;
        }
        if settings.workload.needs_records() && !loaded {
            run.load().await.map_err(failed)?;
            loaded = true;
        }
        if stop.is_stopped() {
            break;
        }
        let measured = run.measure().await.map_err(failed)?;
        // Stopped while it warmed up: there is nothing to tell.
        if measured.operations + measured.errors > 0 || !measured.stopped {
            done.push(measured);
        }
    }
    Ok(())
}

fn target(client: &Client, endpoint: &str, args: &args::Bench, engine: Arc<dyn Engine>) -> EngineTarget {
    EngineTarget::new(engine, "rdb", args.write.durability).with_info(|mut info| {
        info.version = client.server_version().to_owned();
        info.detail("endpoint", endpoint)
            .detail("client", env!("CARGO_PKG_VERSION"))
            .detail("exactly once", args.write.exactly_once)
    })
}

fn title(args: &args::Bench, endpoint: &str) -> String {
    let names: Vec<&str> = args.workloads.iter().map(|workload| workload.name()).collect();
    format!("{} on {endpoint}", names.join(", "))
}

fn open(file: Option<&Path>) -> Result<Option<Destination>, Failure> {
    file.map(Destination::open).transpose()
}

/// Shows the figures, or what takes their place on standard output, and writes the files.
fn show(
    report: &Report,
    instead: Option<String>,
    json: Option<Destination>,
    html: Option<Destination>,
    out: &mut Output,
) -> Result<(), Failure> {
    let measured = &report.measurements;
    match (instead, out.print) {
        _ if measured.is_empty() => {}
        (Some(text), _) => out.bytes(text.as_bytes())?,
        (None, Print::Table) => {
            out.bytes(report.table().as_bytes())?;
            let misses: u64 = measured.iter().map(|of| of.misses).sum();
            if misses > 0 {
                out.line(&format!("\n{misses} reads found no record"))?;
            }
        }
        (None, Print::Json) => measured.iter().try_for_each(|of| out.json(&object(of)))?,
        (None, Print::Raw) => measured.iter().try_for_each(|of| raw(of, out))?,
    }
    out.finish()?;
    for (file, text) in [(json, Report::json as fn(&Report) -> String), (html, Report::html)] {
        if let Some(mut file) = file {
            file.write(text(report).as_bytes())?;
            file.finish()?;
        }
    }
    Ok(())
}

fn object(of: &Measurement) -> Value {
    let (settings, latency) = (&of.settings, &of.latency);
    json!({
        "workload": settings.workload.name(),
        "callers": settings.callers,
        "outstanding": settings.outstanding,
        "rate": settings.rate,
        "records": settings.records,
        "key_bytes": settings.key_bytes,
        "value_bytes": settings.value_bytes,
        "distribution": settings.distribution.name(),
        "durability": of.target.durability,
        "elapsed_s": of.elapsed_s,
        "stopped": of.stopped,
        "operations": of.operations,
        "per_second": of.per_second,
        "records_per_second": of.records_per_second,
        "errors": of.errors,
        "conflicts": of.conflicts,
        "not_found": of.misses,
        "mean_us": latency.mean_us,
        "p50_us": latency.p50_us,
        "p90_us": latency.p90_us,
        "p99_us": latency.p99_us,
        "p99.9_us": latency.p99_9_us,
        "max_us": latency.max_us,
    })
}

fn raw(of: &Measurement, out: &mut Output) -> Result<(), Failure> {
    let latency = &of.latency;
    let times = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p99_9_us, latency.max_us];
    let numbers = std::iter::once(of.per_second).chain(times).map(|number| format!("{number:.0}"));
    let texts = [of.settings.workload.to_string(), of.settings.callers.to_string()];
    let counts = [of.errors, of.conflicts].map(|count| count.to_string());
    let fields: Vec<String> = texts.into_iter().chain(numbers).chain(counts).collect();
    out.line(&fields.join("\t"))
}

/// Errors among answers are told; where there are only errors, they are the result.
fn judge(report: &Report) -> Result<(), Failure> {
    for of in report.measurements.iter().filter(|of| of.errors > 0) {
        let what = format!("{}, {} callers", of.settings.workload, of.settings.callers);
        let first = of.error_texts.first().map_or("", String::as_str);
        if of.operations == 0 {
            return Err(failed(first.to_owned()).at(&what));
        }
        eprintln!("rdb: {what}: {} of {} failed: {first}", of.errors, of.errors + of.operations);
    }
    for of in report.measurements.iter().filter(|of| of.not_begun > of.settings.in_flight() as u64) {
        let what = format!("{}, {} callers", of.settings.workload, of.settings.callers);
        eprintln!("rdb: {what}: the rate was not kept: {} were due and not begun at the end", of.not_begun);
    }
    Ok(())
}

/// An error of the target begins with its kind.
fn failed(text: String) -> Failure {
    let of_node =
        ["unavailable", "unknown", "closed"].into_iter().any(|kind| text.contains(&format!("{kind}: ")));
    Failure::new(if of_node { Exit::Unavailable } else { Exit::Error }, text)
}

/// The second signal, or one while records are removed.
fn left(exit: Exit, prefix: &str) -> Failure {
    let name = signals::name(exit);
    let next = "the next `rdb bench` with the same prefix removes them";
    Failure::new(exit, format!("{name}; records were left behind, and {next}. prefix=`{prefix}`"))
}
