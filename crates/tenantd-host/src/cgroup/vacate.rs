//! Lets systemd start the unit again while tenants run: `tenantd free-cgroup`, which the unit runs once a supervisor
//! has ended, however that was.
//!
//! systemd puts the next supervisor into the unit's own cgroup. The kernel refuses that with EBUSY while that
//! cgroup has controllers enabled for those below it, see "no internal processes" in cgroups(7).
//!
//! What a controller has counted is gone with it. So the counters of the tenants are kept for the meter before.

use std::ffi::OsString;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::{APP, TENANTS, failure, mounted, own_cgroup};
use crate::counters::last::{self, LostCounters};
use crate::runtime::tenants_in;
use tenantd_core::name::{APP_NAME_MAX, AppName, TenantName};
use tenantd_core::stage::Failure;

/// The argument that asks for it.
const COMMAND: &str = "free-cgroup";

/// Where systemd puts the commands of a unit with delegation that run beside its processes.
const CONTROL: &str = ".control";

/// Does what this process was started for, if it is that. `None` if it is another command.
#[must_use]
pub fn asked() -> Option<Result<Vec<(TenantName, LostCounters)>, Failure>> {
    let mut arguments = std::env::args_os().skip(1);
    let is_it = arguments.next() == Some(OsString::from(COMMAND)) && arguments.next().is_none();
    is_it.then(|| match unit() {
        Some(unit) => vacate(&unit),
        None => Ok(Vec::new()),
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
/// keep running, without limits until the next supervisor sets them. Returns the tenants whose counters are lost for the
/// meter.
///
/// # Errors
/// A [`Failure`] of stage cgroup.
pub fn vacate(unit: &Path) -> Result<Vec<(TenantName, LostCounters)>, Failure> {
    let lost = keep_counters(&unit.join(TENANTS));
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
    Ok(lost)
}

/// Keeps the counters of all tenants. Returns those of whom they are lost: the unit is started again all the same.
fn keep_counters(tenants: &Path) -> Vec<(TenantName, LostCounters)> {
    let mut name = [0_u8; APP_NAME_MAX];
    let named = rustix::fs::getxattr(tenants, APP, &mut name[..]);
    let named = named.ok().and_then(|length| name.get(..length));
    let app = named.and_then(|name| std::str::from_utf8(name).ok()?.parse::<AppName>().ok());
    let leaves = tenants_in(tenants, |entry| entry.path().is_dir());
    let (Some(app), Ok((leaves, _))) = (app, leaves) else {
        return Vec::new();
    };
    let kept = leaves.into_iter().map(|tenant| {
        let leaf = tenants.join(tenant.as_str());
        let kept = last::keep(&app, &tenant, (Some(&leaf), None));
        (tenant, kept)
    });
    kept.filter_map(|(tenant, kept)| Some((tenant, kept.err()?)))
        .collect()
}
