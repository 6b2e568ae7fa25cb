//! Rates of a link.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use toml::Spanned;
use toml::de::DeValue;

use super::{At, Decode};
use crate::manifest::problem::Problems;

/// The least rate in bits a second.
const MIN: u64 = 64_000;

/// The highest rate in bits a second.
const MAX: u64 = 32_000_000_000;

/// The word for no limit.
const UNLIMITED: &str = "unlimited";

/// The units, the largest first.
const UNITS: [(&str, u64); 4] = [
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1_000),
    ("bit/s", 1),
];

/// A number of bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// The number of bits a second.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// A rate of a number of bytes a second.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Self {
        Self(bytes.saturating_mul(8))
    }
}

impl FromStr for Rate {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.len()
            - text
                .trim_start_matches(|it: char| it.is_ascii_digit())
                .len();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let found = UNITS.iter().find(|(name, _)| {
            let short = name.trim_end_matches("/s");
            unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(short)
        });
        let bits = number.parse::<u64>().ok().zip(found);
        let bits = bits.and_then(|(number, (_, factor))| number.checked_mul(*factor));
        bits.map(Self).ok_or(())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor));
        let (unit, factor) = whole.copied().unwrap_or(("bit/s", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The rates of both directions. `None` where the manifest says nothing, `Some(None)` where it says that there is no
/// limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// What a tenant receives.
    pub inward: Option<Option<Rate>>,
    /// What it sends.
    pub outward: Option<Option<Rate>>,
}

fn one(at: At<'_, '_>, problems: &mut Problems) -> Option<Option<Rate>> {
    let text = at.text(problems, "a rate such as `\"100 Mbit/s\"`")?;
    if text == UNLIMITED {
        return Some(None);
    }
    let Ok(rate) = text.parse::<Rate>() else {
        let problem = at.wrong(problems, format!("{text:?} is not a rate"));
        problem.note("the units are bit/s, kbit/s, Mbit/s and Gbit/s: Mbps may mean bits or bytes");
        return None;
    };
    if !(MIN..=MAX).contains(&rate.0) {
        let (min, max) = (Rate(MIN), Rate(MAX));
        at.wrong(
            problems,
            format!("the rate {rate} is not from {min} to {max}"),
        );
        return None;
    }
    Some(Some(rate))
}

impl Decode for Rates {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let table = match at.value.get_ref() {
            DeValue::String(_) => {
                let both = one(at, problems)?;
                return Some(Self {
                    inward: Some(both),
                    outward: Some(both),
                });
            }
            DeValue::Table(table) => table,
            _ => {
                at.wrong_type(problems, "a string or a table");
                return None;
            }
        };
        let mut rates = Self::default();
        let before = problems.len();
        for (name, value) in table {
            let rate = one(At { value, ..at }, problems);
            match &**name.get_ref() {
                "in" => rates.inward = rate,
                "out" => rates.outward = rate,
                other => {
                    let span = Spanned::span(name);
                    let problem =
                        problems.report(&span, format!("unknown key `{other}` in `rate`"));
                    problem.help(
                        "valid keys are `in` (what the tenant receives) and `out` (what it sends)",
                    );
                }
            }
        }
        (problems.len() == before).then_some(rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, bits, shown) in [
            ("100 Mbit/s", 100_000_000, "100 Mbit/s"),
            ("100mbit", 100_000_000, "100 Mbit/s"),
            ("1500 kbit/s", 1_500_000, "1500 kbit/s"),
            ("2000 Mbit/s", 2_000_000_000, "2 Gbit/s"),
            ("64001 bit/s", 64_001, "64001 bit/s"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.bits(), rate.to_string().as_str()), (bits, shown));
        }
        for text in [
            "",
            "100",
            "Mbit/s",
            "100 Mbps",
            "1.5 Gbit/s",
            "-1 bit/s",
            "99999999999 Gbit/s",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
