//! The interface by which the host reaches others, and its MTU.

use std::{fs, thread};

use crate::verify;

/// The routes of the network namespace of this thread, see proc_net(5).
const ROUTES: &str = "/proc/thread-self/net/route";

/// The interface of the default route of IPv4.
pub(crate) fn interface() -> Option<String> {
    let routes = fs::read_to_string(ROUTES).ok()?;
    default_link(&routes).map(ToOwned::to_owned)
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
    let defaults = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [link, to, _, _, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let is_default = to == "00000000" && mask == "00000000";
        Some((metric.parse::<u32>().ok()?, link)).filter(|_| is_default)
    });
    defaults.min().map(|(_, link)| link)
}

#[cfg(test)]
mod tests {
    use super::default_link;

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
