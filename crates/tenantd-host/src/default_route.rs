//! The interfaces by which the host reaches others, one for each family, and their MTU.

use std::{fs, thread};

use crate::verify;

/// The routes of the network namespace of this thread, see proc_net(5).
const ROUTES: &str = "/proc/thread-self/net/route";
const ROUTES6: &str = "/proc/thread-self/net/ipv6_route";

/// The flag of a route that refuses, `RTF_REJECT` of linux/route.h.
const REJECT: u32 = 0x200;

/// The interface of a default route, and its MTU in bytes. If the families have different ones, that with the smaller MTU:
/// tenants have one for both. `None` if there is none. Blocks.
pub(crate) fn narrowest() -> Option<(String, u32)> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (four, six) = (read(ROUTES), read(ROUTES6));
    let links = [default_link(&four), default_link6(&six)];
    let all = links.into_iter().flatten();
    let all = all.filter_map(|link| Some((link.to_owned(), mtu_of(link)?)));
    all.min_by_key(|(_, mtu)| *mtu)
}

/// The MTU in bytes of an interface. `None` if there is none, or it cannot be read. Blocks.
pub(crate) fn mtu_of(interface: &str) -> Option<u32> {
    // A runtime of its own, which a thread with one cannot have.
    thread::scope(|scope| {
        let asked = scope.spawn(|| verify::mtu_of(interface));
        let answer = asked.join();
        answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .ok()?
}

/// The link of the default route with the lowest metric.
fn default_link(routes: &str) -> Option<&str> {
    // Each of thousands of tenants has a route: the destination is looked at first.
    let is_possible = |line: &&str| {
        let rest = line.split_once('\t');
        rest.is_some_and(|(_, rest)| rest.starts_with("00000000"))
    };
    let lines = routes.lines().skip(1).filter(is_possible);
    let defaults = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [link, to, _, _, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let is_default = to == "00000000" && mask == "00000000";
        Some((metric.parse::<u32>().ok()?, link)).filter(|_| is_default)
    });
    defaults.min().map(|(_, link)| link)
}

/// The same of IPv6.
fn default_link6(routes: &str) -> Option<&str> {
    let hex = |text| u32::from_str_radix(text, 16).ok();
    let nothing = |text: &str| text.bytes().all(|digit| digit == b'0');
    let lines = routes.lines().filter(|line| line.starts_with("00000000"));
    let defaults = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [to, prefix, from, source, _, metric, _, _, flags, link] = fields[..] else {
            return None;
        };
        let is_default = [to, prefix, from, source].into_iter().all(nothing);
        let is_refused = hex(flags)? & REJECT != 0 || link == "lo";
        Some((hex(metric)?, link)).filter(|_| is_default && !is_refused)
    });
    defaults.min().map(|(_, link)| link)
}

#[cfg(test)]
mod tests {
    use super::{default_link, default_link6};

    #[test]
    fn the_default_route_of_ipv6_is_none_that_refuses() {
        let none = "0".repeat(32);
        let line = |to: &str, metric: &str, flags: &str, link: &str| {
            format!("{to} 00 {none} 00 {none} {metric} 00000001 00000000 {flags} {link}\n")
        };
        let refuses = line(&none, "ffffffff", "00200200", "lo");
        let near = line(&none, "00000064", "00000003", "eth0");
        let far = line(&none, "00000400", "00000003", "eth1");
        let other = line(
            &format!("fd{}", "0".repeat(30)),
            "00000001",
            "00000001",
            "vpn",
        );
        let all = format!("{other}{far}{near}{refuses}");
        assert_eq!(default_link6(&all), Some("eth0"));
        assert_eq!(default_link6(&format!("{other}{refuses}")), None);
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let head =
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let other = "vpn\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
        let far = "eth1\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        let near = "eth0\t00000000\t0100000A\t0003\t0\t0\t50\t00000000\t0\t0\t0\n";
        assert_eq!(
            default_link(&format!("{head}{other}{far}{near}")),
            Some("eth0")
        );
        assert_eq!(default_link(&format!("{head}{other}")), None);
    }
}
