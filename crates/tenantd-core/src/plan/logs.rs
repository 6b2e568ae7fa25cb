//! The log files that a program writes itself: where they are on the host.

use std::path::PathBuf;

use toml::Spanned;

use super::fields::See;
use super::fields::field::Key::Later;
use super::fields::field::decides;
use super::model::{Bound, DatastorePlan, LogFiles, Measure};
use super::paths::AppPaths;
use crate::manifest::problem::Problems;
use crate::manifest::raw::Manifest;

/// The longest path of a log file in bytes. It is stored with each of its lines.
const PATH_MAX: usize = 200;

/// The default of `log_rate` in bytes a second. A busy server writes a tenth of it.
const RATE: u64 = 512 * 1024;

/// Where the log files of one folder are on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnHost {
    /// The datastore. Only root can replace it.
    pub root: PathBuf,
    /// The folder of the log files in it; empty if it is the datastore itself. The tenant may have made
    /// parts of it.
    pub inside: PathBuf,
    /// The same for a datastore that was made for several folders, and has one only today. What is on
    /// the host decides, not the plan.
    pub in_tree: PathBuf,
}

/// Where log files of a tenant are on the host; None if they are in no folder of the tenant.
#[must_use]
pub fn on_host(datastore: &DatastorePlan, files: &LogFiles) -> Option<OnHost> {
    let folder = &files.folder;
    let targets = datastore.folders.iter().map(|it| it.target.as_path());
    let mut targets = targets.chain(datastore.target.as_deref());
    let target = targets.find(|target| folder.starts_with(target))?;
    let in_tree = folder.strip_prefix("/").ok()?.to_owned();
    let inside = match datastore.is_tree() {
        true => in_tree.clone(),
        false => folder.strip_prefix(target).ok()?.to_owned(),
    };
    Some(OnHost {
        root: datastore.source.clone(),
        inside,
        in_tree,
    })
}

/// Whether a name matches a pattern, in which `*` is any text and `?` one character.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where to continue if what follows the last star does not match.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(one) if *one == '?' || *one == name[seen] => {
                at += 1;
                seen += 1;
            }
            Some(_) | None => {
                let Some((of, taken)) = star else {
                    return false;
                };
                star = Some((of, taken + 1));
                at = of + 1;
                seen = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&one| one == '*')
}

/// How many bytes of a tenant's output are read a second.
pub(super) fn rate(manifest: &Manifest) -> u64 {
    let rate = manifest.app.log_rate.as_ref();
    rate.map_or(RATE, |rate| rate.get_ref().0)
}

/// Visits the rate.
pub(super) fn rate_field(rate: u64, see: See<'_>) {
    let shown = format!("{} a second", Bound::Number(rate).shown(Measure::Bytes));
    see(decides(Later("log rate"), "log rate", &shown, rate == RATE));
}

/// Divides the paths of log files into folder and pattern, and reports those that cannot be followed.
pub(super) fn files(app_paths: &AppPaths, problems: &mut Problems) -> Vec<LogFiles> {
    let mut all: Vec<LogFiles> = Vec::new();
    for path in &app_paths.logs {
        if let Some(found) = one(path, app_paths, problems)
            && !all.contains(&found)
        {
            all.push(found);
        }
    }
    all
}

fn one(path: &Spanned<PathBuf>, app_paths: &AppPaths, problems: &mut Problems) -> Option<LogFiles> {
    let (span, path) = (path.span(), path.get_ref());
    let shown = path.display();
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        problems
            .report(&span, "`/` is not a log file")
            .help("give the path of a file, for example `/var/log/squid/*.log`");
        return None;
    };
    let (folder, name) = (folder.to_owned(), name.to_str()?.to_owned());
    let wild = |text: &str| text.contains(['*', '?']);
    if folder.to_str().is_none_or(wild) {
        problems
            .report(
                &span,
                format!("{shown} has a wildcard in the name of a folder"),
            )
            .help("use `*` and `?` only after the last `/`, and list the folders one by one");
        return None;
    }
    if path.as_os_str().len() > PATH_MAX {
        problems
            .report(
                &span,
                format!("the path of a log file may have {PATH_MAX} bytes at most"),
            )
            .help("use a shorter path, for example with `*`");
        return None;
    }
    if app_paths
        .data()
        .any(|own| folder.starts_with(own.get_ref()))
    {
        return Some(LogFiles { folder, name });
    }
    let message = format!("{shown} is in no folder of the tenant");
    let problem = problems.report(&span, message);
    for own in app_paths.data() {
        problem.also(&own.span(), "this folder is the tenant's own");
    }
    problem.help(format!(
        "add {} to `folders` of the datastore, or let the program write its log to standard output or \
         syslog, which are in the log already",
        folder.display()
    ));
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::model::{FolderPlan, Seed};
    use super::*;

    fn datastore(target: Option<&str>, folders: &[&str]) -> DatastorePlan {
        let folder = |target: &&str| FolderPlan {
            target: target.into(),
            seed: Seed::Empty,
            uid: None,
            gid: None,
            mode: None,
        };
        DatastorePlan {
            source: "/srv/acme".into(),
            root: Path::new("/srv/acme").into(),
            target: target.map(|target| Path::new(target).into()),
            folders: folders.iter().map(folder).collect(),
            uid: 0,
            gid: 0,
            mode: 0o750,
            map: None,
            must_exist: false,
            mounted: false,
        }
    }

    #[test]
    fn a_folder_is_found_in_the_datastore() {
        let plain = datastore(Some("/var/lib/wiki"), &[]);
        let tree = datastore(Some("/var/lib/wiki"), &["/var/log/wiki"]);
        let only = datastore(None, &["/var/log/wiki"]);
        for (datastore, folder, inside) in [
            (&plain, "/var/lib/wiki", Some("")),
            (&plain, "/var/lib/wiki/a/b", Some("a/b")),
            (&plain, "/var/lib/wikipedia", None),
            (&plain, "/var/log/wiki", None),
            (&tree, "/var/lib/wiki/a", Some("var/lib/wiki/a")),
            (&tree, "/var/log/wiki", Some("var/log/wiki")),
            (&only, "/var/log/wiki/a", Some("var/log/wiki/a")),
            (&only, "/var/lib/wiki", None),
        ] {
            let files = LogFiles {
                folder: folder.into(),
                name: "*.log".into(),
            };
            let found = on_host(datastore, &files);
            assert_eq!(
                found.as_ref().map(|it| it.inside.as_path()),
                inside.map(Path::new),
                "{folder}"
            );
            if let Some(found) = found {
                assert_eq!(found.root, Path::new("/srv/acme"));
                assert_eq!(found.in_tree, Path::new(folder).strip_prefix("/").unwrap());
            }
        }
    }

    #[test]
    fn wildcards_match_text_and_characters() {
        for (pattern, name, is_so) in [
            ("*.log", "access.log", true),
            ("*.log", ".log", true),
            ("*.log", "access.log.1", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("?.log", "é.log", true),
            ("?.log", "ab.log", false),
            ("error.log", "error.log", true),
            ("error.log", "error_log", false),
            ("*", "", true),
            ("", "a", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches(pattern, name), is_so, "{pattern} {name}");
        }
        // Not exponential.
        assert!(!matches(
            &"*a".repeat(50),
            &"a".repeat(2_000).replace('a', "ab")
        ));
    }
}
