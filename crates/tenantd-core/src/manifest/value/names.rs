//! How a tenant looks names up, as the manifest says it.

use std::net::IpAddr;

use toml::Spanned;

use super::{At, Decode, one_of};
use crate::manifest::problem::Problems;
use crate::manifest::reference::Kind;

/// The most name servers that the C library asks, see `MAXNS` in resolv.conf(5).
const SERVERS_MAX: usize = 3;

/// Whose file a tenant has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameFile {
    /// One of its own.
    #[default]
    Own,
    /// That of the host.
    Host,
}

impl NameFile {
    /// The word of the manifest.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            NameFile::Own => "own",
            NameFile::Host => "host",
        }
    }
}

impl Decode for NameFile {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        Some(match one_of(at, problems)? {
            "own" => NameFile::Own,
            "host" => NameFile::Host,
            word => unreachable!("{word} is a choice of {}", at.key.name),
        })
    }
}

/// The items of an array of strings.
fn texts<T>(
    at: At<'_, '_>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<Spanned<T>>> {
    let Some(array) = at.value.get_ref().as_array() else {
        at.wrong_type(problems, "an array of strings");
        return None;
    };
    let mut all = Vec::new();
    for value in array {
        let one = At { value, ..at };
        let Some(text) = one.text(problems, "a string") else {
            continue;
        };
        match parse(text) {
            Ok(item) => all.push(Spanned::new(value.span(), item)),
            Err(why) => drop(one.wrong(problems, why)),
        }
    }
    Some(all)
}

/// The address of a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer(pub IpAddr);

impl Decode for Vec<Spanned<NameServer>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let servers = texts(at, problems, |text| {
            let address: IpAddr = text
                .parse()
                .map_err(|_| format!("{text:?} is not the address of a name server"))?;
            match address.is_unspecified() || address.is_multicast() {
                true => Err(format!("{address} cannot be a name server")),
                false => Ok(NameServer(address)),
            }
        })?;
        if let Some(excess) = servers.get(SERVERS_MAX) {
            let message = format!("there are more than {SERVERS_MAX} name servers");
            let problem = problems.report(&excess.span(), message);
            problem.help("remove those that are needed least: the C library does not ask them");
        }
        Some(servers)
    }
}

impl Decode for Vec<Spanned<String>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        debug_assert_eq!(at.key.kind, Kind::Words);
        texts(at, problems, |text| {
            let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            match is_word && !text.starts_with(['#', ';']) {
                true => Ok(text.to_owned()),
                false => Err(format!("{text:?} is not one word of resolv.conf(5)")),
            }
        })
    }
}
