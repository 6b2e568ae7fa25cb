//! `exec --user`: a user of the host instead of the tenant's.

use std::collections::BTreeMap;
use std::ffi::CString;

use anyhow::Context;
use nix::unistd::{User, getgrouplist};

use tenantd_api::wire::ExecTarget;

/// The programs that such a command finds: none that a tenant can have put there.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes a command run as this user. It gets that user's environment and not the tenant's, whose variables
/// may name files that the tenant can write, for a shell to read.
///
/// # Errors
/// If there is no such user, or its groups cannot be read.
pub(super) fn run_as(name: &str, target: &mut ExecTarget) -> anyhow::Result<()> {
    let found = User::from_name(name).with_context(|| format!("cannot look up the user {name}"))?;
    let user = found.with_context(|| format!("there is no user {name} on this host"))?;
    let groups = getgrouplist(&CString::new(name)?, user.gid)
        .with_context(|| format!("cannot read the groups of the user {name}"))?;
    if user.uid.as_raw() != target.uid
        && let Some(privileges) = &mut target.privileges
    {
        // What the manifest lists is for the program.
        privileges.capabilities = None;
    }
    target.uid = user.uid.as_raw();
    target.gid = user.gid.as_raw();
    target.groups = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
    target.environment = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOME".to_owned(), user.dir.display().to_string()),
        ("USER".to_owned(), name.to_owned()),
        ("LOGNAME".to_owned(), name.to_owned()),
    ])
    .into_iter()
    .collect();
    Ok(())
}
