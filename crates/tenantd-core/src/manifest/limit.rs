//! Resource limits as the manifest writes them: one value, or a soft and a hard limit.

use std::fmt;

use serde::{Serialize, Serializer};
use toml::de::DeValue;

use super::problem::Problems;
use super::reference::Kind;
use super::value::{At, Decode};

/// The units of a size, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A soft or a hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// A number, or a number of bytes.
    Number(u64),
    /// No limit (`RLIM_INFINITY`).
    Unlimited,
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Bound::Number(number) => serializer.serialize_u64(*number),
            Bound::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

/// A resource limit, see getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Limit {
    /// The limit that applies. The program may change it, up to the hard limit.
    pub soft: Bound,
    /// The maximum for the soft limit.
    pub hard: Bound,
}

/// A bound in the notation of the manifest.
struct Shown(Bound, Measure);

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A number of things, such as open files.
    Number,
    /// Bytes.
    Bytes,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Shown(Bound::Unlimited, _) => f.write_str("unlimited"),
            Shown(Bound::Number(number), Measure::Number) => write!(f, "{number}"),
            Shown(Bound::Number(0), Measure::Bytes) => f.write_str("0"),
            Shown(Bound::Number(bytes), Measure::Bytes) => {
                let whole = |(_, unit): &&(&str, u64)| bytes.is_multiple_of(*unit);
                let (unit, size) = UNITS.iter().find(whole).copied().unwrap_or(("B", 1));
                write!(f, "{} {unit}", bytes / size)
            }
        }
    }
}

impl Bound {
    /// The bound in the notation of the manifest.
    #[must_use]
    pub fn shown(self, measure: Measure) -> impl fmt::Display {
        Shown(self, measure)
    }
}

impl Limit {
    /// The limit in the notation of the manifest: one value, or `soft:hard`.
    #[must_use]
    pub fn shown(self, measure: Measure) -> String {
        let Limit { soft, hard } = self;
        match soft == hard {
            true => Shown(hard, measure).to_string(),
            false => format!("{}:{}", Shown(soft, measure), Shown(hard, measure)),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Decode for Size {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Kind::Size { min } = at.key.kind else {
            unreachable!("{} is a size", at.key.name)
        };
        let name = at.key.name;
        let bytes = match at.value.get_ref() {
            DeValue::Integer(integer) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
            DeValue::String(_) => size(at.text(problems, "a size")?.trim()),
            _ => {
                at.wrong_type(problems, "a size such as \"64 MiB\"");
                return None;
            }
        };
        // The kernel's sizes are signed.
        let Some(bytes) = bytes.filter(|bytes| i64::try_from(*bytes).is_ok()) else {
            let text = at.value.get_ref().as_str().unwrap_or_default();
            let problem = at.wrong(problems, format!("`{name}` is not a size"));
            if let Some(near) = near(text, Measure::Bytes).filter(|near| near != "unlimited") {
                problem.help(format!("did you mean \"{near}\"?"));
            }
            return None;
        };
        if bytes < min {
            let min = Bound::Number(min).shown(Measure::Bytes);
            at.wrong(problems, format!("`{name}` must be at least {min}"));
            return None;
        }
        Some(Size(bytes))
    }
}

impl Decode for Limit {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Kind::Limit { measure, min } = at.key.kind else {
            unreachable!("{} is a limit", at.key.name)
        };
        let expected = match measure {
            Measure::Number => "an integer or a string such as \"1024:65536\"",
            Measure::Bytes => "a size such as \"64 MiB\"",
        };
        let (soft, hard) = match at.value.get_ref() {
            DeValue::Integer(integer) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
                let number = number.and_then(|number| u64::try_from(number).ok());
                let Some(number) = number.filter(|number| *number != u64::MAX) else {
                    let message = format!("`{}` cannot be {}", at.key.name, integer.as_str());
                    at.wrong(problems, message);
                    return None;
                };
                (Bound::Number(number), Bound::Number(number))
            }
            DeValue::String(_) => {
                let text = at.text(problems, expected)?;
                let (soft, hard) = text.split_once(':').unwrap_or((text, text));
                let bound = |text, problems: &mut Problems| bound(at, measure, text, problems);
                (bound(soft, problems)?, bound(hard, problems)?)
            }
            _ => {
                at.wrong_type(problems, expected);
                return None;
            }
        };
        check(at, Limit { soft, hard }, (measure, min), problems)
    }
}

