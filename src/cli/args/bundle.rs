//! The arguments of `export` and `import`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;
use tenantd_core::name::TenantName;

/// Of `export`.
pub(super) const EXPORT: &str = "EXAMPLES
  tenantd export acme --to acme.tenantd
  tenantd export acme | zstd > acme.tenantd.zst
  tenantd export acme | ssh other tenantd import - --app wiki

Writes one stream: the tenant's entry of the manifest and its whole datastore, with numeric
owners, access control lists, extended attributes, capabilities, hard links and holes, and
with checksums. It is a tar archive with PAX records. The tenant must be down, and cannot be
started meanwhile. Sockets are left out; a device in the datastore is an error, but for those
by which an overlay marks deleted files. What `tenantd usage` shows is not in it.

A FILE is made under another name, for root only, and gets its name once it is complete and on
disk; a device or a pipe is written as it is. Without --to the bundle goes to standard output.

EXIT CODES
  0 exported   1 failed; there is no FILE then   2 usage error";

/// Of `import`.
pub(super) const IMPORT: &str = "EXAMPLES
  tenantd import acme.tenantd --verify
  tenantd import acme.tenantd --app wiki
  tenantd import acme.tenantd --app wiki --as acme-copy --ip 10.77.0.20
  zstd -dc acme.tenantd.zst | tenantd import - --app wiki

Makes the datastore of a tenant from a bundle, and adds its entry to the manifest, as `tenantd
add` does. If the manifest has the tenant already, its entry stays as it is: so a tenant is
restored. With --ip, the entry of the bundle gets this address: a copy beside the original needs
another one. An entry of a bundle with `user`, `group`,
`secrets` or `datastore` is refused: write it to the manifest yourself. A datastore that is there is never replaced: move
it away first.

Nothing is made half: the datastore is made beside its place, checked, written to disk, and
renamed. An import that was killed leaves nothing that prevents the next one. Files of the
tenant's user get the user that the tenant has here. What is no datastore of a tenant is
refused: paths that leave it, devices, and files that give privileges where users could reach
them.

With --verify, nothing is made: the bundle is read and its checksums are compared. The tenant
is not started, unless a supervisor runs and the entry says so.

EXIT CODES
  0 imported, or intact   1 refused, damaged or failed   2 usage error   78 the manifest would
  have problems";

/// The arguments of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Name of the tenant
    #[arg(add = ArgValueCandidates::new(complete::tenants))]
    pub tenant: TenantName,
    /// File to make; `-` for standard output
    #[arg(long, value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    pub to: PathBuf,
}

/// The arguments of `import-unit`.
#[derive(Debug, Args)]
pub struct ImportUnit {
    /// Name of a service, or path of its unit
    #[arg(value_name = "UNIT", value_hint = ValueHint::FilePath)]
    pub unit: String,
}

/// The arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Bundle to read; `-` for standard input
    #[arg(value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    pub from: PathBuf,
    /// Name of the tenant, instead of that in the bundle
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<TenantName>,
    /// Address of the tenant, instead of that in the bundle; one of each family at most
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub ip: Vec<IpAddr>,
    /// Only check the bundle
    #[arg(long, conflicts_with_all = ["name", "ip"])]
    pub verify: bool,
}
