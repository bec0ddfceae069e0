use std::time::Duration;

/// Reads `500ms`, `5s`, `2m`, `1h` or `7d`; never nothing.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("expected a number with a unit: ms, s, m, h or d".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "expected a number before the unit".to_owned())?;
    match Duration::try_from_secs_f64(number * scale) {
        Ok(duration) if duration.is_zero() => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("is too long".to_owned()),
    }
}

/// The same, or nothing: `0` in any unit.
pub(crate) fn parse_or_zero(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0ms" | "0s" => Ok(Duration::ZERO),
        text => parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn nothing_is_a_duration_where_it_makes_sense() {
        assert_eq!(parse_or_zero("0ms"), Ok(Duration::ZERO));
        assert_eq!(parse_or_zero("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_or_zero("2"), parse("2"));
        assert!(parse_or_zero("2").unwrap_err().contains("with a unit"));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "0s", "-1s", "5 s", "1w", "1.2.3s", "99999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
