//! Numbers as people read them.

/// To three digits at least, with the unit that suits.
pub(super) fn time(micros: f64) -> String {
    match micros {
        _ if micros < 1.0 => format!("{:.0} ns", micros * 1e3),
        _ if micros < 10.0 => format!("{micros:.2} µs"),
        _ if micros < 100.0 => format!("{micros:.1} µs"),
        _ if micros < 1e3 => format!("{micros:.0} µs"),
        _ if micros < 1e4 => format!("{:.2} ms", micros / 1e3),
        _ if micros < 1e5 => format!("{:.1} ms", micros / 1e3),
        _ if micros < 1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// Whole, with commas between thousands.
pub(super) fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Short, for an axis: 250, 10k, 1.5M.
pub(super) fn short(number: f64) -> String {
    let (number, unit) = match number {
        _ if number >= 1e6 => (number / 1e6, "M"),
        _ if number >= 1e3 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = format!("{number:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Bytes in the largest unit that gives a whole number.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes} B"), |(unit, name)| format!("{} {name}", bytes / unit))
}

/// Steps of 1, 2 or 5 times a power of ten, about so many up to the number.
pub(super) fn steps(most: f64, about: usize) -> Vec<f64> {
    let rough = (most / about as f64).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (0..=(most / step).ceil() as usize).map(|number| number as f64 * step).collect()
}

/// A day and time of day in UTC.
pub(super) fn date(unix_s: u64) -> String {
    // Hinnant's `civil_from_days`, http://howardhinnant.github.io/date_algorithms.html
    let days = unix_s / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let minutes = unix_s % 86_400 / 60;
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_right() {
        assert_eq!(
            [0.25, 3.0, 42.0, 512.0, 5_250.0, 2_000_000.0].map(time),
            ["250 ns", "3.00 µs", "42.0 µs", "512 µs", "5.25 ms", "2.00 s"]
        );
        assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.4].map(whole), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 50.0, 2_500.0, 100_000.0, 1_500_000.0].map(short),
            ["0", "50", "2.5k", "100k", "1.5M"]
        );
        assert_eq!([100, 1_024, 1_500, 1 << 20].map(bytes), ["100 B", "1 KiB", "1500 B", "1 MiB"]);
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(1_709_210_096), "2024-02-29 12:34 UTC");
    }

    #[test]
    fn steps_reach_beyond_the_most_and_are_round() {
        assert_eq!(steps(90.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(steps(0.9, 2), [0.0, 0.5, 1.0]);
        assert!(steps(0.0, 5).len() < 3);
    }
}
