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
    let (name, value) = match (name.strip_suffix("_bytes"), name.strip_suffix("_ms"), value.as_u64()) {
        (Some(name), _, Some(bytes)) => (name, in_bytes(bytes)),
        (_, Some(name), Some(ms)) => (name, in_time(ms)),
        _ => match value {
            Value::Bool(true) => (name, "yes".to_owned()),
            Value::Bool(false) => (name, "no".to_owned()),
            value => (name, text(value)),
        },
    };
    (name.replace('_', " "), value)
}

/// In the largest unit that gives a whole number.
fn in_bytes(bytes: u64) -> String {
    let whole = BYTES.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "B"));
    format!("{} {name}", bytes / unit)
}

/// In the two largest units that count.
fn in_time(ms: u64) -> String {
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
