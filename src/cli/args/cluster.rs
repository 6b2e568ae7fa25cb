//! The arguments of `cluster`.

use clap::{Args, ValueEnum};

use tenantd_core::plan::cluster::{Local, Size};

pub(super) const HELP: &str = "EXAMPLES
  tenantd cluster plan --config /etc/tenantd/wiki.toml
  tenantd cluster plan --config /etc/tenantd/wiki.toml --local h1=acme,bolt --local h2=core | sh
  tenantd cluster plan --config wiki.toml --pcs --size h1=64GiB,16 --size h2=64GiB,16

Prints a script that makes each tenant with engine = \"pacemaker\" a resource of the cluster, with the name
APP.TENANT. It changes nothing. Run the script on one host of the cluster, where it applies all or nothing.
docs/cluster.md says what to set up before: the supervisors, and a fence device for each host. It always sets
stonith-enabled=true.

TIME LIMITS  `start`: the limits of init, before and ready together, and 30 s; `stop`: stop.grace, and 30 s;
  each at least 60 s. After a change of these in the manifest, run it again; with crm, what is there is
  changed, with pcs, remove the resource before.
MOVES  migration-threshold=1: tenantd has restarted the program before. resource-stickiness=100: a tenant
  does not move back when its host returns.
DATA  As `storage` in the manifest says. Name the host that has the data of each tenant with storage = \"local\",
  with --local: no other host starts it then, and it does not fail over. A tenant with \"replicated\" also needs
  constraints on its device, which you add: it starts after that is promoted.
SIZES  memory.max in MiB and cpu.quota in hundredths of a processor are what a tenant uses. They count once
  the hosts have a size: name all of them, with what is left for tenants.

Exit code 1: no tenant has that engine, or an option does not fit the manifest.   78: the manifest has
problems.";

/// What is done for a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// Print the commands
    Plan,
}

/// The arguments of `cluster`.
#[derive(Debug, Args)]
pub struct Cluster {
    /// What to do: plan
    #[arg(value_enum, value_name = "TASK", hide_possible_values = true)]
    pub task: Task,
    /// Print commands for crm(8) [default]
    #[arg(long, conflicts_with = "pcs")]
    pub crm: bool,
    /// Print commands for pcs(8)
    #[arg(long)]
    pub pcs: bool,
    /// Tenants with storage = "local" whose data is on this host
    #[arg(long, value_name = "HOST=TENANT,...")]
    pub local: Vec<Local>,
    /// What the tenants of this host may use, such as h1=64GiB,16
    #[arg(long, value_name = "HOST=MEMORY,PROCESSORS")]
    pub size: Vec<Size>,
}
