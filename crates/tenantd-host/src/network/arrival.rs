//! The settings of a link on which tenants arrive.

use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute,
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
