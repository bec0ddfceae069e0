//! Names and values as a person reads them.

use serde_json::Value;

const BYTES: [(u64, &str); 5] =
    [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
const TIMES: [(u64, &str); 5] =
    [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];

/// The value as it is, without quotes.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The name in words, and the value in the unit that the name ends in; nothing is rounded but the parts of a
/// second of a longer time.
pub(crate) fn for_people(name: &str, value: &Value) -> (String, String) {
    let (unit, number) = (name.rsplit_once('_'), value.as_u64());
    let (name, value) = match (unit, number, value) {
        (Some((name, "bytes")), Some(bytes), _) => (name, in_bytes(bytes)),
        (Some((name, "ms")), Some(ms), _) => (name, in_time(ms)),
        (Some((name, "us")), Some(micros), _) => (name, in_micros(micros)),
        (_, _, Value::Bool(true)) => (name, "yes".to_owned()),
        (_, _, Value::Bool(false)) => (name, "no".to_owned()),
        (_, _, value) => (name, text(value)),
    };
    (name.replace('_', " "), value)
}

/// In the largest unit that gives a whole number.
fn in_bytes(bytes: u64) -> String {
    let whole = BYTES.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "B"));
    format!("{} {name}", bytes / unit)
}

/// Milliseconds, in the two largest units that count.
pub(crate) fn in_time(ms: u64) -> String {
    let first = TIMES.iter().position(|(unit, _)| ms >= *unit).unwrap_or(TIMES.len() - 1);
    let mut left = if ms > 60_000 { ms - ms % 1_000 } else { ms };
    let mut parts = Vec::new();
    for (unit, name) in TIMES.into_iter().skip(first).take(2) {
        if left >= unit || parts.is_empty() {
            parts.push(format!("{} {name}", left / unit));
            left %= unit;
        }
    }
    parts.join(" ")
}

/// Microseconds, in the largest unit of which it is at least one.
pub(crate) fn in_micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{:03} ms", micros / 1_000, micros % 1_000),
        _ => format!("{}.{:03} s", micros / 1_000_000, micros / 1_000 % 1_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unit_goes_from_the_name_to_the_value() {
        for (name, value, expected) in [
            ("max_value_bytes", json!(4 << 20), ("max value", "4 MiB")),
            ("max_message_bytes", json!((17 << 20) + 1), ("max message", "17825793 B")),
            ("max_key_bytes", json!(4096), ("max key", "4 KiB")),
            ("free_bytes", json!(0), ("free", "0 B")),
            ("scan_idle_ms", json!(60_000), ("scan idle", "1 min")),
            ("scan_idle_ms", json!(1_500), ("scan idle", "1 s 500 ms")),
            ("uptime_ms", json!(0), ("uptime", "0 ms")),
            ("uptime_ms", json!(192_345), ("uptime", "3 min 12 s")),
            ("uptime_ms", json!(90_061_001), ("uptime", "1 d 1 h")),
            ("uptime_ms", json!(86_400_001), ("uptime", "1 d")),
            ("p50_us", json!(90), ("p50", "90 µs")),
            ("max_us", json!(1_050), ("max", "1.050 ms")),
            ("p99.9_us", json!(2_000_999), ("p99.9", "2.000 s")),
            ("open_scans", json!(3), ("open scans", "3")),
            ("expiry", json!(false), ("expiry", "no")),
            ("watch", json!(true), ("watch", "yes")),
            ("engine", json!("mem"), ("engine", "mem")),
        ] {
            let (name, value) = for_people(name, &value);
            assert_eq!((name.as_str(), value.as_str()), expected);
        }
    }
}
