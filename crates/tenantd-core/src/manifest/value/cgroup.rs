//! Limits of a cgroup, in the units that people use.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{At, Decode};
use crate::cgroup::{Form, GroupValue, PERIOD, is_device_number, numbers};
use crate::manifest::limit::{near_size, size};
use crate::manifest::problem::Problems;
use crate::manifest::reference::Kind;

/// The least part of a processor: the kernel refuses quotas below one millisecond.
const LEAST: u64 = 1000;

/// From this on, a number of processors is taken for a percentage without its sign.
const MISTAKEN: u64 = 25;

/// The most processes that the kernel has: `PID_MAX_LIMIT`.
const PID_MAX: u64 = 4_194_304;

/// The least quota of a datastore in bytes.
const LEAST_SPACE: u64 = 1 << 20;

/// The keys of a device in `io.max`.
const RATES: [&str; 4] = ["rbps", "riops", "wbps", "wiops"];

impl Decode for GroupValue {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Kind::Group(form) = at.key.kind else {
            unreachable!("{} is a limit of a cgroup", at.key.name)
        };
        match form {
            Form::Bytes => bytes(at, problems).map(Self::one),
            Form::Count => count(at, PID_MAX, problems).map(Self::one),
            Form::Quota => quota(at, problems).map(Self::one),
            Form::Weight => weight(at, problems).map(Self::one),
            Form::List => list(at, problems).map(Self::one),
            Form::Flag => {
                bool::decode(at, problems).map(|flag| Self::one(u8::from(flag).to_string()))
            }
            Form::Devices => devices(at, problems).map(Self),
            Form::Pages => pages(at, problems).map(Self),
            Form::Space => space(at, problems).map(Self::one),
            Form::Files => count(at, u64::from(u32::MAX), problems).map(Self::one),
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// Reports a value of a wrong type.
fn is_number(at: At<'_, '_>, expected: &str, problems: &mut Problems) -> Option<()> {
    match at.value.get_ref() {
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::String(_) => Some(()),
        _ => {
            at.wrong_type(problems, expected);
            None
        }
    }
}

fn bytes(at: At<'_, '_>, problems: &mut Problems) -> Option<String> {
    let found = match at.value.get_ref() {
        DeValue::Integer(_) => integer(at.value.get_ref()),
        DeValue::String(_) => match at.text(problems, "a size")?.trim() {
            "unlimited" => return Some("max".to_owned()),
            text => size(text),
        },
        _ => {
            at.wrong_type(problems, "a size such as \"512 MiB\"");
            return None;
        }
    };
    // The kernel's sizes are signed.
    let found = found.filter(|bytes| i64::try_from(*bytes).is_ok());
    if found.is_none() {
        let text = at.value.get_ref().as_str().unwrap_or_default();
        let message = format!("`{}` is neither a size nor \"unlimited\"", at.key.name);
        let problem = at.wrong(problems, message);
        if let Some(near) = near_size(text) {
            problem.help(format!("did you mean \"{near}\"?"));
        }
    }
    found.map(|bytes| bytes.to_string())
}

/// A quota of less than a mebibyte would be used up by the folders of a datastore; 0 means no quota to the kernel.
fn space(at: At<'_, '_>, problems: &mut Problems) -> Option<String> {
    let found = bytes(at, problems)?;
    if found.parse().is_ok_and(|bytes: u64| bytes < LEAST_SPACE) {
        let message = format!("`{}` must be at least 1 MiB, or \"unlimited\"", at.key.name);
        at.wrong(problems, message);
        return None;
    }
    Some(found)
}

fn count(at: At<'_, '_>, most: u64, problems: &mut Problems) -> Option<String> {
    if at.value.get_ref().as_str() == Some("unlimited") {
        return Some("max".to_owned());
    }
    is_number(at, "an integer", problems)?;
    let found = integer(at.value.get_ref()).filter(|number| (1..=most).contains(number));
    if found.is_none() {
        let message = format!(
            "`{}` must be an integer from 1 to {most}, or \"unlimited\"",
            at.key.name
        );
        at.wrong(problems, message);
    }
    found.map(|number| number.to_string())
}

/// Thousandths of a number such as `150`, `2.5` or `0.125`.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 3 {
        return None;
    }
    let rest: u64 = format!("{rest:0<3}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(rest)
}

/// A percentage of one processor, or a number of processors, as `cpu.max` has it.
fn quota(at: At<'_, '_>, problems: &mut Problems) -> Option<String> {
    is_number(at, "a percentage", problems)?;
    let processors = |text: &str| Some(thousandths(text)?.checked_mul(PERIOD)? / 1000);
    let found = match at.value.get_ref() {
        DeValue::String(text) if text.trim() == "unlimited" => {
            return Some(format!("max {PERIOD}"));
        }
        DeValue::String(text) => {
            let percent = text.trim().strip_suffix('%').map(str::trim);
            percent.and_then(|percent| Some(processors(percent)? / 100))
        }
        DeValue::Float(number) => processors(number.as_str()),
        DeValue::Integer(number) => processors(number.as_str()).filter(|_| number.radix() == 10),
        _ => None,
    };
    let found = found.filter(|quota| (LEAST..=4096 * PERIOD).contains(quota));
    let text = at.value.get_ref().as_str();
    if let Some(number) = found.filter(|quota| text.is_none() && *quota >= MISTAKEN * PERIOD) {
        let number = number / PERIOD;
        let message = format!(
            "`{}` is a number of processors: {number} of them",
            at.key.name
        );
        let help = format!(
            "write \"{number} %\" for a percentage of one, or \"{number}00 %\" for {number} processors"
        );
        problems.report(&at.span(), message).help(help);
        return None;
    }
    let Some(found) = found else {
        let message = format!(
            "`{}` must be a percentage of one processor such as \"150 %\", a number of processors such \
             as 1.5, or \"unlimited\"",
            at.key.name
        );
        at.wrong(problems, message)
            .note("the least is \"1 %\", and the most 4096 processors");
        return None;
    };
    Some(format!("{found} {PERIOD}"))
}

fn weight(at: At<'_, '_>, problems: &mut Problems) -> Option<String> {
    is_number(at, "an integer", problems)?;
    let found = integer(at.value.get_ref()).filter(|number| (1..=10_000).contains(number));
    if found.is_none() {
        let message = format!("`{}` must be an integer from 1 to 10000", at.key.name);
        at.wrong(problems, message);
    }
    found.map(|number| number.to_string())
}

fn list(at: At<'_, '_>, problems: &mut Problems) -> Option<String> {
    let text = at.text(problems, "a list such as \"0-3,8\"")?;
    let found = numbers(text).filter(|numbers| !numbers.is_empty());
    if found.is_none() {
        let message = format!("{text:?} is not a list of numbers and ranges such as \"0-3,8\"");
        at.wrong(problems, message);
    }
    found.map(|_| text.to_owned())
}

fn table<'v, 's>(
    at: At<'v, 's>,
    expected: &str,
    problems: &mut Problems,
) -> Option<&'v DeTable<'s>> {
    let table = at.value.get_ref().as_table();
    if table.is_none() {
        at.wrong_type(problems, expected);
    }
    table
}

fn pages(at: At<'_, '_>, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (name, value) in table(at, "a table of sizes", problems)? {
        let text = name.get_ref();
        let number = text.trim_end_matches("KB").trim_end_matches("MB");
        let number = number.trim_end_matches("GB");
        if number.len() + 2 != text.len() || !number.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("{text:?} is not a size of huge pages");
            let problem = problems.report(&Spanned::span(name), message);
            problem.help("the kernel's names of sizes are such as `2MB` and `1GB`");
            return None;
        }
        all.insert(text.to_string(), bytes(At { value, ..at }, problems)?);
    }
    Some(all)
}

