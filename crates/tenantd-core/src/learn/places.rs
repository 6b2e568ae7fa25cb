//! Where a path belongs: the folder that a manifest would list for it.
//!
//! A program that writes `/var/lib/x/a/b` has its data in `/var/lib/x`, not in the deepest folder: so a
//! path collapses to a folder of the Filesystem Hierarchy Standard and one part more.

use std::path::{Path, PathBuf};

/// The folders in which each program has one of its own.
const SHARED: [&str; 12] = [
    "/etc",
    "/home",
    "/opt",
    "/srv",
    "/usr/local",
    "/var/cache",
    "/var/games",
    "/var/lib",
    "/var/log",
    "/var/opt",
    "/var/spool",
    "/var/www",
];

/// The folders that belong to one kind of program as a whole.
const WHOLE: [&str; 3] = ["/root", "/var/mail", "/var/backups"];

/// The folders that each tenant has for itself.
const OWN: [&str; 4] = ["/dev", "/run", "/tmp", "/var/tmp"];

/// Where a written path belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// This folder of the program.
    Folder(PathBuf),
    /// A file beside the folders of other programs, such as `/etc/printcap`.
    File(PathBuf),
    /// This folder in one that each tenant has for itself, such as `/run/redis`.
    Private(PathBuf),
    /// One of the folders that each tenant has for itself.
    Own,
}

/// Where a path belongs.
#[must_use]
pub fn place(path: &Path, is_folder: bool) -> Place {
    if let Some(own) = OWN.iter().find(|own| path.starts_with(own)) {
        return private(Path::new(own), path, is_folder);
    }
    if let Some(whole) = WHOLE.iter().find(|whole| path.starts_with(whole)) {
        return Place::Folder(PathBuf::from(whole));
    }
    let shared = SHARED.iter().find(|shared| path.starts_with(shared));
    let Some(shared) = shared.map(Path::new) else {
        let folder = if is_folder { Some(path) } else { path.parent() };
        return match folder.filter(|folder| *folder != Path::new("/")) {
            Some(folder) => Place::Folder(folder.to_owned()),
            None => Place::File(path.to_owned()),
        };
    };
    match one_below(shared, path) {
        Some(below) if below != path || is_folder => Place::Folder(below),
        Some(file) => Place::File(file),
        None => Place::File(path.to_owned()),
    }
}

/// In `/run`, and in `/run/lock`, programs have folders of their own.
fn private(own: &Path, path: &Path, is_folder: bool) -> Place {
    let lock = Path::new("/run/lock");
    let base = match path.starts_with(lock) && path != lock {
        true => lock,
        false => own,
    };
    match one_below(base, path) {
        Some(below) if own == Path::new("/run") && (below != path || is_folder) => {
            Place::Private(below)
        }
        Some(_) | None => Place::Own,
    }
}

/// `path` without what is more than one part below `base`.
fn one_below(base: &Path, path: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(base).ok()?;
    let first = rest.components().next()?;
    Some(base.join(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_collapse_to_a_root_and_one_part() {
        let folder = |path: &str| Place::Folder(path.into());
        let file = |path: &str| Place::File(path.into());
        let private = |path: &str| Place::Private(path.into());
        for (path, is_folder, expected) in [
            ("/var/lib/x/a/b", false, folder("/var/lib/x")),
            ("/var/lib/x", true, folder("/var/lib/x")),
            ("/var/lib/x", false, file("/var/lib/x")),
            ("/etc/ldap/slapd.d/cn=config/a", false, folder("/etc/ldap")),
            ("/etc/printcap", false, file("/etc/printcap")),
            ("/etc", true, file("/etc")),
            ("/var/mail/ann", false, folder("/var/mail")),
            ("/run/redis/pid", false, private("/run/redis")),
            ("/run/nginx.pid", false, Place::Own),
            ("/run/lock/apache2/a", false, private("/run/lock/apache2")),
            ("/run/lock", true, private("/run/lock")),
            ("/tmp/a/b", false, Place::Own),
            ("/dev/shm/a", false, Place::Own),
            ("/data/x/y", false, folder("/data/x")),
            ("/x", false, file("/x")),
            ("/libx/y", false, folder("/libx")),
        ] {
            assert_eq!(place(Path::new(path), is_folder), expected, "{path}");
        }
    }
}
