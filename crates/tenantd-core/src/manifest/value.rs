//! The types of values that a key can have, and how each is decoded from TOML.

mod address;
mod cgroup;
mod exits;
mod guard;
mod interface;
mod mac;
mod names;
mod permissions;
mod privileges;
mod probe;
mod rate;
mod rights;
mod sysctls;
mod traffic;
mod uids;

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
use super::suggest::retyped;
use crate::name::AppName;

pub use address::Ips;
pub use exits::ProgramExit;
pub use guard::Guard;
pub use interface::Interface;
pub use mac::Mac;
pub use names::{NameFile, NameServer};
pub use permissions::{FileMode, Permissions};
pub use probe::{Argv, HttpPath};
pub use rate::{Rate, Rates};
pub use sysctls::Sysctls;
pub use traffic::{EgressRule, Exposed, Firewall, Outbound, Peer, Protocol, Publish, Service};
pub use uids::UidRange;

/// A value of the manifest, with its key.
#[derive(Clone, Copy)]
pub(super) struct At<'a, 's> {
    pub(super) key: &'static Key,
    pub(super) value: &'a Spanned<DeValue<'s>>,
}

impl<'a> At<'a, '_> {
    pub(super) fn span(&self) -> Span {
        self.value.span()
    }

    /// Reports an invalid value. The help text shows the example of the key.
    pub(super) fn wrong<'p>(
        &self,
        problems: &'p mut Problems,
        message: impl Into<String>,
    ) -> &'p mut Problem {
        let help = format!("for example `{}`", self.key.usage());
        problems.report(&self.span(), message).help(help)
    }

    pub(super) fn wrong_type(&self, problems: &mut Problems, expected: &str) {
        let found = type_words(self.value.get_ref());
        let message = format!("`{}` must be {expected}, not {found}", self.key.name);
        let problem = self.wrong(problems, message);
        if let Some(right) = retyped(self.key, self.value.get_ref()) {
            problem.help(format!("write `{right}`"));
        }
    }

    pub(super) fn text(&self, problems: &mut Problems, expected: &str) -> Option<&'a str> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.wrong_type(problems, expected);
            return None;
        };
        if text.contains('\0') {
            // Paths, arguments and environment variables end at a NUL, see execve(2).
            let message = format!("`{}` contains a NUL character", self.key.name);
            problems
                .report(&self.span(), message)
                .help("remove it: a string that is passed to a program ends at the first NUL");
            return None;
        }
        Some(text)
    }
}

/// The type of a TOML value, as messages name it.
pub(super) fn type_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A type that can be decoded from a TOML value. `None` means that a problem has been reported.
pub(super) trait Decode: Sized {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self>;
}

impl Decode for AppName {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a string")?;
        text.parse()
            .map_err(|why: crate::name::NameError| {
                let message = format!("{text:?} is not a valid name");
                at.wrong(problems, message).note(why.to_string());
            })
            .ok()
    }
}

impl Decode for bool {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let flag = at.value.get_ref().as_bool();
        if flag.is_none() {
            at.wrong_type(problems, "`true` or `false`");
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
            at.wrong_type(problems, "an integer");
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|n| u32::try_from(n).ok());
        let within = number.filter(|n| (min..=max).contains(n));
        if within.is_none() {
            let message = format!("`{}` must be between {min} and {max}", at.key.name);
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
        let text = at.text(problems, "a duration")?;
        let Some(duration) = duration(text) else {
            at.wrong(problems, format!("{text:?} is not a duration"));
            return None;
        };
        let limits = duration_limits(min, max);
        if !limits.contains(&duration) {
            let message = format!("`{}` must be between {min} and {max}", at.key.name);
            at.wrong(problems, message);
            return None;
        }
        Some(duration)
    }
}

/// Parses a duration in jiff's friendly format, such as `1m 30s`.
fn duration(text: &str) -> Option<Duration> {
    // SignedDuration has no days, because their length can vary; here a day always has 24 hours.
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
                format!("{text:?} is an IPv6 address, not an IPv4 address")
            } else {
                format!("{text:?} is not an IPv4 address")
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
        // ipnetwork accepts a bare address as a network of one address.
        let network = network.filter(|_| text.contains('/'));
        if network.is_none() {
            at.wrong(problems, format!("{text:?} is not an IPv4 network"));
        }
        network
    }
}

/// A user or group, by name or number.
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
        // The highest number means "no change" to setresuid(2) and chown(2).
        let number = digits.parse().ok().filter(|number| *number != u32::MAX);
        if number.is_none() {
            let message = format!("{digits} is not a valid user or group number");
            at.wrong(problems, message);
        }
        number.map(Account::Number)
    }
}

impl Decode for Vec<Spanned<Account>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of names or numbers");
            return None;
        };
        // The others too, so that each problem is reported.
        let valid = array.iter().filter_map(|value| {
            let account = Account::decode(At { value, ..at }, problems)?;
            Some(Spanned::new(value.span(), account))
        });
        Some(valid.collect())
    }
}

/// A signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its number on this architecture.
    pub number: i32,
    /// Its name, such as `SIGTERM`.
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
        let problem = at.wrong(problems, format!("{text:?} is not a signal"));
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
    /// How tenants are connected to the host.
    Mode {
        /// Each tenant has a link of its own.
        Routed = "routed",
        /// Each tenant is a port of one bridge.
        Bridge = "bridge",
        /// Each tenant is a macvlan of an interface of the host.
        Macvlan = "macvlan",
    }
}

choice! {
    /// What tenants may do with the files of the host.
    HostAccess {
        /// Read them.
        ReadOnly = "read-only",
        /// Write wherever their user can.
        Writable = "writable",
    }
}

choice! {
    /// When a program that exited is started again.
    When {
        /// Always.
        Always = "always",
        /// Unless it exited with status 0.
        OnFailure = "on-failure",
        /// Never.
        Never = "never",
    }
}

choice! {
    /// What a new folder contains.
    Seed {
        /// Nothing.
        Empty = "empty",
        /// A copy of the host's folder.
        Copy = "copy",
        /// The host's folder, with the tenant's changes over it.
        Overlay = "overlay",
    }
}

pub(super) fn one_of<'a>(at: At<'a, '_>, problems: &mut Problems) -> Option<&'a str> {
    let (Kind::Choice(words) | Kind::Choices(words)) = at.key.kind else {
        unreachable!("{} is a choice", at.key.name)
    };
    let text = at.text(problems, "a string")?;
    if words.contains(&text) {
        return Some(text);
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let help = format!("use one of {}", quoted.join(", "));
    let message = format!("`{}` cannot be {text:?}", at.key.name);
    problems.report(&at.span(), message).help(help);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_accept_common_units() {
        let seconds = |text| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("1m 30s"), Some(90.0));
        assert_eq!(seconds("100ms"), Some(0.1));
        assert_eq!(seconds("7d"), Some(604_800.0));
        let wrong = ["", "10", "-1s", "ten seconds", "9999999999999999999d"];
        assert_eq!(wrong.map(seconds), [None; 5]);
    }
}
