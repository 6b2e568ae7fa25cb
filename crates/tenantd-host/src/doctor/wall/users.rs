//! What of the host itself has the user of a tenant: a login, or a service of systemd.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::Unconfined;
use tenantd_core::plan::model::{Identity, Plan};

/// The folder with the units that are enabled, as links in its folders.
const ENABLED: &str = "/etc/systemd/system";

/// The shells of users who cannot log in.
const NO_SHELLS: [&str; 5] = ["nologin", "false", "true", "sync", "halt"];

/// What of the host has a user of these tenants, and is in no domain: users with a login shell, and services
/// that start with the host. What cannot be read is left out.
#[must_use]
pub fn of_host(plan: &Plan) -> BTreeSet<Unconfined> {
    let identities = plan.tenants.iter().map(|tenant| &*tenant.launch.identity);
    // Root reaches everything, by what it is.
    let others = identities.filter(|identity| identity.uid != 0);
    let users = others.map(|Identity { user, uid, .. }| (*uid, user.as_str()));
    with_users(&users.collect(), Path::new(ENABLED), shell)
}

fn with_users(
    users: &BTreeSet<(u32, &str)>,
    enabled: &Path,
    shell: impl Fn(u32) -> Option<PathBuf>,
) -> BTreeSet<Unconfined> {
    let units = units(enabled);
    let mut all = BTreeSet::new();
    for &(uid, user) in users {
        let mut add = |who: String| all.insert(Unconfined { uid, who });
        if let Some(shell) = shell(uid).filter(|shell| is_login(shell)) {
            add(format!("logins (the shell is {})", shell.display()));
        }
        let number = uid.to_string();
        let run = units.iter().filter(|(_, by)| *by == user || *by == number);
        for (name, _) in run {
            add(format!("the unit {name}"));
        }
    }
    all
}

fn shell(uid: u32) -> Option<PathBuf> {
    let found = User::from_uid(Uid::from_raw(uid)).ok()?;
    Some(found?.shell)
}

fn is_login(shell: &Path) -> bool {
    let name = shell.file_name().and_then(|name| name.to_str());
    // Without one it is /bin/sh, see passwd(5).
    name.is_none_or(|name| !NO_SHELLS.contains(&name))
}

/// The services that are enabled, each with its user.
fn units(enabled: &Path) -> BTreeSet<(String, String)> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let by_what = entries(enabled).filter(|entry| {
        let kind = entry.path().extension().map(std::ffi::OsStr::to_owned);
        kind.is_some_and(|kind| kind == "wants" || kind == "requires")
    });
    let links = by_what.flat_map(|folder| entries(&folder.path()).collect::<Vec<_>>());
    links
        .filter_map(|link| {
            let name = link.file_name().into_string().ok()?;
            let text = fs::read_to_string(link.path()).ok()?;
            Some((name, user_of(&text)?.to_owned()))
        })
        .collect()
}

/// The user in the text of a service, see systemd.exec(5).
fn user_of(text: &str) -> Option<&str> {
    let lines = text.lines().rev().map(str::trim);
    let mut users = lines.filter_map(|line| line.strip_prefix("User="));
    users.next().map(str::trim).filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_enabled_units_of_a_tenants_user_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let wants = folder.path().join("multi-user.target.wants");
        fs::create_dir(&wants).unwrap();
        for (unit, user) in [
            ("by-name", "redis"),
            ("by-number", "106"),
            ("other", "ldap"),
        ] {
            let text = format!("[Service]\nUser={user}\n");
            fs::write(wants.join(format!("{unit}.service")), text).unwrap();
        }
        fs::write(folder.path().join("not-enabled.service"), "User=redis\n").unwrap();
        let shell = |uid| {
            Some(PathBuf::from(if uid == 106 {
                "/bin/bash"
            } else {
                "/bin/false"
            }))
        };
        let users = [(106, "redis"), (33, "www-data")].into();
        let found = with_users(&users, folder.path(), shell);
        let named: Vec<(u32, &str)> = found.iter().map(|it| (it.uid, it.who.as_str())).collect();
        assert_eq!(
            named,
            [
                (106, "logins (the shell is /bin/bash)"),
                (106, "the unit by-name.service"),
                (106, "the unit by-number.service"),
            ]
        );
    }

    #[test]
    fn a_login_shell_is_told_from_others() {
        for (shell, expected) in [
            ("/bin/bash", true),
            ("", true),
            ("/usr/sbin/nologin", false),
            ("/bin/false", false),
        ] {
            assert_eq!(is_login(Path::new(shell)), expected, "{shell}");
        }
    }

    #[test]
    fn the_last_user_of_a_unit_counts() {
        let text = "[Service]\nUser=a\n# User=c\n User = no\nUser=b \nGroup=d\n";
        assert_eq!(user_of(text), Some("b"));
        assert_eq!(user_of("[Service]\nUser=\n"), None);
    }
}
