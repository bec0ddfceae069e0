use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const SIZES: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
/// `ms` before the others, which end in it.
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// The longest time, a year: instants that far ahead can be computed; ages ahead they cannot.
const MAX_TIME: Duration = Duration::from_hours(24 * 366);

/// A size as settings spell it: a whole number above 0, of bytes or with KiB, MiB or GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(
    /// In bytes.
    pub usize,
);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = SIZES.into_iter().find_map(|(name, shift)| Some((text.strip_suffix(name)?, shift)));
        let (digits, shift) = unit.unwrap_or((text, 0));
        let number: Option<usize> = digits.trim_end().parse().ok();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0);
        bytes.map(Self).ok_or_else(|| {
            "a size is a whole number above 0, of bytes or with KiB, MiB or GiB, such as 256MiB".to_owned()
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, shift): &(&str, u32)| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match SIZES.into_iter().find(whole) {
            Some((name, shift)) => write!(f, "{}{name}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A time as settings spell it: a whole number above 0 with ms, s, m or h, up to a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(
    /// In whole milliseconds.
    pub Duration,
);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = TIMES.into_iter().find_map(|(name, ms)| Some((text.strip_suffix(name)?, ms)));
        unit.and_then(|(digits, ms)| digits.trim_end().parse::<u64>().ok()?.checked_mul(ms))
            .map(Duration::from_millis)
            .filter(|time| !time.is_zero() && *time <= MAX_TIME)
            .map(Self)
            .ok_or_else(|| {
                "a time is a whole number above 0 with ms, s, m or h, up to a year, such as 500ms or 10s"
                    .to_owned()
            })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let whole = |(_, unit): &&(&str, u64)| ms.is_multiple_of(u128::from(*unit));
        let (name, unit) = TIMES.iter().rev().find(whole).unwrap_or(&TIMES[0]);
        write!(f, "{}{name}", ms / u128::from(*unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_shown_as_they_are_read() {
        for text in ["1", "1023", "1KiB", "1025", "4MiB", "1536KiB", "3GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["1ms", "999ms", "10s", "90s", "5m", "1h", "8784h"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert_eq!("1024 KiB".parse::<Size>().unwrap().to_string(), "1MiB");
        assert_eq!("60000ms".parse::<Time>().unwrap().to_string(), "1m");
    }

    #[test]
    fn a_size_or_time_of_nothing_or_beyond_all_is_refused() {
        for text in ["", "0", "0MiB", "-1", "4MB", "1.5GiB", "99999999999GiB"] {
            assert!(text.parse::<Size>().unwrap_err().contains("such as 256MiB"), "{text}");
        }
        for text in
            ["", "10", "0s", "-1s", "1.5s", "1d", "8785h", "99999999999999999999ms", "9999999999999999999h"]
        {
            assert!(text.parse::<Time>().unwrap_err().contains("such as 500ms or 10s"), "{text}");
        }
    }
}
