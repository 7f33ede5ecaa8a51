//! Numbers for people.

/// A number with four or five figures, in powers of ten where it is very large or small.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == value.trunc() && size < 1e9 {
        return format!("{value}");
    }
    if !value.is_finite() {
        return value.to_string();
    }
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.3e}");
        let (figures, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", short(figures));
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    short(&format!("{value:.decimals$}")).to_owned()
}

/// Without zeros at the end of a fraction.
fn short(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// Seconds as `1h 2m 3s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs(seconds.max(0.0).round() as u64);
    humantime::format_duration(whole).to_string()
}

/// When the year 10000 begins, in Unix seconds: RFC 3339 has no years of five figures.
const YEAR_10000: u64 = 253_402_300_800;

/// A time in UTC.
pub fn time(unix_seconds: u64) -> String {
    let since = std::time::Duration::from_secs(unix_seconds);
    match std::time::UNIX_EPOCH.checked_add(since) {
        Some(time) if unix_seconds < YEAR_10000 => {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_figures_that_matter() {
        let cases = [
            (0.0, "0"),
            (-3.0, "-3"),
            (0.019_999_99, "0.02"),
            (0.001_25, "0.00125"),
            (1.25e-5, "1.25e-5"),
            (-292.84, "-292.8"),
            (123_456.7, "123457"),
            (1e12, "1e12"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn times_without_a_name_are_unknown() {
        assert_eq!(time(YEAR_10000 - 1), "9999-12-31T23:59:59Z");
        assert_eq!([time(YEAR_10000), time(u64::MAX)], ["unknown"; 2]);
    }
}
