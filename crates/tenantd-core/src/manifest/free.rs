//! Addresses that no tenant has, for suggestions.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;

use super::raw::Network;

/// The first suggestion in a network without tenants is the address after this many.
const BELOW: u128 = 10;

/// The free addresses of the subnets. Each is suggested once.
#[derive(Debug, Clone)]
pub struct Free {
    ipv4: Pool,
    ipv6: Pool,
}

/// Those of one subnet, as numbers.
#[derive(Debug, Clone)]
struct Pool {
    /// The addresses that tenants can have. Empty if the subnet is missing or invalid.
    hosts: Range<u128>,
    taken: BTreeSet<u128>,
    /// No address below is free.
    from: u128,
}

impl Free {
    /// Creates the list for a network, in which these addresses are taken.
    pub(super) fn new(network: &Network, taken: impl Iterator<Item = IpAddr>) -> Self {
        let hosts4 = network.subnet.as_ref().map(|subnet| {
            let subnet = subnet.get_ref();
            number(subnet.network().into()) + 1..number(subnet.broadcast().into())
        });
        let hosts6 = network.subnet6.value.as_ref().map(|subnet| {
            let subnet = subnet.get_ref();
            number(subnet.network().into()).saturating_add(1)
                ..number(subnet.broadcast().into()).saturating_add(1)
        });
        let gateway4 = network.gateway.as_ref().map(|it| (*it.get_ref()).into());
        let gateway6 = network.gateway6.as_ref().map(Spanned::get_ref);
        let gateway6 = gateway6.map(|address| IpAddr::V6(*address));
        let mut free = Self {
            ipv4: Pool::new(hosts4, gateway4),
            ipv6: Pool::new(hosts6, gateway6),
        };
        taken.for_each(|address| free.take(address));
        free
    }

    /// Excludes an address.
    pub fn take(&mut self, address: IpAddr) {
        let pool = match address {
            IpAddr::V4(_) => &mut self.ipv4,
            IpAddr::V6(_) => &mut self.ipv6,
        };
        pool.taken.insert(number(address));
    }

    /// The IPv4 address after the highest one that is taken, or the lowest one that is free. `None` if
    /// the subnet is full or invalid.
    pub fn suggest(&mut self) -> Option<IpAddr> {
        let next = u32::try_from(self.ipv4.suggest()?).ok()?;
        Some(IpAddr::V4(next.into()))
    }

    /// The same, of the family of another address.
    pub fn suggest_instead_of(&mut self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => self.suggest(),
            IpAddr::V6(_) => Some(IpAddr::V6(self.ipv6.suggest()?.into())),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl Pool {
    fn new(hosts: Option<Range<u128>>, gateway: Option<IpAddr>) -> Self {
        let hosts = hosts.unwrap_or(0..0);
        let gateway = gateway.map_or(hosts.start, number);
        Self {
            taken: [gateway].into(),
            from: hosts.start,
            hosts,
        }
    }

    fn suggest(&mut self) -> Option<u128> {
        let hosts = &self.hosts;
        let below = self.taken.range(..hosts.end).next_back().copied();
        let first = hosts.start.saturating_add(BELOW - 1);
        let mut next = below.unwrap_or(0).max(first).saturating_add(1);
        if !hosts.contains(&next) {
            while self.taken.contains(&self.from) {
                self.from += 1;
            }
            next = self.from;
        }
        let next = hosts.contains(&next).then_some(next)?;
        self.taken.insert(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnetwork::IpNetwork;

    fn pool(subnet: &str, taken: &[&str]) -> Pool {
        let subnet: IpNetwork = subnet.parse().unwrap();
        let hosts = number(subnet.network()) + 1..number(subnet.broadcast());
        let mut pool = Pool::new(Some(hosts), None);
        let taken = taken.iter().map(|text| number(text.parse().unwrap()));
        pool.taken = taken.collect();
        pool
    }

    #[test]
    fn each_address_is_suggested_once_and_the_gateway_never() {
        let mut two = pool("10.0.0.0/29", &["10.0.0.1", "10.0.0.5"]);
        let each: Vec<_> = std::iter::from_fn(|| two.suggest()).collect();
        let each: Vec<u128> = each.iter().map(|address| address % 256).collect();
        assert_eq!(each, [2, 3, 4, 6]);
    }

    #[test]
    fn the_next_one_comes_after_the_highest() {
        let next = |taken| pool("10.0.0.0/24", taken).suggest().unwrap() % 256;
        assert_eq!(next(&["10.0.0.1"]), 11);
        assert_eq!(next(&["10.0.0.1", "10.0.0.40"]), 41);
        assert_eq!(next(&["10.0.0.1", "10.0.0.254"]), 2);
        assert_eq!(next(&["10.0.0.1", "10.9.0.40"]), 11);
        assert_eq!(
            pool("fd00::/64", &["fd00::1:1"]).suggest().unwrap() % (1 << 32),
            0x1_0002
        );
    }
}
