//! Ranges of user numbers.

use super::{At, Decode};
use crate::manifest::problem::Problems;

/// Numbers for the users of tenants, each of which is a group too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidRange {
    /// The first number.
    pub first: u32,
    /// The last number, which is not less.
    pub last: u32,
}

/// The least number: lower ones are those of the system, see login.defs(5).
const MIN: u32 = 1000;

/// Numbers that nobody else may use, and what they are for. See the `UIDS-GIDS` document of systemd.
const RESERVED: [(u32, u32, &str); 3] = [
    (61184, 65519, "for DynamicUser= of systemd"),
    (65534, 65535, "`nobody` and an invalid user"),
    (0x8000_0000, u32::MAX, "negative to some programs"),
];

impl UidRange {
    /// Reads `FIRST-LAST`.
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let (first, last) = text.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some(Self { first, last })
    }
}

impl std::fmt::Display for UidRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, last } = self;
        write!(f, "{first}-{last}")
    }
}

impl Decode for UidRange {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a string such as \"70000-99999\"")?;
        let Some(range) = Self::parse(text) else {
            let message = format!("{text:?} is not a range of user numbers");
            at.wrong(problems, message);
            return None;
        };
        let mut reserved = RESERVED.iter();
        let meets = reserved.find(|(first, last, _)| range.first <= *last && *first <= range.last);
        if let Some((first, last, what)) = meets {
            let message = format!("{range} contains numbers from {first} to {last}: {what}");
            at.wrong(problems, message);
            return None;
        }
        if range.first < MIN {
            let message = format!("{range} contains numbers below {MIN}, which are the system's");
            at.wrong(problems, message);
            return None;
        }
        Some(range)
    }
}
