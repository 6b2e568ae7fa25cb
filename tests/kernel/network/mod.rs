//! Networks of tenants on the real kernel, each test in its own test host.

mod attacks;
mod exchange;
mod exposed;
mod failing;
mod filters;
mod firewall;
mod firewall6;
mod host;
mod ipv6;
mod ipv6_watch;
mod live;
mod load;
mod loopback;
mod macvlan;
mod outside;
mod port;
mod probe;
mod release;
mod shape;
mod sysctls;
mod unused;
mod uplink;
mod uplink_faults;
mod uplink_router;
mod verify;
mod watch;