fn devices(at: At<'_, '_>, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (name, value) in table(at, "a table of devices", problems)? {
        let device = name.get_ref();
        if !(device.starts_with("/dev/") || is_device_number(device)) {
            let message =
                format!("{device:?} is neither the path nor the number of a block device");
            let problem = problems.report(&Spanned::span(name), message);
            problem.help(format!("for example `{}`", at.key.usage()));
            return None;
        }
        let mut rates = BTreeMap::new();
        for (key, value) in table(At { value, ..at }, "a table of rates", problems)? {
            let Some(known) = RATES.iter().find(|known| *known == key.get_ref()) else {
                let message = format!("unknown key `{}` in `{}`", key.get_ref(), at.key.name);
                let problem = problems.report(&Spanned::span(key), message);
                problem.help("valid keys are `rbps` and `wbps` (bytes a second), `riops` and `wiops` (operations a second)");
                return None;
            };
            let one = At { value, ..at };
            let rate = match known.ends_with("bps") {
                true => bytes(one, problems)?,
                false => count(one, u64::from(u32::MAX), problems)?,
            };
            rates.insert(*known, rate);
        }
        let each = RATES.iter().map(|key| {
            let rate = rates.get(key).map_or("max", String::as_str);
            format!("{key}={rate}")
        });
        all.insert(device.to_string(), each.collect::<Vec<_>>().join(" "));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_processors_are_exact() {
        for (text, found) in [
            ("150", Some(150_000)),
            ("0.125", Some(125)),
            ("2.5", Some(2500)),
            ("1.", None),
            (".5", None),
            ("1.2345", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(thousandths(text), found, "{text}");
        }
    }
}
