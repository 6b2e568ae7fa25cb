//! Names of tenants for the host: a folder of hosts files, one for each provisioned tenant, that dnsmasq(8) reads by
//! `hostsdir` or `addn-hosts`.
//!
//! A file is `TENANT.APP`, which is also the name in it: names have no dot. It appears whole, by rename(2), and under no
//! name that dnsmasq reads before.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tenantd_core::layout::HOSTS;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::address::Addresses;

/// The mode of a folder that tenantd has made, by which it is known again: another one stays.
const OURS: u32 = 0o555;

/// How often the folder is made again that the release of another tenant has just removed.
const TRIES: usize = 10;

fn name(app: &AppName, tenant: &TenantName) -> String {
    format!("{tenant}.{app}")
}

/// The file of a tenant.
#[must_use]
pub fn path(app: &AppName, tenant: &TenantName) -> PathBuf {
    Path::new(HOSTS).join(name(app, tenant))
}

/// The same before it is complete. dnsmasq reads no file whose name begins with a dot.
fn incomplete(app: &AppName, tenant: &TenantName) -> PathBuf {
    Path::new(HOSTS).join(format!(".{}.new", name(app, tenant)))
}

/// Writes the file of a tenant with these addresses.
///
/// # Errors
/// Those of making the folder and the file.
pub fn publish(app: &AppName, tenant: &TenantName, addresses: &Addresses) -> io::Result<()> {
    let name = name(app, tenant);
    let lines = addresses.iter().map(|it| format!("{it} {name}\n"));
    let (text, new) = (lines.collect::<String>(), incomplete(app, tenant));
    let write = || {
        match fs::create_dir(HOSTS) {
            Ok(()) => fs::set_permissions(HOSTS, fs::Permissions::from_mode(OURS))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        fs::write(&new, &text)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
        fs::rename(&new, path(app, tenant))
    };
    let is_gone = |written: &io::Result<()>| {
        let error = written.as_ref().err();
        error.is_some_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let mut written = write();
    for _ in 0..TRIES {
        if !is_gone(&written) {
            break;
        }
        written = write();
    }
    written
}

/// The addresses of a tenant that has a network now. `None` if there is no such tenant, or its file cannot be read.
#[must_use]
pub fn addresses(app: &AppName, tenant: &TenantName) -> Option<Vec<IpAddr>> {
    let text = fs::read_to_string(path(app, tenant)).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Some(
        lines
            .filter_map(|(address, _)| address.parse().ok())
            .collect(),
    )
}

/// Removes the file of a tenant, if there is one, and with the last one the folder, if tenantd has made it.
///
/// # Errors
/// Those of removing them.
pub fn withdraw(app: &AppName, tenant: &TenantName) -> io::Result<()> {
    for path in [incomplete(app, tenant), path(app, tenant)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let mode = fs::metadata(HOSTS).map(|found| found.permissions().mode() & 0o777);
    if mode.ok() != Some(OURS) {
        return Ok(());
    }
    let passes = [ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty];
    match fs::remove_dir(HOSTS) {
        Err(error) if !passes.contains(&error.kind()) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
