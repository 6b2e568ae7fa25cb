//! The arguments of `cluster`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use tenantd_core::plan::cluster::{Local, Size};

pub(super) const HELP: &str = "EXAMPLES
  tenantd cluster plan --config /etc/tenantd/wiki.toml
  tenantd cluster plan --config /etc/tenantd/wiki.toml --local h1=acme,bolt --local h2=core | sh
  tenantd cluster plan --config wiki.toml --pcs --size h1=64GiB,16 --size h2=64GiB,16
  tenantd cluster plan --config /etc/tenantd/wiki.toml --check
  tenantd cluster plan --config wiki.toml --check --cib cib.xml --json | jq -r '.findings[].fix'
  tenantd cluster versions --app wiki h1 h2 h3

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

CHECK  With --check nothing is printed for a shell: what the cluster has, read with `cibadmin --query` or
  from the file of --cib, is compared with what the commands would make: fencing, sizes, and of each tenant its
  resource, time limits, meta attributes, utilization and constraints. Each line is missing, different or
  extra, and says what to type, for crm or pcs. Longer time limits are no difference. Rules, templates and
  groups are not compared. With --json, one object: app, ok, and findings with kind, subject, found and fix.

VERSIONS  `versions` asks each host, with ssh as root or the command of --rsh, and prints a line for each: the
  version of tenantd on disk and that of the supervisor that runs, the file that the tenants run and the package
  that it is of (dpkg or rpm), how many tenants run, and how many of them still run an older file. Pacemaker is not
  needed for it.

Exit code 1: versions, the hosts differ, tenants run an older file, or a host does not answer; with --check, something is missing, different or extra, or the cluster cannot be read; else, no tenant has that engine, or an option does not fit the manifest.   78: the manifest has
problems.";

/// What is done for a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// Print the commands
    Plan,
    /// Print the versions that hosts have
    Versions,
}

/// The arguments of `cluster`.
#[derive(Debug, Args)]
pub struct Cluster {
    /// What to do: plan, or versions
    #[arg(value_enum, value_name = "TASK", hide_possible_values = true)]
    pub task: Task,
    /// With versions, the hosts to ask; without one, this host
    #[arg(value_name = "HOST", value_parser = super::relocate::host)]
    pub hosts: Vec<String>,
    /// How the hosts are reached.
    #[command(flatten)]
    pub remote: super::relocate::Remote,
    /// Print commands for crm(8) [default]
    #[arg(long, conflicts_with = "pcs")]
    pub crm: bool,
    /// Print commands for pcs(8)
    #[arg(long)]
    pub pcs: bool,
    /// Compare a running cluster with the manifest, in place of printing commands
    #[arg(long)]
    pub check: bool,
    /// With --check, the cluster is what this file has, as cibadmin --query prints it; - is standard input
    #[arg(long, value_name = "FILE", requires = "check")]
    pub cib: Option<PathBuf>,
    /// With --check or versions, print JSON
    #[arg(long)]
    pub json: bool,
    /// Tenants with storage = "local" whose data is on this host
    #[arg(long, value_name = "HOST=TENANT,...")]
    pub local: Vec<Local>,
    /// What the tenants of this host may use, such as h1=64GiB,16
    #[arg(long, value_name = "HOST=MEMORY,PROCESSORS")]
    pub size: Vec<Size>,
}
