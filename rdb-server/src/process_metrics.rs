use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// What the operating system knows about this process, under the names that Prometheus has set for every
/// program. Nothing where there is no `/proc`.
#[derive(Debug)]
pub(crate) struct ProcessMetrics;

/// What Linux counts processor time in, on every machine that we build for: USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)
        };
        let status = read("status");
        let stat = read("stat");
        let size = |field| Some(number(&status, field)? * 1024.0);
        gauge("process_resident_memory", "Resident memory.", Some(Unit::Bytes), size("VmRSS:"))?;
        gauge("process_virtual_memory", "Virtual memory.", Some(Unit::Bytes), size("VmSize:"))?;
        gauge("process_threads", "Threads.", None, number(&status, "Threads:"))?;
        gauge("process_open_fds", "Open file descriptors.", None, open_descriptors())?;
        gauge("process_max_fds", "The most file descriptors that may be open.", None, max_descriptors())?;
        gauge("process_start_time", "When it was started, since 1970.", Some(Unit::Seconds), started(&stat))?;
        if let Some(used) = processor_seconds(&stat) {
            let counter = ConstCounter::new(used);
            let help = "Processor time, of the program and of the system for it.";
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), kind)?)?;
        }
        Ok(())
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default()
}

/// The first number behind a word at the beginning of a line.
fn number(text: &str, word: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.split_whitespace().next()?.parse().ok())
}

/// A field of `/proc/self/stat`, counted from 1. The second is the program's name in parentheses, which may hold
/// anything.
fn field(stat: &str, place: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(place.checked_sub(3)?)?.parse().ok()
}

fn processor_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn started(stat: &str) -> Option<f64> {
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    Some(number(&system, "btime ")? + field(stat, 22)? / TICKS_PER_SECOND)
}

fn open_descriptors() -> Option<f64> {
    // Without the one that lists them.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_descriptors() -> Option<f64> {
    number(&read("limits"), "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 4200 1000";
        assert_eq!(processor_seconds(stat), Some(3.0));
        assert_eq!(field(stat, 22), Some(4200.0));
    }
}
