//! Limits as they are typed for one running tenant: `memory.max=1GiB`. Keys and values are those of the manifest.

use super::limits;
use crate::cgroup::by_hand::Typed;
use crate::cgroup::{GroupKey, GroupLimits, is_device_number};
use crate::manifest::edit::{self, EditError};
use crate::manifest::limits_of;
use crate::manifest::problem::Problems;
use crate::name::TenantName;

/// The most limits that are read at a time.
const MOST: usize = 64;

/// The longest text of one limit, in bytes.
const LONGEST: usize = 1024;

/// The limits that these texts set or take back.
///
/// # Errors
/// Why one of them is none, for a person. None of them is to be set then.
pub fn read(all: &[String]) -> Result<Vec<Typed>, String> {
    if all.len() > MOST {
        return Err(format!("more than {MOST} limits at a time"));
    }
    let mut typed = Vec::new();
    for text in all {
        if text.len() > LONGEST {
            return Err(format!("a limit is longer than {LONGEST} bytes"));
        }
        let found = one(text).map_err(|why| format!("{}: {why}", text.escape_debug()))?;
        typed.extend(found);
    }
    Ok(typed)
}

fn one(text: &str) -> Result<Vec<Typed>, String> {
    let (key, value) = text.split_once('=').ok_or("expected LIMIT=VALUE")?;
    let (key, value) = (key.trim(), value.trim());
    let said = |error: EditError| error.to_string();
    let (outer, inner) = edit::split(key).map_err(said)?;
    let Some(inner) = inner else {
        let why = "is a limit of each process, not of the tenant: type it with --permanent";
        return Err(format!("`{key}` {why}"));
    };
    let (name, item) = match outer {
        "hugetlb" => ("hugetlb", inner),
        _ => (key, ""),
    };
    let key_of = GroupKey::named(name).ok_or_else(|| format!("there is no limit `{key}`"))?;
    let taken_back = |item: &str| {
        let item = item.to_owned();
        vec![Typed {
            key: key_of,
            item,
            value: None,
        }]
    };
    let device = value.strip_suffix(':').unwrap_or_default();
    match name {
        _ if value.is_empty() => return Ok(taken_back(item)),
        "io.max" if device.starts_with('/') || is_device_number(device) => {
            return Ok(taken_back(device));
        }
        _ => {}
    }
    let limits = parsed(key, value)?;
    let set = limits.each().map(|(key, item, value)| Typed {
        key,
        item: item.to_owned(),
        value: Some(value.to_owned()),
    });
    Ok(set.collect())
}

/// Reads a limit as it is in a manifest.
fn parsed(key: &str, value: &str) -> Result<GroupLimits, String> {
    let tenant: TenantName = "typed".parse().map_err(|_| "no name")?;
    let limit = [(key.to_owned(), value.to_owned())];
    let empty = format!("[tenants]\n{tenant} = {{}}\n");
    let text = edit::set(&empty, &tenant, &limit).map_err(|error| error.to_string())?;
    let mut problems = Problems::new("typed", &text);
    let found = limits_of(&text, tenant.as_str(), &mut problems);
    if let Some(problem) = problems.iter().next() {
        return Err(match &problem.help {
            Some(help) => format!("{}; {help}", problem.message),
            None => problem.message.clone(),
        });
    }
    let mut limits = GroupLimits::default();
    if let Some(found) = found {
        limits::layered(&mut limits, &found);
    }
    match limits.is_empty() {
        true => Err("this is no value".to_owned()),
        false => Ok(limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Result<Vec<String>, String> {
        let all: Vec<String> = all.iter().map(|it| (*it).to_owned()).collect();
        let shown = |it: &Typed| {
            let value = it.value.as_deref().unwrap_or("-");
            format!("{}|{}|{value}", it.key.name, it.item)
        };
        read(&all).map(|typed| typed.iter().map(shown).collect())
    }

    #[test]
    fn limits_are_read_as_in_a_manifest() {
        for (text, found) in [
            ("memory.max=1GiB", "memory.max||1073741824"),
            ("memory.max=512 MiB", "memory.max||536870912"),
            ("memory.max=unlimited", "memory.max||max"),
            ("cpu.quota=150 %", "cpu.quota||150000 100000"),
            ("cpu.quota=1.5", "cpu.quota||150000 100000"),
            ("cpu.cpus=0-1", "cpu.cpus||0-1"),
            ("io.weight=50", "io.weight||default 50"),
            ("memory.group_kill=true", "memory.group_kill||1"),
            ("hugetlb.2MB=64MiB", "hugetlb|2MB|67108864"),
            ("hugetlb.2MB=", "hugetlb|2MB|-"),
            ("memory.max=", "memory.max||-"),
            ("io.max=", "io.max||-"),
            ("io.max=8:0:", "io.max|8:0|-"),
            (
                "io.max=8:0:wbps=10MiB",
                "io.max|8:0|rbps=max riops=max wbps=10485760 wiops=max",
            ),
            (
                "io.max=/dev/sda rbps=5 wiops=7",
                "io.max|/dev/sda|rbps=5 riops=max wbps=max wiops=7",
            ),
        ] {
            assert_eq!(texts(&[text]).unwrap(), [found], "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_is_said() {
        for (text, why) in [
            ("memory=1GiB", "did you mean memory.max?"),
            ("cpu.quta=1", "did you mean cpu.quota?"),
            ("memory.max=1GB", "did you mean"),
            ("memory.max=lots", "is neither a size"),
            ("memory.max=-1", "is neither a size"),
            ("memory.max={ x = 1 }", "memory.max"),
            ("cpu.quota=150", "150 %"),
            ("pids.max=0", "from 1 to"),
            ("open_files=9", "--permanent"),
            ("io.max=10MiB", "io.max=/dev/sda:wbps=10MiB"),
            (
                "io.max=sda:wbps=10MiB",
                "is neither the path nor the number",
            ),
            ("io.max=8:0:wbps=fast", "is neither a size"),
            ("hugetlb.2XB=1", "is not a size of huge pages"),
            ("hugetlb=1", "did you mean hugetlb.2MB?"),
            ("pids.max", "expected LIMIT=VALUE"),
            ("=1", "there is no limit"),
            ("memory.max=1GiB\u{1b}[2J\n", "\\u{1b}"),
            ("memory.max=1\" }\n[app]\n", "memory.max"),
        ] {
            let said = texts(&["pids.max=9", text]).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
            assert!(!said.chars().any(char::is_control), "{said:?}");
        }
        assert!(read(&vec!["pids.max=1".to_owned(); 65]).is_err());
        assert!(read(&["x".repeat(2000)]).is_err());
    }
}
