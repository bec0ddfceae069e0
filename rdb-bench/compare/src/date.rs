use std::time::UNIX_EPOCH;

use rdb_engine_api::{Clock as _, SystemClock};

/// Today in UTC, as YYYY-MM-DD.
pub(crate) fn today() -> String {
    let since = SystemClock::new().wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    of_day(since.as_secs() / 86_400)
}

/// The date of a day since 1970-01-01: Howard Hinnant's `civil_from_days`, which counts years from March on.
fn of_day(days: u64) -> String {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_as_dates() {
        let expected =
            [(0, "1970-01-01"), (11_016, "2000-02-29"), (19_782, "2024-02-29"), (20_513, "2026-03-01")];
        for (days, date) in expected {
            assert_eq!(of_day(days), date);
        }
    }
}
