//! The values that a key can have, each decoded from TOML with its problems told.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use jiff::SignedDuration;
use nix::sys::signal;
use toml::Spanned;
use toml::de::DeValue;

use super::problem::{Problem, Problems, Span};
use super::reference::{Key, Kind};
use crate::name::AppName;

/// A value together with the key that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct At<'a, 's> {
    pub(super) key: &'static Key,
    pub(super) value: &'a Spanned<DeValue<'s>>,
}

impl<'a> At<'a, '_> {
    pub(super) fn span(&self) -> Span {
        self.value.span()
    }

    /// Reports a value that cannot be; help is the key's example.
    pub(super) fn wrong<'p>(
        &self,
        problems: &'p mut Problems,
        message: impl Into<String>,
    ) -> &'p mut Problem {
        let help = format!("such as `{}`", self.key.usage());
        problems.report(&self.span(), message).help(help)
    }

    pub(super) fn wrong_type(&self, problems: &mut Problems, expected: &str) {
        let found = type_words(self.value.get_ref());
        let message = format!("`{}` must be {expected}, not {found}", self.key.name);
        self.wrong(problems, message);
    }

    pub(super) fn text(&self, problems: &mut Problems, expected: &str) -> Option<&'a str> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.wrong_type(problems, expected);
            return None;
        };
        if text.contains('\0') {
            // No path, argument or environment can hold one: they end there, see execve(2).
            let message = format!("`{}` holds a NUL character", self.key.name);
            problems
                .report(&self.span(), message)
                .help("leave it out: texts end at a NUL where they reach the program");
            return None;
        }
        Some(text)
    }
}

/// What a TOML value is, in words.
pub(super) fn type_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What can be decoded from a TOML value. Without an answer, at least one problem was reported.
pub(super) trait Decode: Sized {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self>;
}

impl Decode for AppName {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a text")?;
        text.parse()
            .map_err(|why| {
                at.wrong(problems, format!("{text:?} cannot be the name: {why}"));
            })
            .ok()
    }
}

impl Decode for bool {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let flag = at.value.get_ref().as_bool();
        if flag.is_none() {
            at.wrong_type(problems, "true or false");
        }
        flag
    }
}

impl Decode for u32 {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Kind::Count { min, max } = at.key.kind else {
            unreachable!("{} is a count", at.key.name)
        };
        let DeValue::Integer(integer) = at.value.get_ref() else {
            at.wrong_type(problems, "a whole number");
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|n| u32::try_from(n).ok());
        let within = number.filter(|n| (min..=max).contains(n));
        if within.is_none() {
            let message = format!("`{}` must lie between {min} and {max}", at.key.name);
            at.wrong(problems, message);
        }
        within
    }
}

impl Decode for Duration {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Kind::Duration { min, max } = at.key.kind else {
            unreachable!("{} is a duration", at.key.name)
        };
        let text = at.text(problems, "a length of time")?;
        let Some(duration) = duration(text) else {
            at.wrong(problems, format!("{text:?} is no length of time"));
            return None;
        };
        let limits = duration_limits(min, max);
        if !limits.contains(&duration) {
            let message = format!("`{}` must lie between {min} and {max}", at.key.name);
            at.wrong(problems, message);
            return None;
        }
        Some(duration)
    }
}

/// A length of time in jiff's friendly format, such as `1m 30s`.
fn duration(text: &str) -> Option<Duration> {
    // Days are no unit of SignedDuration, since they can be of unequal length; here they are not.
    if let Some(days) = text.strip_suffix('d').and_then(|n| n.parse::<u64>().ok()) {
        return days.checked_mul(86_400).map(Duration::from_secs);
    }
    let signed = SignedDuration::from_str(text).ok()?;
    Duration::try_from(signed).ok()
}

fn duration_limits(min: &str, max: &str) -> std::ops::RangeInclusive<Duration> {
    let limit = |text| duration(text).expect("the limits of the reference are durations");
    limit(min)..=limit(max)
}

