//! The folders that a service writes to: which become a tenant's own, and how.

use std::collections::BTreeSet;
use std::path::Path;

use super::Surroundings;
use super::specifier::Specifiers;
use super::syntax::Settings;
use super::tmpfiles::{self, Made};
use super::words::split;

/// Where programs keep their data, each below a folder with the program's name.
const DATA: [&str; 4] = ["/var/lib", "/var/log", "/var/cache", "/var/spool"];

/// What is a tenant's own without being named.
const OWN: [&str; 5] = ["/tmp", "/var/tmp", "/dev", "/proc", "/run/lock"];

/// A folder, and why it is in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) path: String,
    pub(super) mode: Option<String>,
    /// Its owner, where that is not the owner of the host's folder.
    pub(super) user: Option<String>,
    /// The host's folder has something in it.
    pub(super) full: bool,
    /// Starts with a copy of the host's.
    pub(super) copied: bool,
    pub(super) why: String,
    /// A person has to decide: it is listed as a comment.
    pub(super) doubtful: bool,
}

/// The folders of a service.
#[derive(Debug, Default)]
pub(super) struct Folders {
    pub(super) data: Vec<Folder>,
    /// Empty at each start.
    pub(super) private: Vec<Folder>,
    /// Folders in private ones, which are empty.
    pub(super) inner: Vec<String>,
}

/// The settings that systemd makes folders for, where it makes them, and the variable that it sets.
pub(super) const MADE: [(&str, &str, &str); 5] = [
    ("StateDirectory", "/var/lib", "STATE_DIRECTORY"),
    ("CacheDirectory", "/var/cache", "CACHE_DIRECTORY"),
    ("LogsDirectory", "/var/log", "LOGS_DIRECTORY"),
    ("ConfigurationDirectory", "/etc", "CONFIGURATION_DIRECTORY"),
    ("RuntimeDirectory", "/run", "RUNTIME_DIRECTORY"),
];

/// Other settings with paths that the service may write to.
const WRITABLE: [&str; 2] = ["ReadWritePaths", "ReadWriteDirectories"];

/// What is asked about a service.
pub(super) struct Asked<'a> {
    pub(super) settings: &'a Settings,
    pub(super) specifiers: &'a Specifiers<'a>,
    pub(super) host: &'a dyn Surroundings,
    /// The names of the service, its program and its user.
    pub(super) names: &'a [String],
    /// The values of its environment, and its arguments.
    pub(super) values: &'a [String],
    pub(super) home: Option<&'a str>,
    /// The user, if it is not root.
    pub(super) user: Option<&'a str>,
}

impl Folders {
    pub(super) fn of(asked: &Asked<'_>, unknown: &mut BTreeSet<char>) -> Self {
        let mut folders = Self::default();
        let settings = asked.settings;
        for (setting, parent, _) in MADE {
            let mode = settings.last(&format!("{setting}Mode"));
            for name in made(settings, setting, asked.specifiers, unknown) {
                let made = Made::at(format!("{parent}/{name}")).with_mode(mode);
                folders.add(made, &format!("{setting}="), true);
            }
        }
        for setting in WRITABLE {
            for value in settings.all(setting) {
                for word in split(&asked.specifiers.replace(value, unknown)) {
                    let path = word.trim_start_matches(['-', '+']);
                    folders.add(Made::at(path), &format!("{setting}="), false);
                }
            }
        }
        let before = settings.all("ExecStartPre").into_iter();
        let before: Vec<String> = before
            .map(|value| asked.specifiers.replace(value, unknown))
            .collect();
        for mut made in before.iter().flat_map(|command| made_by(command)) {
            let mut owners = before.iter().filter_map(|it| owner_by(it, &made.path));
            made.user = owners.next_back().or(made.user.take());
            folders.add(made, "ExecStartPre=", false);
        }
        let files = asked.host.tmpfiles();
        for made in tmpfiles::folders(&files, asked.names, asked.specifiers, unknown) {
            folders.add(made, "tmpfiles.d", false);
        }
        folders.guess(asked, unknown);
        folders.data = without_inner(folders.data);
        folders.compare(asked);
        folders.inner = inner(&folders.private);
        folders.private = without_inner(folders.private);
        folders
    }

