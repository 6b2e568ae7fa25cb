//! The arguments of `set`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Wait;
use crate::cli::complete;
use tenantd_core::name::TenantName;

pub(super) const HELP: &str = "EXAMPLES
  tenantd set acme memory.max=1GiB --permanent
  tenantd set acme cpu.quota='150 %' pids.max=200 --permanent
  tenantd set acme hugetlb.2MB=64MiB open_files=4096 --permanent

Writes the limits to those of the tenant in the manifest, and reloads: a running tenant is not
interrupted. The keys and values are those of `limits` in tenantd.toml(5); unlimited is a value
too. Comments and order of the manifest are preserved. If the new manifest has problems, nothing
is changed and all problems are shown. If no supervisor runs, the change takes effect when one
starts. The JSON is that of `tenantd start`.";

/// The arguments of `set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Name of the tenant
    #[arg(add = ArgValueCandidates::new(complete::tenants))]
    pub tenant: TenantName,
    /// Limits of the tenant
    #[arg(value_name = "LIMIT=VALUE", required = true, value_parser = super::setting)]
    pub limits: Vec<(String, String)>,
    /// Write them to the manifest; required
    #[arg(long, required = true)]
    pub permanent: bool,
    /// Whether to wait, and what to print.
    #[command(flatten)]
    pub wait: Wait,
}
