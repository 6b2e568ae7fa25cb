//! Attributes of processes as the manifest writes them.

use toml::de::DeValue;

use super::problem::Problems;
use super::reference::Kind;
use super::value::{At, Decode};

/// An integer that may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer(pub i32);

impl Decode for Integer {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Kind::Integer { min, max } = at.key.kind else {
            unreachable!("{} is an integer", at.key.name)
        };
        let DeValue::Integer(integer) = at.value.get_ref() else {
            at.wrong_type(problems, "an integer");
            return None;
        };
        let number = i32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let within = number.filter(|number| (min..=max).contains(number));
        if within.is_none() {
            let message = format!("`{}` must be between {min} and {max}", at.key.name);
            at.wrong(problems, message);
        }
        within.map(Integer)
    }
}

/// A file mode creation mask, see umask(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(pub u32);

impl Decode for Umask {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a string of octal digits")?;
        let digits =
            (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mask = u32::from_str_radix(text, 8).ok().filter(|_| digits);
        let Some(mask) = mask.filter(|mask| *mask <= 0o777) else {
            let message = format!("{text:?} is not a mask of 3 or 4 octal digits");
            at.wrong(problems, message);
            return None;
        };
        if mask & 0o700 != 0 {
            let message = format!("the mask {text} denies the program access to its own files");
            at.wrong(problems, message);
            return None;
        }
        Some(Umask(mask))
    }
}