    /// Adds what no setting names as written to: the service's home and working folder, the folders
    /// whose file systems it needs, and folders of the host with its name.
    fn guess(&mut self, asked: &Asked<'_>, unknown: &mut BTreeSet<char>) {
        let mut guesses: Vec<(String, String)> = Vec::new();
        guesses.extend(
            asked
                .home
                .map(|home| (home.to_owned(), "its user's home".to_owned())),
        );
        let working = asked.settings.last("WorkingDirectory");
        let working = working.map(|it| it.trim_start_matches('-'));
        let working = working.map(|it| asked.specifiers.replace(it, unknown));
        guesses.extend(working.map(|path| (path, "WorkingDirectory=".to_owned())));
        for value in asked.settings.list("Unit", "RequiresMountsFor") {
            let paths = split(&asked.specifiers.replace(value, unknown));
            guesses.extend(
                paths
                    .into_iter()
                    .map(|it| (it, "RequiresMountsFor=".to_owned())),
            );
        }
        for value in asked.values {
            // `--data=/var/lib/x`. What has an extension is a file.
            let path = value.rsplit('=').next().unwrap_or_default();
            let last = path.rsplit('/').next().unwrap_or_default();
            let is_one = !path.contains(|c: char| c == ':' || c == ',' || c.is_whitespace());
            if is_one && !last.contains('.') || asked.host.folder(Path::new(path)).is_some() {
                guesses.push((path.to_owned(), "in the command or environment".to_owned()));
            }
        }
        for name in asked.names {
            for parent in DATA {
                let path = format!("{parent}/{name}");
                if asked.host.folder(Path::new(&path)).is_some() {
                    guesses.push((path, "on this host".to_owned()));
                }
            }
        }
        for (path, why) in guesses {
            let path = plain(&path);
            let is_data = DATA.iter().any(|parent| is_below(&path, parent));
            // What a setting names is more exact than a guess.
            let is_known = |it: &Folder| {
                is_below(&it.path, &path) || is_below(&path, &it.path) || it.path == path
            };
            if is_data && !self.data.iter().any(is_known) {
                self.add(Made::at(path), &why, false);
            }
        }
    }

    /// Compares the folders with those of the host, whose owners they get.
    fn compare(&mut self, asked: &Asked<'_>) {
        for folder in self.data.iter_mut().filter(|folder| !folder.copied) {
            let Some(found) = asked.host.folder(Path::new(&folder.path)) else {
                continue;
            };
            // No program needs the host's logs.
            folder.full = found.full && !is_below(&folder.path, "/var/log");
            let user = asked.user.filter(|user| *user != found.owner);
            folder.user = folder.user.take().or(user.map(str::to_owned));
        }
    }

    /// `made`: systemd makes the folder for the service, so it is the service's own.
    fn add(&mut self, new: Made, why: &str, made: bool) {
        let Made { path, mode, user } = new;
        let is_absolute = path.starts_with('/');
        let path = plain(&path);
        if !is_absolute || OWN.iter().any(|own| path == *own || is_below(&path, own)) {
            return;
        }
        let is_etc = is_below(&path, "/etc");
        let is_data = DATA.iter().any(|parent| is_below(&path, parent)) || is_below(&path, "/srv");
        let folder = Folder {
            copied: is_etc,
            doubtful: !made && !is_data && !is_below(&path, "/run"),
            why: why.to_owned(),
            full: false,
            mode,
            user,
            path,
        };
        // A private folder has the owner of the host's, which does not exist if a command makes it.
        let is_private = is_below(&folder.path, "/run") && folder.user.is_none();
        let list = match is_private {
            true => &mut self.private,
            false => &mut self.data,
        };
        match list.iter_mut().find(|it| it.path == folder.path) {
            Some(known) => known.mode = known.mode.take().or(folder.mode),
            None if folder.path == "/run" => {}
            None => list.push(folder),
        }
    }
}

/// The names in a setting such as `StateDirectory=`. What follows a colon is a link or a flag.
pub(super) fn made(
    settings: &Settings,
    setting: &str,
    specifiers: &Specifiers<'_>,
    unknown: &mut BTreeSet<char>,
) -> Vec<String> {
    let mut names = Vec::new();
    for value in settings.all(setting) {
        for word in split(&specifiers.replace(value, unknown)) {
            names.push(word.split(':').next().unwrap_or_default().to_owned());
        }
    }
    names
}

