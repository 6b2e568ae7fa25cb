//! Durations in the notation of systemd.time(7) and of the manifest.

use std::time::Duration;

/// A duration, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Unlimited,
    Limited(Duration),
}

/// Reads a duration such as `5min 20s`; a number alone is one of seconds.
pub(super) fn span(text: &str) -> Option<Span> {
    if text.trim() == "infinity" {
        return Some(Span::Unlimited);
    }
    let mut sum = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        sum += number * seconds(&rest[..end])?;
        rest = rest[end..].trim_start();
    }
    Duration::try_from_secs_f64(sum).ok().map(Span::Limited)
}

fn seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" | "usec" | "µs" => 1e-6,
        "ms" | "msec" => 1e-3,
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// A duration in the notation of the manifest.
pub(super) fn said(duration: Duration) -> String {
    jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let limited = |seconds| Some(Span::Limited(Duration::from_secs_f64(seconds)));
        assert_eq!(span("90"), limited(90.0));
        assert_eq!(span("5min 20s"), limited(320.0));
        assert_eq!(span("1h30min"), limited(5400.0));
        assert_eq!(span("500 ms"), limited(0.5));
        assert_eq!(span("0"), limited(0.0));
        assert_eq!(span("infinity"), Some(Span::Unlimited));
        for bad in ["", "x", "5 parsecs", "1..2", "-1"] {
            assert_eq!(span(bad), None, "{bad}");
        }
        assert_eq!(said(Duration::from_secs(90)), "1m 30s");
    }
}
