//! Finds addresses for tenants whose manifest says `ip = "auto"`.
//!
//! A tenant keeps what it was given, as it is recorded. The first time, the search begins at a place that is derived
//! from the names of application and tenant, so that others that come or go hardly matter; what another tenant has or
//! had is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toml::Spanned;

use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Manifest, Network, Tenant};
use crate::name::{AppName, TenantName};
use crate::plan::address::Addresses;
use crate::plan::derive;
use crate::plan::facts::HostFacts;

/// Which addresses were found for which tenant.
pub(in crate::plan) type Given = BTreeMap<TenantName, Addresses>;

/// The addresses of one family that tenants can have, as numbers.
struct Pool {
    is_ipv4: bool,
    first: u128,
    last: u128,
    gateway: IpAddr,
}

impl Pool {
    /// Those of the network. Those of a subnet that is missing or has no room are left out.
    fn all(network: &Network) -> Vec<Pool> {
        let mut pools = Vec::new();
        if let Some(subnet) = network.subnet.as_ref().map(Spanned::get_ref) {
            let first = u128::from(u32::from(subnet.network())) + 1;
            let last = u128::from(u32::from(subnet.broadcast()));
            let written = network.gateway.as_ref().map(|it| IpAddr::V4(*it.get_ref()));
            pools.extend(Self::of(true, (first, last.saturating_sub(1)), written));
        }
        if let Some(subnet) = network.subnet6.value.as_ref().map(Spanned::get_ref) {
            let first = u128::from(subnet.network()).saturating_add(1);
            let last = u128::from(subnet.broadcast());
            let written = network
                .gateway6
                .as_ref()
                .map(|it| IpAddr::V6(*it.get_ref()));
            pools.extend(Self::of(false, (first, last), written));
        }
        pools
    }

    fn of(is_ipv4: bool, (first, last): (u128, u128), gateway: Option<IpAddr>) -> Option<Self> {
        let mut pool = Self {
            is_ipv4,
            first,
            last,
            gateway: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        pool.gateway = gateway.unwrap_or(pool.address(first));
        (first < last).then_some(pool)
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.is_ipv4 {
            true => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
            false => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        let number = match address {
            IpAddr::V4(address) => u32::from(address).into(),
            IpAddr::V6(address) => u128::from(address),
        };
        address.is_ipv4() == self.is_ipv4 && (self.first..=self.last).contains(&number)
    }

    /// The first address that is not taken, from the tenant's place on and then from the beginning.
    fn free(&self, (app, tenant): (&AppName, &TenantName), taken: &Taken) -> Option<IpAddr> {
        let size = self.last - self.first + 1;
        let half = |salt: &str| u128::from(derive::hash(&format!("{salt}{app}/{tenant}")));
        let start = (half("address ") << 48 | half("place ")) % size;
        // More than are taken need not be tried.
        let tries = size.min(taken.present.len() as u128 + taken.former.len() as u128 + 2);
        let each = || (0..tries).map(|step| self.address(self.first + (start + step) % size));
        let is_free =
            |address: &IpAddr| *address != self.gateway && !taken.present.contains(address);
        let unused = each().find(|it| is_free(it) && !taken.former.contains(it));
        unused.or_else(|| each().find(is_free))
    }
}

/// The addresses that others have.
struct Taken {
    /// Tenants of the manifest.
    present: BTreeSet<IpAddr>,
    /// Tenants that are recorded and not in the manifest.
    former: BTreeSet<IpAddr>,
}

/// Adds the addresses that are found to the manifest. Returns them.
pub(in crate::plan) fn give(
    manifest: &mut Manifest,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Given {
    let mut given = Given::new();
    let app = manifest.app.name.as_ref().map(Spanned::get_ref).cloned();
    let first = manifest.tenants.iter().find_map(auto);
    let (Some(app), Some(first)) = (app, first) else {
        return given;
    };
    let recorded = match host.given(&app) {
        Ok(recorded) => recorded,
        Err(why) => {
            let message = format!("it is not known which addresses tenants were given: {why}");
            problems
                .report(&first, message)
                .help("make that readable, or write addresses");
            return given;
        }
    };
    let pools = Pool::all(&manifest.network);
    let mut taken = taken(&manifest.tenants, &recorded);
    for tenant in &mut manifest.tenants {
        let Some((name, at)) = tenant.name.clone().zip(auto(tenant)) else {
            continue;
        };
        let recorded = recorded.get(&name).map_or(&[][..], Vec::as_slice);
        let (mut found, mut wants) = (Vec::new(), false);
        for pool in &pools {
            if tenant
                .ips()
                .any(|ip| ip.get_ref().is_ipv4() == pool.is_ipv4)
            {
                continue;
            }
            wants = true;
            let kept = recorded.iter().copied().find(|address| pool.has(*address));
            match kept.or_else(|| pool.free((&app, &name), &taken)) {
                Some(address) => found.push(address),
                None => full(pool, &at, problems),
            }
        }
        taken.present.extend(&found);
        if !wants && !pools.is_empty() {
            problems
                .report(
                    &at,
                    "`\"auto\"` stands for nothing: there is an address of each family that has a subnet",
                )
                .help("remove it");
        }
        add(tenant, &found, &at);
        given.extend(Addresses::of(found).map(|found| (name, found)));
    }
    given
}

/// Where a tenant has `"auto"`.
fn auto(tenant: &Tenant) -> Option<Span> {
    let auto = tenant.ip.as_ref()?.get_ref().auto.as_ref();
    auto.map(|(_, at)| at.clone())
}

/// Adds addresses in the place of `"auto"`.
fn add(tenant: &mut Tenant, found: &[IpAddr], at: &Span) {
    if let Some(ips) = &mut tenant.ip {
        let ips = ips.get_mut();
        let place = ips.auto.as_ref().map_or(0, |(place, _)| *place);
        let found = found.iter().map(|ip| Spanned::new(at.clone(), *ip));
        ips.known.splice(place..place, found);
    }
}

fn full(pool: &Pool, at: &Span, problems: &mut Problems) {
    let key = if pool.is_ipv4 { "subnet" } else { "subnet6" };
    problems
        .report(at, format!("no address of `{key}` is free"))
        .help("use a larger subnet, with a shorter prefix");
}

fn taken(tenants: &[Tenant], recorded: &BTreeMap<TenantName, Vec<IpAddr>>) -> Taken {
    let names: BTreeSet<&TenantName> = tenants.iter().filter_map(|it| it.name.as_ref()).collect();
    let written = tenants.iter().flat_map(Tenant::ips);
    let mut taken = Taken {
        present: written.map(|ip| *ip.get_ref()).collect(),
        former: BTreeSet::new(),
    };
    for (name, addresses) in recorded {
        match names.contains(name) {
            true => taken.present.extend(addresses),
            false => taken.former.extend(addresses),
        }
    }
    taken
}

#[cfg(test)]
mod tests;
