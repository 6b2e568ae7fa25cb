//! Addresses that no tenant has, for suggestions.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use toml::Spanned;

use super::raw::Network;

/// The first suggestion in a network without tenants is the address after this many.
const BELOW: u32 = 10;

/// The free addresses of the subnet. Each is suggested once.
#[derive(Debug, Clone)]
pub struct Free {
    subnet: Option<Ipv4Network>,
    taken: BTreeSet<Ipv4Addr>,
    /// No address below is free.
    from: u32,
}

impl Free {
    /// Creates the list for a network, in which these addresses are taken.
    pub(super) fn new(network: &Network, taken: impl Iterator<Item = Ipv4Addr>) -> Self {
        let subnet = network.subnet.as_ref().map(|subnet| *subnet.get_ref());
        let base = subnet.map_or(0, |subnet| u32::from(subnet.network()));
        let gateway = network.gateway.as_ref().map(Spanned::get_ref);
        let gateway = gateway.map_or(base.saturating_add(1), |address| u32::from(*address));
        Self {
            subnet,
            taken: taken.chain([gateway.into()]).collect(),
            from: base.saturating_add(1),
        }
    }

    /// Excludes an address.
    pub fn take(&mut self, address: Ipv4Addr) {
        self.taken.insert(address);
    }

    /// The address after the highest one that is taken, or the lowest one that is free. `None` if
    /// the subnet is full or invalid.
    pub fn suggest(&mut self) -> Option<Ipv4Addr> {
        let subnet = self.subnet?;
        let hosts = u32::from(subnet.network()).checked_add(1)?..u32::from(subnet.broadcast());
        let last = Ipv4Addr::from(hosts.end);
        let below = self.taken.range(..last).next_back().copied();
        let below = below.map_or(0, u32::from).max(hosts.start + BELOW - 1);
        let mut next = below.saturating_add(1);
        if !hosts.contains(&next) {
            while self.taken.contains(&Ipv4Addr::from(self.from)) {
                self.from += 1;
            }
            next = self.from;
        }
        let next = hosts.contains(&next).then(|| Ipv4Addr::from(next))?;
        self.take(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(subnet: &str, taken: &[&str]) -> Free {
        Free {
            subnet: Some(subnet.parse().unwrap()),
            taken: taken.iter().map(|text| text.parse().unwrap()).collect(),
            from: u32::from(subnet.parse::<Ipv4Network>().unwrap().network()) + 1,
        }
    }

    #[test]
    fn each_address_is_suggested_once_and_the_gateway_never() {
        let mut two = free("10.0.0.0/29", &["10.0.0.1", "10.0.0.5"]);
        let each: Vec<_> = std::iter::from_fn(|| two.suggest()).collect();
        let each: Vec<u8> = each.iter().map(|address| address.octets()[3]).collect();
        assert_eq!(each, [2, 3, 4, 6]);
    }

    #[test]
    fn the_next_one_comes_after_the_highest() {
        let next = |taken| free("10.0.0.0/24", taken).suggest().unwrap().octets()[3];
        assert_eq!(next(&["10.0.0.1"]), 11);
        assert_eq!(next(&["10.0.0.1", "10.0.0.40"]), 41);
        assert_eq!(next(&["10.0.0.1", "10.0.0.254"]), 2);
        assert_eq!(next(&["10.0.0.1", "10.9.0.40"]), 11);
    }
}
