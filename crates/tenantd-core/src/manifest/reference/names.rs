//! Descriptions of the keys about looking names up.

use super::{Fallback, Kind};

/// Whose file it is.
pub(super) const FILE: Kind = Kind::Choice(&["own", "host"]);

/// The default of it.
pub(super) const OWN: Fallback = Fallback::Derived("`\"own\"`");

/// Of `[defaults]`.
pub(super) const RESOLV: &str = "How tenants look names up, see [defaults.resolv].";

/// Of `[defaults.resolv]`.
pub(super) const TABLE: &str = "`resolv` of [defaults] and of a tenant: the tenant's `/etc/resolv.conf`, see resolv.conf(5). A \
     change is applied to running tenants.";

/// Of `[defaults.resolv]`.
pub(super) const NAMESERVERS: &str = "The addresses of name servers, at most three. Without it, the tenant has those of the host; a stub \
     of the host on 127.0.0.0/8 or ::1, which a tenant cannot reach, is replaced by the servers that it \
     asks. A server is left out while `outbound`, `egress`, `peers` and `host_services` do not let the tenant \
     reach it. With `host_services = [\"dns\"]` the gateway is used if no other one is left. Without any, look-ups \
     fail at once.";

/// Of `[defaults.resolv]`.
pub(super) const RESOLV_FILE: &str = "`own`: the tenant has a file of its own. `host`: it sees the file of the host, with which look-ups may \
     wait for a server that it cannot reach. A change relaunches the tenant.";

/// Of `[defaults]`.
pub(super) const HOSTS: &str = "Whose `/etc/hosts` tenants have. `own`: the lines of the host, and before them the tenant's address with \
     the names TENANT and TENANT.APP, and those of the tenants that `peers` names. The host's own name stands for the \
     tenant's address there, so that a program can bind it. `host`: the file of the host. A change relaunches the \
     tenant.";
