//! The arguments of `run`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;
use tenantd_core::name::TenantName;

/// Of `run`.
pub(super) const HELP: &str = "EXAMPLES
  tenantd run --config tenants.toml
  tenantd --config tenants.toml
  systemctl start tenantd@wiki       runs /etc/tenantd/wiki.toml
  TENANTD_LOG=tenantd=debug tenantd run --config tenants.toml
  tenantd run --app wiki --tenant acme

With --tenant, the command starts one tenant, prints what happens to it, and runs until the tenant is
down: for another program that decides where a tenant runs (a unit of systemd, Nomad, a cluster).
The supervisor of the application must run; it supervises and restarts the tenant as the
manifest says. SIGTERM and SIGINT stop the tenant, and the command ends once it is proved that nothing
of it is left. If the supervisor is upgraded, detaches or dies, the tenant continues, and the
command waits for the next one. If the command itself is killed, the tenant continues; `tenantd
stop` stops it, and the next `run --tenant` takes it over. A second one for the same tenant is
refused.

Another host may have the datastore, because it is on shared storage or is a copy. The datastore
has a record of the host that uses it, and the start is refused then. With --takeover it is not:
use that only if the other host is switched off, or will never use the data again.

EXIT CODES of --tenant
  0  stopped, as a signal, an operator or the program itself wanted
  1  not started, for another reason
  10 given up: the program ended too often, or cannot be started
  11 not stopped: something of the tenant may be left, and the output says what
  12 refused: another host, or another `run --tenant`, has the tenant

ENVIRONMENT
  TENANTD_LOG   what the supervisor logs: a level (error, warn, info, debug, trace), or one
                for a part of it, as `tenantd=debug,tenantd_host=trace` [default: info]";

/// The arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Start this tenant only, by the running supervisor, and stop it at the end
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub tenant: Option<TenantName>,
    /// Take the datastore over from another host, which does not use it any more
    #[arg(long, requires = "tenant")]
    pub takeover: bool,
}
