//! What follows from a run: which folders a tenant needs, and when it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Place, Seen, What, place};

/// What a path is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHost {
    /// Nothing.
    Missing,
    /// A folder without anything in it.
    Empty,
    /// A folder with something in it.
    Full,
    /// A file, a link, or something else.
    Other,
}

/// A folder that a tenant needs for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// Whether it begins as a copy of the host's folder.
    pub copied: bool,
    /// Its owner, if that is neither the host's nor the program's user.
    pub user: Option<String>,
    /// How many paths in it were written, by what happened to them.
    pub writes: BTreeMap<What, usize>,
    /// The log files in it, with wildcards.
    pub logs: BTreeSet<PathBuf>,
}

/// When a tenant is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// When it has sent `READY=1`.
    Notify,
    /// When it accepts connections on this port.
    Tcp(u16),
    /// When it has run for a while: it has neither.
    Lived,
}

/// What follows from a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The folders that a tenant needs, none in another one.
    pub folders: Vec<Folder>,
    /// The folders in memory that a tenant needs.
    pub private: BTreeSet<PathBuf>,
    /// Files that it wrote beside the folders of other programs: no folder can give them to a tenant.
    pub files: BTreeSet<PathBuf>,
    /// When it is ready.
    pub ready: Ready,
}

impl Findings {
    /// What follows from a run of a program that was started as `user`. `on_host` tells what the host
    /// has at a path.
    #[must_use]
    pub fn of(seen: &Seen, user: &str, on_host: &dyn Fn(&Path) -> OnHost) -> Self {
        let mut folders: BTreeMap<PathBuf, Folder> = BTreeMap::new();
        let mut private = BTreeSet::new();
        let mut files = BTreeSet::new();
        let owner = |path: &Path| seen.made.get(path).filter(|made| *made != user);
        for write in &seen.writes {
            match place(&write.path, write.is_folder) {
                Place::Folder(path) => {
                    let copied = is_copied(&path, on_host);
                    let made = Folder::new(path.clone(), copied, owner(&path));
                    let folder = folders.entry(path).or_insert(made);
                    *folder.writes.entry(write.what).or_default() += 1;
                    folder
                        .logs
                        .extend(log_file(&folder.path, &write.path, write.is_folder));
                }
                Place::File(path) => {
                    files.insert(path);
                }
                // A folder that the program makes itself is made in a tenant too.
                Place::Private(path) if is_needed(&path, seen, on_host) => {
                    // A private folder belongs to the user as which the program is started.
                    if let user @ Some(_) = owner(&path) {
                        folders.insert(path.clone(), Folder::new(path, false, user));
                    } else {
                        private.insert(path);
                    }
                }
                Place::Private(_) | Place::Own => {}
            }
        }
        Self {
            folders: without_inner(folders.into_values().collect()),
            private: outermost(private),
            files,
            ready: ready(seen),
        }
    }

    /// The folders, as they are kept beside a manifest.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.folders.iter().map(|it| it.path.clone()).collect()
    }
}

impl Folder {
    fn new(path: PathBuf, copied: bool, user: Option<&String>) -> Self {
        Self {
            path,
            copied,
            user: user.cloned(),
            writes: BTreeMap::new(),
            logs: BTreeSet::new(),
        }
    }
}

/// Logs are never copied: those of the host are not the tenant's.
fn is_copied(path: &Path, on_host: &dyn Fn(&Path) -> OnHost) -> bool {
    !path.starts_with("/var/log") && on_host(path) == OnHost::Full
}

fn is_needed(path: &Path, seen: &Seen, on_host: &dyn Fn(&Path) -> OnHost) -> bool {
    // It is a tenant's own already.
    let is_lock = path == Path::new("/run/lock");
    let was_there = matches!(on_host(path), OnHost::Empty | OnHost::Full);
    was_there && !is_lock || seen.made.contains_key(path)
}

/// The pattern of a log file. A rotated or compressed file has another name.
fn log_file(folder: &Path, path: &Path, is_folder: bool) -> Option<PathBuf> {
    if is_folder || !folder.starts_with("/var/log") {
        return None;
    }
    let name = path.file_name()?.to_str()?;
    let pattern = match name {
        _ if name.ends_with(".log") => "*.log",
        _ if name.ends_with("_log") => "*_log",
        _ => name,
    };
    Some(path.with_file_name(pattern))
}

