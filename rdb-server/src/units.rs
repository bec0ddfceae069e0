use std::time::Duration;

/// Reads a size in bytes: a number, and KiB, MiB or GiB where it is not in bytes.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let unit = units.into_iter().find_map(|(name, shift)| Some((text.strip_suffix(name)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let number: Option<usize> = digits.trim_end().parse().ok();
    number.and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0).ok_or_else(|| {
        "a size is a whole number above 0, of bytes or with KiB, MiB or GiB, such as 256MiB".to_owned()
    })
}

/// Reads a time: a number with ms, s or m.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    // Longest first: the others end in it.
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000)];
    let unit = units.into_iter().find_map(|(name, ms)| Some((text.strip_suffix(name)?, ms)));
    unit.and_then(|(digits, ms)| digits.trim_end().parse::<u64>().ok()?.checked_mul(ms))
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| "a time is a whole number above 0 with ms, s or m, such as 500ms or 10s".to_owned())
}
