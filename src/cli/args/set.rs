//! The arguments of `set`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Wait;
use crate::cli::complete;
use tenantd_core::name::TenantName;

pub(super) const HELP: &str = "EXAMPLES
  tenantd set acme memory.max=1GiB
  tenantd set acme cpu.quota='150 %' io.max=/dev/sda:wbps=10MiB
  tenantd set acme memory.max=               takes it back
  tenantd set acme --reset                   takes back all that are set by hand
  tenantd set acme memory.max=1GiB --permanent

Sets limits of a running tenant, all of them or none, and returns once the kernel has confirmed
it. The tenant is not interrupted. They last over restarts of its program and of the supervisor,
until the tenant is stopped, they are taken back, or the manifest gets another value for that
limit. `status` of the tenant, `diff` and `verify` show them. The keys and values are those of
`limits` in tenantd.toml(5); unlimited is a value too. A memory.max below what the tenant uses is
refused: the kernel would end its processes.

With --permanent, the limits are written to those of the tenant in the manifest, which is then
reloaded. Comments and order of the manifest are preserved. If the new manifest has problems,
nothing is changed and all problems are shown. If no supervisor runs, the change takes effect
when one starts. Limits of each process, such as open_files, need --permanent.

The JSON is that of `tenantd start`, with the outcomes done, no-change and refused.";

/// The arguments of `set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Name of the tenant
    #[arg(add = ArgValueCandidates::new(complete::tenants))]
    pub tenant: TenantName,
    /// Limits of the tenant; without a value, one is taken back
    #[arg(
        value_name = "LIMIT=VALUE", required_unless_present = "reset", value_parser = setting
    )]
    pub limits: Vec<(String, String)>,
    /// Write them to the manifest
    #[arg(long, conflicts_with = "reset")]
    pub permanent: bool,
    /// Take back all limits that are set by hand, before those that are given
    #[arg(long)]
    pub reset: bool,
    /// Whether to wait, and what to print.
    #[command(flatten)]
    pub wait: Wait,
}

/// Parses KEY=VALUE.
pub(super) fn setting(typed: &str) -> Result<(String, String), String> {
    let (key, value) = typed.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
