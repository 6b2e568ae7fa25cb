//! Reads the policy of the chain `FORWARD` of iptables-legacy(8), and the rules that come before it.
//!
//! The kernel makes such a table when it is asked for it, so only tables that exist are read.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::judge::{Condition, Rule, Verdict};
use super::nft::devgroup;
use crate::launch::option;

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`, which have the same numbers for IPv6.
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;

/// `XT_TABLE_MAXNAMELEN`.
const NAME: usize = 32;
/// `NF_INET_FORWARD`, of five hooks.
const FORWARD: usize = 2;
/// The header of `struct xt_entry_match` and of `struct xt_entry_target`: size, name and revision.
const PART: usize = 32;

/// What differs between both families.
pub(super) struct Family {
    /// The file with the names of the tables that exist.
    names: &'static str,
    domain: Domain,
    level: i32,
    /// Where `target_offset` is in an entry; `next_offset` comes after it.
    offsets: usize,
    /// The length of an entry without matches.
    entry: usize,
    /// The program that changes the table.
    pub(super) program: &'static str,
}

pub(super) const FAMILIES: [Family; 2] = [
    Family {
        names: "/proc/thread-self/net/ip_tables_names",
        domain: Domain::IPV4,
        level: libc::SOL_IP,
        offsets: 88,
        entry: 112,
        program: "iptables-legacy",
    },
    Family {
        names: "/proc/thread-self/net/ip6_tables_names",
        domain: Domain::IPV6,
        level: libc::SOL_IPV6,
        offsets: 140,
        entry: 168,
        program: "ip6tables-legacy",
    },
];

/// The table `filter`, without the chains for packets from and for the host itself.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// That of the chain `FORWARD`.
    pub(super) policy_refuses: bool,
    pub(super) rules: Vec<Rule>,
}

/// The table of a family; `None` if there is none.
pub(super) fn read(family: &Family) -> Result<Option<Table>, Errno> {
    let names = fs::read_to_string(family.names).unwrap_or_default();
    if !names.lines().any(|name| name == "filter") {
        return Ok(None);
    }
    let errno = |error: std::io::Error| Errno::from_raw_os_error(error.raw_os_error().unwrap_or(5));
    let socket = Socket::new(family.domain, Type::DGRAM, None).map_err(errno)?;
    // struct ipt_getinfo: name, valid_hooks, hook_entry, underflow, num_entries, size.
    let mut info = [0; NAME + 4 + 20 + 20 + 4 + 4];
    info[..6].copy_from_slice(b"filter");
    option::get(socket.as_fd(), family.level, GET_INFO, &mut info)?;
    let word = |at: usize| u32_at(&info, at).unwrap_or(0) as usize;
    let first = NAME + 4 + 4 * FORWARD;
    let forward = (word(first), word(first + 20));
    let size = word(NAME + 4 + 20 + 20 + 4);
    // struct ipt_get_entries: name, size, and the entries, aligned.
    let mut whole = vec![0; NAME + 8 + size];
    whole[..6].copy_from_slice(b"filter");
    let length = u32::try_from(size).map_err(|_| Errno::OVERFLOW)?;
    whole[NAME..NAME + 4].copy_from_slice(&length.to_ne_bytes());
    option::get(socket.as_fd(), family.level, GET_ENTRIES, &mut whole)?;
    Ok(Some(table(family, &whole[NAME + 8..], forward)))
}

/// Reads the entries. Those of `FORWARD` are from the first of these places to the second, which has the policy. Other
/// chains come after those of the hooks, each behind an entry with its name.
fn table(family: &Family, entries: &[u8], (first, policy): (usize, usize)) -> Table {
    let all = || each(family, entries);
    let heads = all().filter_map(|(at, entry)| {
        let chain = error_name(target(family, entry))?;
        Some((at + entry.len(), chain))
    });
    let heads: BTreeMap<usize, String> = heads.collect();
    let mut table = Table::default();
    for (at, entry) in all() {
        let own = heads.range(..=at).next_back();
        let chain = match own {
            Some((_, chain)) => chain.as_str(),
            None if (first..=policy).contains(&at) => "FORWARD",
            None => continue,
        };
        let verdict = verdict(target(family, entry), &heads);
        if at == policy {
            table.policy_refuses = verdict == Verdict::Refuse;
            continue;
        }
        table.rules.push(Rule {
            chain: chain.to_owned(),
            conditions: conditions(family, entry),
            verdict,
        });
    }
    table
}

/// The entries of a table, each with its place.
fn each<'a>(family: &Family, entries: &'a [u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
    let (mut at, offset) = (0, family.offsets + 2);
    std::iter::from_fn(move || {
        let rest = entries.get(at..)?;
        let entry = rest.get(..u16_at(rest, offset).filter(|next| *next > 0)?)?;
        let place = at;
        at += entry.len();
        Some((place, entry))
    })
}

fn target<'a>(family: &Family, entry: &'a [u8]) -> &'a [u8] {
    let at = u16_at(entry, family.offsets);
    at.and_then(|at| entry.get(at..)).unwrap_or_default()
}

/// The name of the chain that begins behind an entry: `XT_ERROR_TARGET`. The last entry has one too.
fn error_name(target: &[u8]) -> Option<String> {
    let is_error = name_of(target) == Some(b"ERROR");
    let name = target.get(PART..)?.split(|byte| *byte == 0).next()?;
    is_error.then(|| String::from_utf8_lossy(name).into_owned())
}

/// A standard target has no name but a number: a place to jump to, or a verdict that is less than zero.
fn verdict(target: &[u8], heads: &BTreeMap<usize, String>) -> Verdict {
    let number = u32_at(target, PART).map(u32::cast_signed);
    match (name_of(target), number) {
        (Some(b""), Some(-1)) => Verdict::Refuse,
        (Some(b""), Some(-2)) => Verdict::Accept,
        (Some(b""), Some(-5)) => Verdict::Return,
        (Some(b""), Some(at)) => {
            let chain = usize::try_from(at).ok().and_then(|at| heads.get(&at));
            chain.map_or(Verdict::Nothing, |chain| Verdict::Jump(chain.clone()))
        }
        (Some(b"REJECT"), _) => Verdict::Refuse,
        _ => Verdict::Nothing,
    }
}

/// Those of the matches, and one that is not known if the entry has a condition of its own (addresses, links).
fn conditions(family: &Family, entry: &[u8]) -> Vec<Condition> {
    let mut conditions = Vec::new();
    // `struct ipt_ip` comes first; all of it is zero if it has no condition.
    let own = entry.get(..family.offsets - 4).unwrap_or_default();
    if own.iter().any(|byte| *byte != 0) {
        conditions.push(Condition::Other);
    }
    let end = entry.len() - target(family, entry).len();
    let mut rest = entry.get(family.entry..end).unwrap_or_default();
    while let Some(size) = u16_at(rest, 0).filter(|size| *size >= PART) {
        match name_of(rest) {
            Some(b"comment") => {}
            Some(b"devgroup") => conditions.extend(devgroup(rest.get(PART..).unwrap_or_default())),
            _ => conditions.push(Condition::Other),
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    conditions
}

/// The name in a match or a target.
fn name_of(part: &[u8]) -> Option<&[u8]> {
    part.get(2..PART - 1)?.split(|byte| *byte == 0).next()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_ne_bytes(*word)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
