//! The value of `--since`: how long ago, or a time.

use std::str::FromStr;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// From when on lines are shown.
#[derive(Debug, Clone, Copy)]
pub struct Since(Form);

#[derive(Debug, Clone, Copy)]
enum Form {
    /// A time with its offset from UTC.
    Exact(Timestamp),
    /// A date, with or without a time, in the time zone of the output.
    Date(DateTime),
    /// A time of today.
    Today(Time),
    Ago(Span),
}

/// The text is neither a duration nor a time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "expected how long ago, as 10m, 2h or 1d, or a time, as 18:30, 2026-11-26, \
     \"2026-11-26 18:30\" or 2026-11-26T17:30:00Z"
)]
pub struct NoSince;

impl FromStr for Since {
    type Err = NoSince;

    fn from_str(text: &str) -> Result<Self, NoSince> {
        // First, because a date may have an offset too, which would be ignored.
        let exact = text.parse().map(Form::Exact);
        let date = || text.parse().map(Form::Date);
        let today = || text.parse().map(Form::Today);
        let is_clock = text.contains(':');
        let ago = || text.parse().map(Form::Ago);
        let form = exact.or_else(|_| date());
        let form = match is_clock {
            true => form.or_else(|_| today()),
            false => form.or_else(|_| ago()),
        };
        form.map(Self).map_err(|_| NoSince)
    }
}

impl Since {
    /// The moment that is meant, if it is now `now`.
    ///
    /// # Errors
    /// If it is out of the range of times.
    pub(in crate::cli) fn moment(
        self,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<Timestamp, jiff::Error> {
        let here = now.to_zoned(zone.clone());
        let zoned = match self.0 {
            Form::Exact(moment) => return Ok(moment),
            Form::Date(date) => date.to_zoned(zone.clone())?,
            Form::Today(time) => here.date().to_datetime(time).to_zoned(zone.clone())?,
            // `2h ago` is negative, `2h` is not: both are in the past.
            Form::Ago(span) => here.checked_sub(span.abs())?,
        };
        Ok(zoned.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_or_a_time_in_the_zone_of_the_output() {
        let now = "2026-11-26T17:30:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (typed, expected) in [
            ("10m", "2026-11-26T17:20:00Z"),
            ("2h", "2026-11-26T15:30:00Z"),
            ("1h30m", "2026-11-26T16:00:00Z"),
            ("1d", "2026-11-25T17:30:00Z"),
            ("2h ago", "2026-11-26T15:30:00Z"),
            ("18:00", "2026-11-26T17:00:00Z"),
            ("2026-11-25", "2026-11-24T23:00:00Z"),
            ("2026-11-25 18:00", "2026-11-25T17:00:00Z"),
            ("2026-11-25T18:00:30", "2026-11-25T17:00:30Z"),
            ("2026-11-25T18:00:00Z", "2026-11-25T18:00:00Z"),
            ("2026-11-25T18:00:00+02:00", "2026-11-25T16:00:00Z"),
        ] {
            let since: Since = typed.parse().unwrap_or_else(|_| panic!("{typed}"));
            let moment = since.moment(now, &zone).unwrap();
            assert_eq!(moment.to_string(), expected, "{typed}");
        }
        for wrong in ["", "ten", "10", "26.11.2026", "25:00"] {
            assert!(wrong.parse::<Since>().is_err(), "{wrong}");
        }
    }
}
