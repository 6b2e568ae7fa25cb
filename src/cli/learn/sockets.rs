//! Addresses of sockets, as programs pass them to the kernel and as the kernel lists them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tenantd_core::learn::Port;

/// The states of proc_net_tcp(5) in which a socket waits for clients.
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// The ports that a program gets if it asks for any, see `ip_local_port_range` in ip(7).
const ANY: std::ops::RangeInclusive<u16> = 32768..=60999;

/// An address that a program passed to bind(2) or connect(2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A path, not an abstract name.
    Unix(String),
    Port(u16),
}

/// The address in the bytes of a `sockaddr`.
pub(super) fn address(bytes: &[u8]) -> Option<Address> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let family = i32::from(u16::from_ne_bytes(*family));
    match family {
        libc::AF_UNIX => {
            let end = rest
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(rest.len());
            let path = rest.get(..end).filter(|path| !path.is_empty())?;
            Some(Address::Unix(String::from_utf8_lossy(path).into_owned()))
        }
        libc::AF_INET | libc::AF_INET6 => {
            let port = rest.first_chunk::<2>()?;
            Some(Address::Port(u16::from_be_bytes(*port)))
        }
        _ => None,
    }
}

/// The ports on which sockets wait in the network namespace of a process. One of UDP only counts if it
/// is among `bound`, and chosen: a client has a port too.
pub(super) fn ports(pid: i32, bound: &BTreeSet<u16>) -> BTreeSet<Port> {
    let mut found = BTreeSet::new();
    for (name, is_tcp) in [
        ("tcp", true),
        ("tcp6", true),
        ("udp", false),
        ("udp6", false),
    ] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        let ports = text.lines().skip(1).filter_map(|line| port(line, is_tcp));
        let is_known = |number| bound.contains(&number) && !ANY.contains(&number);
        found.extend(ports.filter(|port| is_tcp || is_known(port.number)));
    }
    found
}

/// The port in a line of proc_net_tcp(5).
fn port(line: &str, is_tcp: bool) -> Option<Port> {
    let mut fields = line.split_whitespace();
    let (address, number) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let waits = if is_tcp { LISTENS } else { UNCONNECTED };
    (state == waits).then_some(())?;
    let words: Option<Vec<[u8; 4]>> = (0..address.len())
        .step_by(8)
        .map(|at| {
            let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect();
    let address = match words?.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        words => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)),
    };
    Some(Port {
        number: u16::from_str_radix(number, 16).ok()?,
        is_tcp,
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let unix = [&1_u16.to_ne_bytes()[..], b"/run/x\0zz"].concat();
        assert_eq!(address(&unix), Some(Address::Unix("/run/x".to_owned())));
        let inet = [&2_u16.to_ne_bytes()[..], &80_u16.to_be_bytes()].concat();
        assert_eq!(address(&inet), Some(Address::Port(80)));
        assert_eq!(address(&[1]), None);
        assert_eq!(address(&1_u16.to_ne_bytes()), None);
    }

    #[test]
    fn only_sockets_that_wait_are_ports() {
        let line = "   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000";
        let found = port(line, true).unwrap();
        assert_eq!(
            (found.number, found.address.to_string().as_str()),
            (631, "127.0.0.1")
        );
        assert_eq!(port(&line.replace(" 0A ", " 01 "), true), None);
        let six = line.replace("0100007F", &"0".repeat(32));
        assert_eq!(port(&six, true).unwrap().address.to_string(), "::");
    }
}