fn check(
    at: At<'_, '_>,
    limit: Limit,
    (measure, min): (Measure, u64),
    problems: &mut Problems,
) -> Option<Limit> {
    let name = at.key.name;
    if limit.soft > limit.hard {
        let message = format!("the soft limit of `{name}` exceeds the hard limit");
        let swapped = Limit {
            soft: limit.hard,
            hard: limit.soft,
        };
        let help = format!(
            "write the soft limit first: `{name} = \"{}\"`",
            swapped.shown(measure)
        );
        problems.report(&at.span(), message).help(help);
        return None;
    }
    if limit.soft < Bound::Number(min) {
        at.wrong(problems, format!("`{name}` must be at least {min}"));
        return None;
    }
    Some(limit)
}

fn bound(at: At<'_, '_>, measure: Measure, text: &str, problems: &mut Problems) -> Option<Bound> {
    let text = text.trim();
    let known = match (text, measure) {
        ("unlimited", _) => Some(Bound::Unlimited),
        (_, Measure::Number) => text.parse().ok().map(Bound::Number),
        (_, Measure::Bytes) => size(text).map(Bound::Number),
    };
    let known = known.filter(|bound| *bound != Bound::Number(u64::MAX));
    if known.is_none() {
        let message = match measure {
            Measure::Number => format!("{text:?} is neither a number nor \"unlimited\""),
            Measure::Bytes => format!("{text:?} is neither a size nor \"unlimited\""),
        };
        let problem = at.wrong(problems, message);
        if let Some(near) = near(text, measure) {
            problem.help(format!("did you mean \"{near}\"?"));
        }
    }
    known
}

/// Parses a number of bytes, or a number with one of the [`UNITS`].
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, unit) = text.split_at(text.len() - digits.len());
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start();
    let size = match unit {
        "" => 1,
        _ => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.checked_mul(size)
}

/// Suggests a correction of a size.
pub(super) fn near_size(text: &str) -> Option<String> {
    near(text, Measure::Bytes)
}

/// Suggests a correction for other spellings of "unlimited" and for units of other programs.
fn near(text: &str, measure: Measure) -> Option<String> {
    let lower = text.to_lowercase();
    if ["infinity", "infinite", "inf", "unlimited", "none", "-1"].contains(&lower.as_str()) {
        return Some("unlimited".to_owned());
    }
    let letters = lower.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = lower.strip_suffix(letters)?;
    let letter = letters.trim_start().chars().next()?;
    let (unit, _) = UNITS
        .iter()
        .find(|(unit, _)| unit.to_lowercase().starts_with(letter))?;
    let sized = measure == Measure::Bytes && !number.is_empty();
    sized.then(|| format!("{number} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_bytes_unless_they_have_a_unit() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("64 MiB", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("1 TiB", Some(1 << 40)),
            ("64M", None),
            ("64 MB", None),
            ("MiB", None),
            ("-1", None),
            ("1.5 GiB", None),
            ("99999999999 TiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn other_spellings_get_a_hint() {
        let near = |text| near(text, Measure::Bytes);
        assert_eq!(near("64M").as_deref(), Some("64 MiB"));
        assert_eq!(near("64 MB").as_deref(), Some("64 MiB"));
        assert_eq!(near("infinity").as_deref(), Some("unlimited"));
        assert_eq!(near("plenty"), None);
        assert_eq!(super::near("64k", Measure::Number), None);
    }

    #[test]
    fn limits_are_shown_as_they_are_written() {
        let shown = |soft, hard, measure| Limit { soft, hard }.shown(measure);
        let (few, many) = (Bound::Number(1024), Bound::Number(64 << 20));
        assert_eq!(shown(few, many, Measure::Number), "1024:67108864");
        assert_eq!(shown(few, many, Measure::Bytes), "1 KiB:64 MiB");
        assert_eq!(shown(few, few, Measure::Bytes), "1 KiB");
        let unlimited = Bound::Unlimited;
        assert_eq!(
            shown(Bound::Number(0), unlimited, Measure::Bytes),
            "0:unlimited"
        );
        assert_eq!(
            shown(Bound::Number(7), Bound::Number(7), Measure::Bytes),
            "7 B"
        );
    }
}
