//! The addresses of the host, each with the name of its interface.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};

use super::claims::dump;
use super::links::Links;
use tenantd_core::plan::facts::HostAddress;

/// All of them.
pub(super) fn all() -> Result<Vec<HostAddress>, Errno> {
    let errno = |error: std::io::Error| Errno::try_from(error).unwrap_or(Errno::EIO);
    let links = Links::open().map_err(errno)?;
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut names = BTreeMap::new();
    let found = dump(question).map_err(errno)?.into_iter();
    let found = found.filter_map(|message| match message {
        RouteNetlinkMessage::NewAddress(address) => {
            let index = address.header.index;
            let name = names.entry(index).or_insert_with(|| links.name(index));
            // The addresses go with a link that another program removes meanwhile.
            of(&address, name.clone()?)
        }
        _ => None,
    });
    Ok(found.collect())
}

fn of(address: &AddressMessage, interface: String) -> Option<HostAddress> {
    let (mut own, mut other) = (None, None);
    for part in &address.attributes {
        match part {
            AddressAttribute::Local(local) => own = Some(*local),
            // The one at the other end, if there is a local one too.
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    let own: IpAddr = own.or(other)?;
    let network = IpNetwork::new(own, address.header.prefix_len).ok()?;
    Some(HostAddress { interface, network })
}
