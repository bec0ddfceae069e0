use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use parking_lot::Mutex;
use rdb_client::{Client, Error};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::duration;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Print};
use crate::people::in_micros;
use crate::signals::{self, Signals};

/// Measure how long the node takes to answer
///
/// Asks the node how it fares, which reads and writes nothing. Ctrl-C ends it and shows what there is; the
/// exit code is 5 where nothing was answered. Times are those of this client: the network's and, with a high
/// concurrency, the wait for others of its own requests.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rdb ping\n  rdb ping --count 10000 --interval 0ms --concurrency 8 -o json"
)]
pub(crate) struct Ping {
    /// How many requests in all; 0 goes on until Ctrl-C
    #[arg(long, value_name = "N", default_value = "100")]
    count: u64,

    /// From one request to the next of the same task; 0ms for no pause
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = duration::parse_or_zero)]
    interval: Duration,

    /// How many tasks ask at once, over one connection
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
}

/// What came of the requests so far.
struct Tally {
    /// Microseconds.
    times: Histogram<u64>,
    sent: u64,
    failed: u64,
    failure: Option<Error>,
}

/// Measures until all is asked or a signal comes, and shows it.
pub(crate) async fn ping(client: &Client, args: &Ping, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let times = histogram().map_err(|error| Failure::new(Exit::Error, error.to_string()))?;
    let tally = Arc::new(Mutex::new(Tally { times, sent: 0, failed: 0, failure: None }));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..args.concurrency {
        tasks.spawn(ask(client.clone(), args.count, args.interval, Arc::clone(&tally)));
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    let signal = tokio::select! {
        () = all => None,
        exit = signals.next() => Some(exit),
    };
    tasks.abort_all();
    let elapsed = started.elapsed();
    let mut tally = tally.lock();
    show(&tally, elapsed, out)?;
    match (tally.times.is_empty(), tally.failure.take(), signal) {
        (true, Some(error), _) => {
            out.finish()?;
            Err(Failure::connect(error).at("nothing was answered"))
        }
        (_, _, Some(exit)) => {
            out.finish()?;
            Err(Failure::new(exit, signals::name(exit)))
        }
        (_, Some(error), None) => {
            eprintln!("rdb: {} of {} failed; the last: {}", tally.failed, tally.sent, error.report());
            Ok(())
        }
        (_, None, None) => Ok(()),
    }
}

/// Microseconds up to an hour, longer ones as an hour, to three digits.
fn histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
}

/// Asks again and again, until all tasks together have asked often enough.
async fn ask(client: Client, count: u64, interval: Duration, tally: Arc<Mutex<Tally>>) {
    loop {
        {
            let mut tally = tally.lock();
            if count > 0 && tally.sent == count {
                return;
            }
            tally.sent += 1;
        }
        let started = Instant::now();
        let answer = client.node_status().await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        {
            let mut tally = tally.lock();
            match answer {
                Ok(_) => tally.times.saturating_record(micros),
                Err(error) => {
                    tally.failed += 1;
                    tally.failure = Some(error);
                }
            }
            // No pause behind the last.
            if count > 0 && tally.sent == count {
                return;
            }
        }
        sleep_until(started + interval).await;
    }
}

fn show(tally: &Tally, elapsed: Duration, out: &mut Output) -> Result<(), Failure> {
    let times = &tally.times;
    let at = |quantile| json!(times.value_at_quantile(quantile));
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let counts = [
        ("sent", json!(tally.sent)),
        ("answered", json!(times.len())),
        ("failed", json!(tally.failed)),
        ("elapsed_ms", json!(millis)),
    ];
    if times.is_empty() {
        return out.sections(&[&counts]);
    }
    let latencies: [(&str, Value); 7] = [
        ("min_us", json!(times.min())),
        ("mean_us", json!(times.mean().round() as u64)),
        ("p50_us", at(0.5)),
        ("p90_us", at(0.9)),
        ("p99_us", at(0.99)),
        ("p99.9_us", at(0.999)),
        ("max_us", json!(times.max())),
    ];
    out.sections(&[&counts, &latencies])?;
    match out.print {
        Print::Table => plot(times).iter().try_for_each(|line| out.line(line)),
        Print::Json | Print::Raw => Ok(()),
    }
}

/// A bar for each doubling of the time.
fn plot(times: &Histogram<u64>) -> Vec<String> {
    const WIDEST: u64 = 40;
    let doubling = |micros: u64| u64::BITS - micros.leading_zeros();
    let (first, last) = (doubling(times.min()), doubling(times.max()));
    let mut counts = vec![0; (last - first + 1) as usize];
    for bar in times.iter_recorded() {
        let place = doubling(bar.value_iterated_to()).clamp(first, last) - first;
        counts[place as usize] += bar.count_at_value();
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let bars = (first..=last).zip(counts).map(|(doubling, count)| {
        let below = in_micros(1_u64.checked_shl(doubling).unwrap_or(u64::MAX));
        let bar = "#".repeat((count * WIDEST).div_ceil(most) as usize);
        format!("  < {below:>10}  {bar} {count}")
    });
    std::iter::once(String::new()).chain(bars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_any_length_counts_as_what_it_is() {
        for micros in [1, 2_047, 2_500, 5_000_000, 3_600_000_000] {
            let mut times = histogram().unwrap();
            times.saturating_record(micros);
            assert!(times.min().abs_diff(micros) <= micros / 1_000, "{micros}: {}", times.min());
        }
        let mut times = histogram().unwrap();
        times.saturating_record(u64::MAX);
        assert!(times.max() >= 3_600_000_000);
    }

    #[test]
    fn every_answer_is_in_one_bar() {
        let mut times = histogram().unwrap();
        for micros in [3, 4, 7, 8, 1_000, 1_023, 40_000] {
            times.record(micros).unwrap();
        }
        let bars = plot(&times);
        let counts: Vec<u64> =
            bars[1..].iter().map(|bar| bar.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(counts.iter().sum::<u64>(), 7);
        assert_eq!(counts[..3], [1, 2, 1], "{bars:#?}");
        assert!(bars[1].starts_with("  <       4 µs  ####") && bars.last().unwrap().contains("<  65.536 ms"));
        assert_eq!(plot(&histogram().unwrap()).len(), 2);
    }
}
