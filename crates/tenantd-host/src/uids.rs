//! The users of tenants that have one of their own (`user = "per-tenant"`): which number and name each has, and which
//! are free.
//!
//! Each is recorded in a file, `/var/lib/tenantd/.uids/APP/TENANT`, before its first use, and stays
//! the tenant's: files on disk belong to a number, and its next owner could read them. Nothing in
//! tenantd removes a record.

mod records;
mod taken;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Group, User};

use crate::crash;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive::own_user_name;
use tenantd_core::plan::facts::{NoOwnUser, OwnUser, UidRange, WantedUsers};
use tenantd_core::plan::model::{Plan, TenantPlan};

use records::Records;
pub use taken::{Taken, taken};

/// The folder of all records.
pub const ROOT: &str = "/var/lib/tenantd/.uids";

/// The longest name that every program accepts, see useradd(8).
const NAME_MAX: usize = 31;

/// Whether the users of a plan are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// All of them.
    All,
    /// Another application has got one of the numbers since the plan was derived.
    Taken,
}

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] NoOwnUser),
    /// It could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
}

/// All recorded users, with their `APP/TENANT`.
///
/// # Errors
/// If a record cannot be read.
pub fn all() -> Result<BTreeMap<String, OwnUser>, NoOwnUser> {
    Ok(Records::read()?.into_users())
}

/// The users of tenants: those that are recorded, and for the others those that are free. Records nothing.
///
/// # Errors
/// If records or users of the host cannot be read, or no number is left.
pub fn find(wanted: &WantedUsers<'_>) -> Result<Vec<OwnUser>, NoOwnUser> {
    let mut records = Records::read()?;
    let mut numbers = wanted.range.first..=wanted.range.last;
    let each = wanted.tenants.iter().map(|tenant| {
        let label = label(wanted.app, tenant);
        if let Some(user) = records.of(&label) {
            return Ok(user.clone());
        }
        let uid = match records.former(&label, wanted.range)? {
            Some(uid) => uid,
            None => free(&records, &mut numbers)?.ok_or_else(|| NoOwnUser::Exhausted {
                tenant: (*tenant).clone(),
                range: wanted.range,
            })?,
        };
        let name = name(&records, wanted.app, tenant, uid)?;
        let user = OwnUser { name, uid };
        records.add(label, user.clone());
        Ok(user)
    });
    each.collect()
}

fn label(app: &AppName, tenant: &TenantName) -> String {
    format!("{app}/{tenant}")
}

/// The next number that nobody has or had.
fn free(
    records: &Records,
    numbers: &mut impl Iterator<Item = u32>,
) -> Result<Option<u32>, NoOwnUser> {
    for uid in numbers {
        if !records.has(uid) && !is_of_host(uid)? {
            return Ok(Some(uid));
        }
    }
    Ok(None)
}

/// Whether the host has a user or group of this number.
fn is_of_host(uid: u32) -> Result<bool, NoOwnUser> {
    let unknown = |errno| NoOwnUser::Unknown { uid, errno };
    let user = User::from_uid(uid.into()).map_err(unknown)?;
    let group = Group::from_gid(uid.into()).map_err(unknown)?;
    Ok(user.is_some() || group.is_some())
}

/// The name of a tenant's user: that of application and tenant, unless that is too long or taken.
fn name(
    records: &Records,
    app: &AppName,
    tenant: &TenantName,
    uid: u32,
) -> Result<String, NoOwnUser> {
    let unknown = |errno| NoOwnUser::Unknown { uid, errno };
    let name = own_user_name(app, tenant);
    let is_free = name.len() <= NAME_MAX
        && !records.has_name(&name)
        && User::from_name(&name).map_err(unknown)?.is_none()
        && Group::from_name(&name).map_err(unknown)?.is_none();
    if is_free {
        return Ok(name);
    }
    let suffix = format!("-{uid}");
    let kept = name.len().min(NAME_MAX - suffix.len());
    let begin = name[..kept].trim_end_matches('-');
    Ok(format!("{begin}{suffix}"))
}

/// Records the users of a plan, on disk when this returns. They stay recorded whatever becomes of the plan.
///
/// # Errors
/// See [`RecordError`]. Some of them may be recorded.
pub fn record(plan: &Plan) -> Result<Recorded, RecordError> {
    let own = |tenant: &TenantPlan| Some((label(&plan.app, &tenant.name), tenant.own_user()?));
    let own: Vec<(String, OwnUser)> = plan.tenants.iter().filter_map(own).collect();
    if own
        .iter()
        .all(|(label, user)| is_recorded(label, user).unwrap_or(false))
    {
        return Ok(Recorded::All);
    }
    let lock = records::lock()?;
    let mut records = Records::read()?;
    for (label, user) in own {
        match records.of(&label) {
            Some(recorded) if *recorded == user => continue,
            Some(_) => return Ok(Recorded::Taken),
            None => {}
        }
        if records.is_other(&label, &user) {
            return Ok(Recorded::Taken);
        }
        let tenant = label.rsplit('/').next().unwrap_or_default().to_owned();
        crash::point("uids: before the record", &tenant);
        records::write(&label, &user)?;
        crash::point("uids: recorded", &tenant);
        records.add(label, user);
    }
    records::sync(&lock)?;
    Ok(Recorded::All)
}

/// Whether the user of a tenant is recorded as the plan has it.
fn is_recorded(label: &str, user: &OwnUser) -> Result<bool, NoOwnUser> {
    let found = records::read_at(&Path::new(ROOT).join(label))?;
    Ok(found.is_some_and(|found| found == *user))
}

fn unreadable(path: &Path, error: &std::io::Error) -> NoOwnUser {
    NoOwnUser::Unreadable {
        path: path.to_owned(),
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Whether a number is in a range.
fn contains(range: UidRange, uid: u32) -> bool {
    range.first <= uid && uid <= range.last
}
