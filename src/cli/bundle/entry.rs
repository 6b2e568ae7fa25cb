//! What the entry of a bundle may say of this host: a stranger may have written it.

use std::path::Path;

use anyhow::bail;

use tenantd_core::name::TenantName;

/// The keys that are about what the host has: its users, files that root reads, and folders. A bundle does not bring
/// them. Its datastore would be any folder, such as one of systemd or of sshd, with files of root; a placeholder makes a
/// path absolute too, so none is allowed.
const OF_THE_HOST: [&str; 4] = ["user", "group", "secrets", "datastore"];

/// Whether the entry keeps to what is the tenant's own.
pub(super) fn check(
    config: &Path,
    tenant: &TenantName,
    entry: &[(String, String)],
) -> anyhow::Result<()> {
    let has = |name: &&str| {
        entry
            .iter()
            .any(|(key, _)| key.split('.').next() == Some(*name))
    };
    let found: Vec<&str> = OF_THE_HOST.into_iter().filter(has).collect();
    if found.is_empty() {
        return Ok(());
    }
    bail!(
        "{tenant}: not imported: its entry in the bundle has `{}`, which is about what this host has and which a bundle \
         does not bring: write an entry of {tenant} to {} yourself, without a reload, then import it again",
        found.join("`, `"),
        config.display()
    )
}
