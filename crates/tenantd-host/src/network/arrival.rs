//! The settings of a link on which tenants arrive.

use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InetDevConf, LinkAttribute,
};

use super::ipv6::runs_ipv6;
use tenantd_core::plan::model::{Firewall, Mode, NetworkPlan};

/// Settings of IPv4 for one link, with their numbers in `IFLA_INET_CONF`: see ip-sysctl.
const FORWARDING: u16 = 1;
const PROXY_ARP_PVLAN: u16 = 25;
const ROUTE_LOCALNET: u16 = 26;

/// The settings of a link on which tenants arrive, as attributes: the kernel forwards what arrives there to the
/// firewall, which refuses it at once or lets it pass. Only links of tenantd are set; `ip_forward` of the
/// host is not.
pub(super) fn arrival(network: &NetworkPlan, is_published: bool) -> Vec<LinkAttribute> {
    let mut settings = Vec::new();
    if runs_ipv6(network.mtu) {
        let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        settings.push(AfSpecUnspec::Inet6(vec![none]));
    }
    if network.firewall == Firewall::On {
        let mut ids = vec![FORWARDING];
        if network.mode == Mode::Bridge {
            // The hub answers for other tenants, so that what they refuse is refused at once.
            ids.push(PROXY_ARP_PVLAN);
        }
        if is_published {
            ids.push(ROUTE_LOCALNET);
        }
        settings.push(turned_on(&ids));
    }
    let mut all = vec![LinkAttribute::Group(network.group())];
    if !settings.is_empty() {
        all.push(LinkAttribute::AfSpecUnspec(settings));
    }
    all
}

/// Those settings of a link but for its group, as the kernel reported them.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    ipv4: InetDevConf,
    /// None if the link has no IPv6.
    addresses6: Option<In6AddrGenMode>,
}

impl Arrival {
    /// Notes the settings of the families.
    pub(super) fn note(&mut self, families: Vec<AfSpecUnspec>) {
        for family in families {
            match family {
                AfSpecUnspec::Inet(parts) => {
                    let conf = parts.into_iter().find_map(|part| match part {
                        AfSpecInet::DevConf(conf) => Some(conf),
                        _ => None,
                    });
                    self.ipv4 = conf.unwrap_or_default();
                }
                AfSpecUnspec::Inet6(parts) => {
                    let mode = parts.into_iter().find_map(|part| match part {
                        AfSpecInet6::AddrGenMode(mode) => Some(mode),
                        _ => None,
                    });
                    self.addresses6 = mode;
                }
                _ => {}
            }
        }
    }

    /// Whether the link has what [`arrival`] sets besides the group.
    pub(super) fn is_set(&self, network: &NetworkPlan, is_published: bool) -> bool {
        let ipv4 = |is_needed: bool, value: i32| !is_needed || value == 1;
        let is_on = network.firewall == Firewall::On;
        let is_bridge = network.mode == Mode::Bridge;
        let none = Some(In6AddrGenMode::None);
        ipv4(is_on, self.ipv4.forwarding)
            && ipv4(is_on && is_bridge, self.ipv4.proxy_arp_pvlan)
            && ipv4(is_on && is_published, self.ipv4.route_localnet)
            && (self.addresses6 == none || !runs_ipv6(network.mtu))
    }
}

/// These settings of IPv4, on.
fn turned_on(ids: &[u16]) -> AfSpecUnspec {
    let on = |id: &u16| DefaultNla::new(*id, 1_u32.to_ne_bytes().to_vec());
    let ids: Vec<DefaultNla> = ids.iter().map(on).collect();
    let mut value = vec![0; ids.as_slice().buffer_len()];
    ids.as_slice().emit(&mut value);
    // `IFLA_INET_CONF`, which the kernel takes in this form and gives in another.
    let conf = AfSpecInet::Other(DefaultNla::new(1 | NLA_F_NESTED, value));
    AfSpecUnspec::Inet(vec![conf])
}

/// What arrives on a link may be for a loopback address of IPv4, after a translation.
pub(super) fn takes_loopback() -> LinkAttribute {
    LinkAttribute::AfSpecUnspec(vec![turned_on(&[ROUTE_LOCALNET])])
}
