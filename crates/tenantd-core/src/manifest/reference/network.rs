//! Long descriptions of keys about the network.

pub(super) const MODE: &str = "`routed`: each tenant has a separate link; there is no limit on their number. \
     `bridge`: tenants are isolated ports of one bridge, at most 1,023. `macvlan`: tenants are machines of the \
     network that the host's interface `parent` is in, each with a MAC address of its own there; the host itself \
     cannot reach them, nor they the host.";

pub(super) const PARENT: &str = "The interface of the host whose network the tenants are in, with `mode = \"macvlan\"`; other \
     modes have none. `subnet` is the network of it then, and `gateway` its router. An interface for macvlan is an \
     Ethernet one that is neither a port of a bridge nor of a bond, and no wireless one.";

pub(super) const BRIDGE: &str = "A bridge that the host has, with `mode = \"bridge\"`: tenants are machines of the network that it \
     carries, each at an isolated port with a MAC address of its own. `subnet` is the network of it then, and `gateway` its \
     router, which may be the host. tenantd plugs tenants into it and changes nothing else of it. Tenants do not reach each \
     other, and what they begin to the network, the host included, is what `outbound` and `egress` say. A bridge has 1,023 \
     ports. If it filters VLANs, tenants are in its default VLAN. Without this key, tenants have a bridge of their own.";

pub(super) const GATEWAY: &str = "The host's address in the subnet, which all tenants can reach. With `mode = \"macvlan\"` or \
     `bridge`, the address of the router in the network, which has no default then.";

pub(super) const GATEWAY6: &str = "The host's IPv6 address in `subnet6`, which all tenants with an IPv6 address can reach. With \
     `mode = \"macvlan\"` or `bridge`, that of the router, which may be a link-local one (`fe80::1`) and has no default.";

pub(super) const MAC: &str = "The MAC address of the tenant's `eth0`, for programs whose licence is bound to one. Without it, \
     it is always the same on every host. It must be an address of one interface (unicast) that nothing else in \
     the application has. A change releases the tenant's network and makes it again.";

pub(super) const SUBNET: &str = "The network of all tenants' addresses. It must not be used by anything else: no \
     interface of the host may have an address in it.";

pub(super) const SUBNET6: &str = "The network of all tenants' IPv6 addresses, as `subnet` is that of their IPv4 \
     addresses. Without it, no tenant has an IPv6 address. Use one of your own from fd00::/8 (RFC 4193), with \
     digits at random, or a part of what your provider routes to the host.";

pub(super) const MTU: &str = "The MTU of every link in bytes. At least 1280, which IPv6 requires. Without it, it is that of the \
     interface by which the host reaches others, the smaller one if IPv4 and IPv6 have different ones, within these bounds, \
     when tenantd starts: a reload alone does not change it. \
     `tenantd check` names an interface by which tenants reach others and that has a smaller one, such as a VPN.";

pub(super) const UPLINK: &str = "An interface of the host whose network tenants can have addresses of, such as that of an office: \
     `ip = \"192.168.1.50\"`, or one beside an address of `subnet`. Others in that network reach the tenant at such an \
     address, whatever `outbound` says: the host answers for it (proxy ARP and NDP), and only while the tenant runs. Before a \
     tenant takes the address, tenantd asks whether another machine has it. `subnet` stays a network that nothing else has. \
     Only with `mode = \"routed\"`; IPv6 addresses need `subnet6` too. The interface must forward, see `set_uplink`.";

pub(super) const SET_UPLINK: &str = "Whether tenantd changes settings of the uplink where it must: `forwarding` of IPv4; with \
     `subnet6` also `forwarding`, `force_forwarding` and `proxy_ndp` of IPv6, and `accept_ra = 2` if it was 1, so that the host \
     still listens to its router. They stay when tenantd ends. Otherwise `tenantd check` names what is missing, with the line \
     that mends it.";

pub(super) const IP: &str = "The tenant's address within `subnet` or `subnet6`, or of the network of the `uplink`, or an array of several: \
     `ip = [\"10.77.0.11\", \"fd00:77::11\"]`. The first one is `{ip}`, and the one that is looked at for \
     `ready.tcp`. `\"auto\"` stands for an \
     address of each family that has a subnet and that the array does not name. tenantd finds it: the first time \
     at a place in the subnet that depends on the names of application and tenant, or after it if another tenant \
     has that. It is recorded in `/var/lib/tenantd/.addresses`, and the tenant keeps it.";

pub(super) const SYSCTLS: &str = "Settings of the kernel (sysctls) that a tenant has for itself. Without a value here, a \
     tenant has the host's, as it is when the tenant is provisioned: what an administrator has tuned in \
     sysctl.d(5) holds for tenants too. `net.ipv4.ip_unprivileged_port_start` is 0 in tenants, so that a \
     program without root may use every port. Possible are `net.core.somaxconn`, \
     `net.unix.max_dgram_qlen`, and in `net.ipv4`: `icmp_echo_ignore_all`, `ip_default_ttl`, \
     `ip_local_port_range`, `ip_nonlocal_bind`, `ip_unprivileged_port_start`, `ping_group_range`, \
     `tcp_congestion_control`, `tcp_ecn`, `tcp_fastopen`, `tcp_fin_timeout`, `tcp_keepalive_intvl`, \
     `tcp_keepalive_probes`, `tcp_keepalive_time`, `tcp_max_syn_backlog`, `tcp_max_tw_buckets`, \
     `tcp_mtu_probing`, `tcp_notsent_lowat`, `tcp_retries1`, `tcp_retries2`, `tcp_rmem`, `tcp_sack`, \
     `tcp_slow_start_after_idle`, `tcp_syn_retries`, `tcp_synack_retries`, `tcp_syncookies`, \
     `tcp_timestamps`, `tcp_tw_reuse`, `tcp_wmem`. Values of several numbers are strings: \
     `\"net.ipv4.ip_local_port_range\" = \"20000 30000\"`. Settings of [defaults] and of a tenant are added, or \
     replace those of the same name.";

#[cfg(test)]
mod tests {
    use super::SYSCTLS;
    use crate::sysctl::Sysctl;

    #[test]
    fn the_description_names_each_sysctl() {
        for one in Sysctl::all() {
            let name = one.name().trim_start_matches("net.ipv4.");
            assert!(SYSCTLS.contains(&format!("`{name}`")), "{name}");
        }
    }
}