/// The folders that a command makes: `mkdir -p PATH...`, `install -d PATH...`.
pub(super) fn made_by(command: &str) -> Vec<Made> {
    let words = split(command.trim_start_matches(['@', '-', ':', '+', '!']));
    let program = words.first().and_then(|it| it.rsplit('/').next());
    let makes = match program {
        Some("mkdir") => true,
        Some("install") => words
            .iter()
            .any(|word| word == "-d" || word == "--directory"),
        Some(_) | None => false,
    };
    if !makes {
        return Vec::new();
    }
    let option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)
    };
    let paths = words.iter().skip(1).filter(|word| word.starts_with('/'));
    let made = paths.map(|path| Made {
        path: path.clone(),
        mode: option("-m").cloned(),
        user: option("-o").cloned(),
    });
    made.collect()
}

/// The owner that a command gives a folder: `chown USER:GROUP PATH`.
fn owner_by(command: &str, folder: &str) -> Option<String> {
    let words = split(command.trim_start_matches(['@', '-', ':', '+', '!']));
    let program = words.first()?.rsplit('/').next()?;
    let is_its = program == "chown" && words.iter().any(|word| plain(word) == plain(folder));
    let mut others = words.iter().skip(1).filter(|word| !word.starts_with('-'));
    let owner = others.next().filter(|_| is_its)?;
    let user = owner.split([':', '.']).next().unwrap_or_default();
    Some(user.to_owned()).filter(|user| !user.is_empty())
}

/// A path without repeated slashes, a slash at the end, and the old names of `/run`.
fn plain(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let path = format!("/{}", parts.join("/"));
    match path.strip_prefix("/var/run") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("/run{rest}"),
        Some(_) | None => path,
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The folders that another one contains.
fn inner(folders: &[Folder]) -> Vec<String> {
    let outer = || folders.iter().filter(|folder| !folder.doubtful);
    let inner = folders.iter().map(|folder| &folder.path);
    let inner = inner.filter(|path| outer().any(|outer| is_below(path, &outer.path)));
    inner.cloned().collect()
}

/// A folder that another one contains has no need of its own.
fn without_inner(folders: Vec<Folder>) -> Vec<Folder> {
    let inner = inner(&folders);
    let outer = folders.into_iter();
    outer
        .filter(|folder| !inner.contains(&folder.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_private_data_or_doubtful() {
        let mut folders = Folders::default();
        for path in [
            "/var/run/x/",
            "/run/x",
            "/run",
            "/tmp/x",
            "/var//lib/x",
            "/var/lib/x/y",
            "/etc/x",
            "/opt/x",
            "x",
        ] {
            folders.add(Made::at(path), "why", false);
        }
        folders.data = without_inner(folders.data);
        let paths = |list: &[Folder]| {
            let paths = list
                .iter()
                .map(|it| (it.path.clone(), it.copied, it.doubtful));
            paths.collect::<Vec<_>>()
        };
        let own = |path: &str, copied, doubtful| (path.to_owned(), copied, doubtful);
        assert_eq!(paths(&folders.private), [own("/run/x", false, false)]);
        assert_eq!(
            paths(&folders.data),
            [
                own("/var/lib/x", false, false),
                own("/etc/x", true, true),
                own("/opt/x", false, true)
            ]
        );
    }

    #[test]
    fn folders_that_a_command_makes_are_found() {
        let log = Made::at("/var/log/x").with_mode(Some("740"));
        assert_eq!(made_by("-/bin/mkdir -m 740 -p /var/log/x"), [log]);
        let made = made_by("/usr/bin/install -d -o x /run/x");
        assert_eq!(
            (made[0].path.as_str(), made[0].user.as_deref()),
            ("/run/x", Some("x"))
        );
        let owner = |command| owner_by(command, "/run/x");
        assert_eq!(owner("+/bin/chown -R x:y /run/x/").as_deref(), Some("x"));
        assert_eq!(owner("/bin/chown :y /run/x"), None);
        assert_eq!(owner("/bin/chown x /run/y"), None);
        assert_eq!(made_by("/bin/chown x /run/x"), []);
    }
}
