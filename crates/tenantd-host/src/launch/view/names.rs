//! The name of a tenant's own user, in its `/etc/passwd` and `/etc/group`: the host's text with a line more.
//!
//! So every program finds a name and a home, also one that reads the files itself. They are mounted over the
//! host's, which is not done for any other file, see [`files`](super::files): when the host replaces its
//! file by rename(2), the kernel removes the mount, and the tenant sees the host's until its next launch.
//! For these two that is better than what a union would show, a file that is out of date.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{on, opened};
use crate::launch::Order;
use crate::launch::mounts::Mounts;
use crate::launch::trees;
use tenantd_core::layout;
use tenantd_core::plan::model::{Identity, LaunchPlan};
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Files;

/// The files, and their names in the tenant's runtime folder.
pub(crate) const FILES: [(&str, &str); 2] = [("/etc/passwd", "passwd"), ("/etc/group", "group")];

/// No program of a service needs to log in.
const SHELL: &str = "/usr/sbin/nologin";

/// Adds the two files, if the tenant's user is its own. One that the host does not have, or that is in a folder of the
/// tenant, is left out.
///
/// # Errors
/// A [`Failure`] of stage files.
pub(in crate::launch) fn names(order: &Order<'_>, mounts: &mut Mounts) -> Result<(), Failure> {
    let launch = order.launch;
    if !launch.identity.own {
        return Ok(());
    }
    let lines = [passwd(launch, order.label), group(&launch.identity)];
    for ((path, name), line) in FILES.iter().zip(lines) {
        let path = Path::new(path);
        let is_tenants = mounts.targets().any(|(_, target)| path.starts_with(target))
            || launch.private.iter().any(|folder| path.starts_with(folder));
        if is_tenants {
            continue;
        }
        let text = match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            found => found.map_err(|error| failed(path, &error))?,
        };
        let own = folder(order.label).join(name);
        write(&own, text, &line).map_err(|error| failed(&own, &error))?;
        let tree = opened(&own).and_then(|found| trees::clone_alone(&found, true));
        mounts.add(STAGE, tree.map_err(on(STAGE, path))?, path)?;
    }
    Ok(())
}

/// The folder of a tenant, which exists while it is provisioned.
pub(in crate::launch) fn folder(label: &str) -> PathBuf {
    let (app, tenant) = label.split_once('/').unwrap_or_default();
    let app = Path::new(layout::RUNTIME).join(app);
    app.join("tenants").join(tenant)
}

/// The line of passwd(5).
fn passwd(launch: &LaunchPlan, label: &str) -> String {
    let Identity { user, uid, gid, .. } = &*launch.identity;
    let home = launch.environment.get("HOME").map(String::as_str);
    let home = home.filter(|home| home.starts_with('/') && !home.contains([':', '\n']));
    let home = home.unwrap_or("/");
    format!("{user}:x:{uid}:{gid}:tenant {label}:{home}:{SHELL}\n")
}

/// The line of group(5). Another group than the user's is the host's, which has its name.
fn group(identity: &Identity) -> String {
    let Identity { user, uid, gid, .. } = identity;
    match uid == gid {
        true => format!("{user}:x:{gid}:\n"),
        false => String::new(),
    }
}

/// Writes a new file in place of an old one, so that what an earlier launch has mounted does not change.
fn write(path: &Path, mut text: Vec<u8>, line: &str) -> std::io::Result<()> {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(line.as_bytes());
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
    fs::rename(&new, path)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    on(STAGE, path)(Errno::from_io_error(error).unwrap_or(Errno::IO))
}