fn ready(seen: &Seen) -> Ready {
    let open = seen.ports.iter();
    let mut open = open.filter(|port| port.is_tcp && !port.address.is_loopback());
    match open.next() {
        _ if seen.notified => Ready::Notify,
        Some(port) => Ready::Tcp(port.number),
        None => Ready::Lived,
    }
}

/// Private folders cannot be nested.
fn outermost(paths: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut outer: BTreeSet<PathBuf> = BTreeSet::new();
    for path in paths {
        if !path.ancestors().any(|above| outer.contains(above)) {
            outer.insert(path);
        }
    }
    outer
}

fn without_inner(folders: Vec<Folder>) -> Vec<Folder> {
    let paths: Vec<PathBuf> = folders.iter().map(|it| it.path.clone()).collect();
    let is_inner = |path: &Path| {
        let mut others = paths.iter();
        others.any(|other| path != other && path.starts_with(other))
    };
    let outer = folders.into_iter();
    outer.filter(|folder| !is_inner(&folder.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Port, Write};

    fn wrote(path: &str, what: What) -> Write {
        Write {
            path: path.into(),
            what,
            is_folder: false,
            beside_host: true,
        }
    }

    fn host(path: &Path) -> OnHost {
        match path.to_str() {
            Some("/etc/cups" | "/var/log/cups" | "/run/lock" | "/run/known") => OnHost::Full,
            Some("/var/spool/cups") => OnHost::Empty,
            _ => OnHost::Missing,
        }
    }

    #[test]
    fn folders_get_the_seed_of_their_kind() {
        let seen = Seen {
            writes: vec![
                wrote("/etc/cups/printers.conf", What::New),
                wrote("/etc/cups/ssl/key", What::Changed),
                wrote("/var/spool/cups/d1", What::New),
                wrote("/var/log/cups/access_log", What::Opened),
                wrote("/var/cache/cups/x", What::New),
                wrote("/etc/printcap", What::New),
                wrote("/tmp/x", What::New),
            ],
            ..Seen::default()
        };
        let found = Findings::of(&seen, "root", &host);
        let folders: Vec<_> = found
            .folders
            .iter()
            .map(|it| (it.path.to_str().unwrap(), it.copied))
            .collect();
        assert_eq!(
            folders,
            [
                ("/etc/cups", true),
                ("/var/cache/cups", false),
                ("/var/log/cups", false),
                ("/var/spool/cups", false)
            ]
        );
        assert_eq!(found.folders[0].writes[&What::New], 1);
        let logs: Vec<_> = found.folders[2].logs.iter().collect();
        assert_eq!(logs, [Path::new("/var/log/cups/*_log")]);
        assert_eq!(found.files, BTreeSet::from(["/etc/printcap".into()]));
        assert_eq!(found.ready, Ready::Lived);
    }

    #[test]
    fn only_folders_that_the_program_does_not_make_are_private() {
        let seen = Seen {
            writes: vec![
                wrote("/run/known/pid", What::New),
                wrote("/run/asked/pid", What::New),
                wrote("/run/itself/pid", What::New),
                wrote("/run/lock/x", What::New),
                wrote("/run/others/pid", What::New),
            ],
            made: ["root", "bind"]
                .map(|user| (format!("/run/{}", user.replace("root", "asked")), user))
                .map(|(path, user)| (path.replace("bind", "others").into(), user.to_owned()))
                .into(),
            ..Seen::default()
        };
        let found = Findings::of(&seen, "root", &host);
        let private: Vec<_> = found.private.iter().collect();
        assert_eq!(private, [Path::new("/run/asked"), Path::new("/run/known")]);
        let own = &found.folders[0];
        assert_eq!(
            (own.path.to_str(), own.user.as_deref()),
            (Some("/run/others"), Some("bind"))
        );
    }

    #[test]
    fn a_message_comes_before_a_port_and_a_port_of_loopback_is_none() {
        let port = |number, address: &str| Port {
            number,
            is_tcp: true,
            address: address.parse().unwrap(),
        };
        let mut seen = Seen {
            ports: BTreeSet::from([port(631, "127.0.0.1"), port(80, "0.0.0.0")]),
            ..Seen::default()
        };
        assert_eq!(Findings::of(&seen, "root", &host).ready, Ready::Tcp(80));
        seen.notified = true;
        assert_eq!(Findings::of(&seen, "root", &host).ready, Ready::Notify);
        seen.notified = false;
        seen.ports.remove(&port(80, "0.0.0.0"));
        assert_eq!(Findings::of(&seen, "root", &host).ready, Ready::Lived);
    }
}
