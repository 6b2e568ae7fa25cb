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
}

impl Folders {
    pub(super) fn of(asked: &Asked<'_>, unknown: &mut BTreeSet<char>) -> Self {
        let mut folders = Self::default();
        let settings = asked.settings;
        for (setting, parent, _) in MADE {
            let mode = settings.last(&format!("{setting}Mode"));
            for name in made(settings, setting, asked.specifiers, unknown) {
                let made = (format!("{parent}/{name}"), mode.map(str::to_owned));
                folders.add(made, &format!("{setting}="), true);
            }
        }
        for setting in WRITABLE {
            for value in settings.all(setting) {
                for word in split(&asked.specifiers.replace(value, unknown)) {
                    let path = word.trim_start_matches(['-', '+']);
                    folders.add((path.to_owned(), None), &format!("{setting}="), false);
                }
            }
        }
        for value in settings.all("ExecStartPre") {
            for made in made_by(&asked.specifiers.replace(value, unknown)) {
                folders.add(made, "ExecStartPre=", false);
            }
        }
        let files = asked.host.tmpfiles();
        for made in tmpfiles::folders(&files, asked.names, asked.specifiers, unknown) {
            folders.add(made, "tmpfiles.d", false);
        }
        folders.guess(asked, unknown);
        folders.data = without_inner(folders.data);
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
        let working = working.map(|it| it.trim_start_matches('-').to_owned());
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
            if is_one && !last.contains('.') || asked.host.has_folder(Path::new(path)) {
                guesses.push((path.to_owned(), "in the command or environment".to_owned()));
            }
        }
        for name in asked.names {
            for parent in DATA {
                let path = format!("{parent}/{name}");
                if asked.host.has_folder(Path::new(&path)) {
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
                self.add((path, None), &why, false);
            }
        }
    }

    /// `made`: systemd makes the folder for the service, so it is the service's own.
    fn add(&mut self, (path, mode): Made, why: &str, made: bool) {
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
            mode,
            path,
        };
        let list = match is_below(&folder.path, "/run") {
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
    let mode = words.iter().position(|word| word == "-m").map(|at| at + 1);
    let mode = mode.and_then(|at| words.get(at)).cloned();
    let paths = words.iter().skip(1).filter(|word| word.starts_with('/'));
    paths.map(|path| (path.clone(), mode.clone())).collect()
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
            folders.add((path.to_owned(), None), "why", false);
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
        let mode = Some("740".to_owned());
        assert_eq!(
            made_by("-/bin/mkdir -m 740 -p /var/log/x"),
            [("/var/log/x".to_owned(), mode)]
        );
        assert_eq!(
            made_by("/usr/bin/install -d -o x /run/x"),
            [("/run/x".to_owned(), None)]
        );
        assert_eq!(made_by("/bin/chown x /run/x"), []);
    }
}