impl Decode for Ipv4Addr {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "an IPv4 address")?;
        let address = text.parse().ok();
        if address.is_none() {
            let message = if text.parse::<Ipv6Addr>().is_ok() {
                format!("{text:?} is an IPv6 address, and tenantd knows only IPv4 so far")
            } else {
                format!("{text:?} is no IPv4 address")
            };
            at.wrong(problems, message);
        }
        address
    }
}

impl Decode for Ipv4Network {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "an IPv4 network")?;
        let network = text.parse::<Ipv4Network>().ok();
        // The crate takes an address alone for a network of one.
        let network = network.filter(|_| text.contains('/'));
        if network.is_none() {
            at.wrong(problems, format!("{text:?} is no IPv4 network"));
        }
        network
    }
}

/// A user or group, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// By name.
    Name(String),
    /// By number.
    Number(u32),
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Account::Name(name) => f.pad(name),
            Account::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Decode for Account {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let digits = match at.value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::String(_) => at.text(problems, "a name or a number")?,
            _ => {
                at.wrong_type(problems, "a name or a number");
                return None;
            }
        };
        if digits.is_empty() {
            at.wrong(problems, format!("`{}` is empty", at.key.name));
            return None;
        }
        if !digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<i128>().is_err() {
            return Some(Account::Name(digits.to_owned()));
        }
        // The last number stands for "no change" in setresuid(2) and chown(2).
        let number = digits.parse().ok().filter(|number| *number != u32::MAX);
        if number.is_none() {
            let message = format!("{digits} is no number that a user or group can have");
            at.wrong(problems, message);
        }
        number.map(Account::Number)
    }
}

/// Permissions of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions(pub u32);

impl Decode for Permissions {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a text of octal digits")?;
        let digits = text.len() <= 5 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits);
        let Some(mode) = mode.filter(|mode| *mode <= 0o7777) else {
            let message = format!("{text:?} are no permissions: three or four octal digits are");
            at.wrong(problems, message);
            return None;
        };
        if mode & 0o700 != 0o700 {
            let message = format!("with permissions {text}, the datastore's owner cannot use it");
            at.wrong(problems, message);
            return None;
        }
        Some(Permissions(mode))
    }
}

/// A signal by number, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its number on this machine.
    pub number: i32,
    /// Such as `SIGTERM`.
    pub name: &'static str,
}

impl Decode for Signal {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "the name of a signal")?;
        if let Ok(signal) = text.parse::<signal::Signal>() {
            return Some(Signal {
                number: signal as i32,
                name: signal.as_str(),
            });
        }
        let upper = text.trim().to_uppercase();
        let near = [upper.clone(), format!("SIG{upper}")]
            .into_iter()
            .find(|name| name.parse::<signal::Signal>().is_ok());
        let problem = at.wrong(problems, format!("{text:?} is no signal"));
        if let Some(near) = near {
            problem.help(format!("did you mean `{near}`?"));
        }
        None
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$word_doc])* $variant,)* }

        impl Decode for $name {
            fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
                match one_of(at, problems)? {
                    $($word => Some($name::$variant),)*
                    word => unreachable!("{word} is a choice of {}", at.key.name),
                }
            }
        }
    };
}

choice! {
    /// How tenants are connected.
    Mode {
        /// A link of its own each.
        Routed = "routed",
        /// A port of one bridge each.
        Bridge = "bridge",
    }
}

choice! {
    /// When a program that ended is started again.
    When {
        /// However it ended.
        Always = "always",
        /// If it failed.
        OnFailure = "on-failure",
        /// Not at all.
        Never = "never",
    }
}

fn one_of<'a>(at: At<'a, '_>, problems: &mut Problems) -> Option<&'a str> {
    let Kind::Choice(words) = at.key.kind else {
        unreachable!("{} is a choice", at.key.name)
    };
    let text = at.text(problems, "a text")?;
    if words.contains(&text) {
        return Some(text);
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let help = format!("one of {}", quoted.join(", "));
    let message = format!("`{}` cannot be {text:?}", at.key.name);
    problems.report(&at.span(), message).help(help);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_friendly() {
        let seconds = |text| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("1m 30s"), Some(90.0));
        assert_eq!(seconds("100ms"), Some(0.1));
        assert_eq!(seconds("7d"), Some(604_800.0));
        for wrong in ["", "10", "-1s", "ten seconds", "9999999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
