//! Lets systemd start the unit again while tenants run: `tenantd free-cgroup`, which the unit runs once a supervisor
//! has ended, however that was.
//!
//! systemd puts the next supervisor into the unit's own cgroup. The kernel refuses that with EBUSY while that
//! cgroup has controllers enabled for those below it, see "no internal processes" in cgroups(7).

use std::ffi::OsString;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::{TENANTS, failure, mounted, own_cgroup};
use tenantd_core::stage::Failure;

/// The argument that asks for it.
const COMMAND: &str = "free-cgroup";

/// Where systemd puts the commands of a unit with delegation that run beside its processes.
const CONTROL: &str = ".control";

/// Does what this process was started for, if it is that. `None` if it is another command.
#[must_use]
pub fn asked() -> Option<Result<(), Failure>> {
    let mut arguments = std::env::args_os().skip(1);
    let is_it = arguments.next() == Some(OsString::from(COMMAND)) && arguments.next().is_none();
    is_it.then(|| match unit() {
        Some(unit) => vacate(&unit),
        None => Ok(()),
    })
}

/// The cgroup of the unit that this process is a command of.
fn unit() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = mounted()?.join(own_cgroup(&text)?.trim_start_matches('/'));
    let unit = match own.ends_with(CONTROL) {
        true => own.parent()?.to_owned(),
        false => own,
    };
    super::is_delegated(&unit).then_some(unit)
}

/// Enables no controller for the cgroups below that of a unit, so that a process may be put into it. The tenants
/// keep running, without limits until the next supervisor sets them.
///
/// # Errors
/// A [`Failure`] of stage cgroup.
pub fn vacate(unit: &Path) -> Result<(), Failure> {
    // The kernel refuses it above before it is done below.
    for cgroup in [unit.join(TENANTS), unit.to_owned()] {
        let path = cgroup.join("cgroup.subtree_control");
        let enabled = match fs::read_to_string(&path) {
            Ok(enabled) => enabled,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failure(&path, &error)),
        };
        let words = enabled.split_whitespace();
        let off: Vec<String> = words.map(|controller| format!("-{controller}")).collect();
        let written: Result<(), Error> = fs::write(&path, off.join(" "));
        written.map_err(|error| failure(&path, &error))?;
    }
    Ok(())
}
