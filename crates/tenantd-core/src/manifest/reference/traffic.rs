//! Descriptions of the keys about a tenant's traffic.

/// Of `[network]`.
pub(super) const FIREWALL: &str = "Whether tenantd makes its own tables of nftables(8), `tenantd_APP`, which refuse what is not \
     allowed: traffic between tenants, to services of the host, out and in, and packets with \
     another's address. `off` is for a host whose kernel has no nf_tables: then tenants reach the \
     host's services, and what it forwards.";

/// Of `[defaults]`.
pub(super) const OUTBOUND: &str = "How tenants reach others than tenants and the host. `none`: not at all, and the program is told \
     at once. `nat`: by an address of the host (masquerade). `routed`: by their own addresses, by \
     which others reach them too. The host must forward (`net.ipv4.ip_forward = 1`): tenantd does not \
     change that. A change takes effect with a reload, for new connections.";

/// Of a tenant.
pub(super) const OUTBOUND_OWN: &str =
    "How the tenant reaches others than tenants and the host, see [defaults].";

/// Of `[defaults]`.
pub(super) const EGRESS: &str = "What `outbound` allows; everything if it is not set. Rules in order: the first that matches \
     decides, and what matches none is refused. `any` stands for all addresses; networks of IPv6 are in brackets: \
     `allow [2001:db8::/32]:443`. Name servers \
     count too: without a rule for them, names are not resolved. A change takes effect with a \
     reload, for new connections.";

/// Of a tenant.
pub(super) const EGRESS_OWN: &str = "What `outbound` allows, see [defaults].";

/// Of `[defaults]`.
pub(super) const OUTBOUND_FROM: &str = "The address of the host that others see with `outbound = \"nat\"`, at most one of each family. The host must have it.";

/// Of a tenant.
pub(super) const OUTBOUND_FROM_OWN: &str = "The address of the host that others see with `outbound = \"nat\"`, at most one of each family. The host must have it.";

/// Of `[defaults]`.
pub(super) const PEERS: &str = "The tenants of the application that each tenant may connect to, by their addresses; `\"*\"` stands \
     for all. Tenants of other applications are reached by published ports only. A change takes \
     effect with a reload.";

/// Of a tenant.
pub(super) const PEERS_OWN: &str = "The tenants that this one may connect to, see [defaults]. They may not connect to it unless \
     they name it too.";

/// Of `[defaults]`.
pub(super) const HOST_SERVICES: &str = "The services of the host that tenants may use, on any of its addresses. `\"dns\"` stands for \
     53/udp and 53/tcp. A change takes effect with a reload.";

/// Of a tenant.
pub(super) const HOST_SERVICES_OWN: &str =
    "The services of the host that the tenant may use, see [defaults].";

/// Of `[defaults]`.
pub(super) const EXPOSED: &str = "Ports on which the program listens at 127.0.0.1 or `::1` only: they are reached by the \
     tenant's addresses too, from 127.0.0.1 for IPv4 addresses and from `::1` for IPv6 addresses. Who may connect is the \
     same as for other ports. The translation is in the tenant's network namespace alone. Without a protocol, TCP. A change \
     takes effect with a reload.";

/// Of a tenant.
pub(super) const EXPOSED_OWN: &str =
    "Ports on which the program listens at 127.0.0.1 or `::1` only, see [defaults].";

/// Of a tenant.
pub(super) const PUBLISH: &str = "Ports of the host that lead to ports of the tenant: from outside, from the host, also by \
     127.0.0.1 and `[::1]`, and from other tenants. Without an address, on all IPv4 addresses of the host; `[::]` \
     stands for all of IPv6. The tenant needs an address of the same family. Without \
     a protocol, TCP. A socket of tenantd holds the port of the host. A change takes effect with a \
     reload.";

/// Of `[defaults]`.
pub(super) const RATE: &str = "The most that each tenant receives (`in`) and sends (`out`) by its link, headers included: a number and \
     `bit/s`, `kbit/s`, `Mbit/s` or `Gbit/s` (multiples of 1,000), from 64 kbit/s to 32 Gbit/s. A string alone is \
     for both. 80 kB, or what the rate passes in 10 ms, may be sent at once. A change takes effect with a \
     reload, without a restart.";

/// Of a tenant.
pub(super) const RATE_OWN: &str = "The most that the tenant receives and sends, see [defaults]. `\"unlimited\"`: without a limit.";
