//! `import-unit`: prints a manifest that is made from a unit of systemd. It finds and reads the files;
//! `tenantd_core::unit` makes the manifest.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::End;
use tenantd_core::plan::facts::HostFacts;
use tenantd_core::unit::{self, FolderFact, ImportError, Source, Surroundings, UnitName};
use tenantd_host::facts::Live;

/// Where the files of tmpfiles.d(5) are. A file hides those of the same name in later folders.
const TMPFILES: [&str; 3] = ["/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/lib/tmpfiles.d"];

/// No unit has this name.
#[derive(Debug, thiserror::Error)]
enum NoUnit {
    #[error("no unit {name} in {folders}{}", did_you_mean(near.as_deref()))]
    Unknown {
        name: UnitName,
        folders: String,
        near: Option<String>,
    },
    #[error(
        "{name} has no unit: it is started by the script {script}, which does not say which program \
         it starts, and how. Read it, and write the manifest by hand: see tenantd.toml(5)"
    )]
    Script { name: UnitName, script: PathBuf },
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// Prints the manifest for a unit: a name, or the path of its file.
pub(super) fn import(unit: &str) -> anyhow::Result<End> {
    let (name, sources) = match unit.contains('/') {
        true => at(Path::new(unit))?,
        false => named(&UnitName::parse(unit)?)?,
    };
    let text = unit::manifest(&name, &sources, &Host).map_err(|error| explain(&name, &error))?;
    write!(io::stdout().lock(), "{text}")?;
    Ok(End::Done)
}

/// The error with the name of the unit. A service such as postgresql.service starts the instances of a
/// template, and does nothing itself.
fn explain(name: &UnitName, error: &ImportError) -> anyhow::Error {
    let prefix = name.prefix();
    let template = format!("{prefix}@.service");
    let has_template = || {
        UnitName::search()
            .iter()
            .any(|it| it.join(&template).is_file())
    };
    let instances = match error {
        ImportError::Oneshot if has_template() => format!(
            ". The programs may be those of {template}: `tenantd import-unit {prefix}@INSTANCE`"
        ),
        _ => String::new(),
    };
    anyhow::anyhow!("{name}: {error}{instances}")
}

/// The unit in a file. One in a folder of systemd has all its drop-ins, another one those beside it.
fn at(path: &Path) -> anyhow::Result<(UnitName, Vec<Source>)> {
    let failed = || format!("{}: cannot read the unit", path.display());
    let files = UnitName::of_path(path).map_or_else(|_| Vec::new(), |name| name.files());
    let files = files.into_iter().map(|file| path.with_file_name(file));
    // The file of an instance may be that of its template.
    let file = files.into_iter().find(|file| file.is_file());
    let main = read(file.as_deref().unwrap_or(path)).with_context(failed)?;
    let is_script = main.text.starts_with("#!");
    if is_script {
        return Err(ImportError::Script(path.to_owned()).into());
    }
    let name = UnitName::of_path(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let drop_ins = match UnitName::search().iter().any(|known| known == folder) {
        true => drop_ins(&name.folders())?,
        false => {
            let mut beside = path.as_os_str().to_owned();
            beside.push(".d");
            in_order(&[PathBuf::from(beside)])?
        }
    };
    Ok((name, [vec![main], drop_ins].concat()))
}

/// The unit with a name, in the folders of systemd.
fn named(name: &UnitName) -> anyhow::Result<(UnitName, Vec<Source>)> {
    let files = name.files().into_iter();
    let paths = files.flat_map(|file| UnitName::search().map(|folder| folder.join(&file)));
    let Some(path) = paths
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok())
    else {
        return Err(unknown(name).into());
    };
    let failed = || format!("{}: cannot read the unit", path.display());
    let target = fs::canonicalize(&path).with_context(failed)?;
    if target == Path::new("/dev/null") {
        return Err(ImportError::Masked(path).into());
    }
    let mut source = read(&path).with_context(failed)?;
    let mut folders = name.folders();
    let mut name = name.clone();
    // Another name of a unit is a link to its file.
    if let Ok(aliased) = UnitName::of_path(&target)
        && !aliased.is_template()
        && aliased != name
    {
        folders.extend(aliased.folders());
        source.path = target;
        name = aliased;
    }
    Ok((name, [vec![source], drop_ins(&folders)?].concat()))
}

fn unknown(name: &UnitName) -> NoUnit {
    let name = name.clone();
    let script = Path::new("/etc/init.d").join(name.prefix());
    if script.is_file() {
        return NoUnit::Script { name, script };
    }
    let folders = UnitName::search();
    let folders: Vec<_> = folders.iter().map(|it| it.display().to_string()).collect();
    let near = nearest(&name.to_string());
    NoUnit::Unknown {
        name,
        folders: folders.join(", "),
        near,
    }
}

/// The service whose name is most similar, or begins with this one. A folder that cannot be read has
/// none.
fn nearest(name: &str) -> Option<String> {
    let folders = UnitName::search().into_iter();
    let entries = folders.filter_map(|folder| fs::read_dir(folder).ok());
    let names = entries.flatten().flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let services = names.filter(|name| name.ends_with(".service"));
    let typed = name.trim_end_matches(".service");
    let distance = |near: &str| match near.trim_end_matches(".service") {
        near if near.starts_with(&format!("{typed}-")) => 0,
        near => strsim::damerau_levenshtein(typed, near),
    };
    let each = services.map(|near| (distance(&near), near));
    let (distance, near) = each.min()?;
    (distance <= (typed.len() / 3).max(1)).then_some(near)
}

/// The drop-ins in folders with these names, the least specific name first.
fn drop_ins(names: &[String]) -> anyhow::Result<Vec<Source>> {
    let mut folders = Vec::new();
    for name in names {
        let search = UnitName::search();
        folders.extend(search.iter().rev().map(|folder| folder.join(name)));
    }
    in_order(&folders)
}

/// The drop-ins of several folders by their names. Of two with the same name, the later folder's
/// counts; an empty one takes the other away.
fn in_order(folders: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut found = BTreeMap::new();
    for path in folders.iter().flat_map(|folder| files_in(folder)) {
        found.insert(path.file_name().unwrap_or_default().to_owned(), path);
    }
    let mut sources = Vec::new();
    for path in found.into_values() {
        let failed = || format!("{}: cannot read the drop-in", path.display());
        let source = read(&path).with_context(failed)?;
        sources.extend(Some(source).filter(|source| !source.text.trim().is_empty()));
    }
    Ok(sources)
}

/// The files `*.conf` in a folder; none if it does not exist.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "conf"))
        .collect()
}

/// Reads a file. What is not UTF-8 in it, a comment for example, does not matter.
fn read(path: &Path) -> io::Result<Source> {
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    let path = path.to_owned();
    Ok(Source { path, text })
}

/// This host.
struct Host;

impl Surroundings for Host {
    fn read(&self, path: &Path) -> Result<Option<String>, String> {
        match read(path) {
            Ok(source) => Ok(Some(source.text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn tmpfiles(&self) -> Vec<Source> {
        let folders = TMPFILES.iter().rev().map(PathBuf::from);
        let mut found = BTreeMap::new();
        for path in folders.flat_map(|folder| files_in(&folder)) {
            found.insert(path.file_name().unwrap_or_default().to_owned(), path);
        }
        found
            .into_values()
            .filter_map(|path| read(&path).ok())
            .collect()
    }

    fn home(&self, user: &str) -> Option<String> {
        Live.user(user).ok().flatten().map(|user| user.home)
    }

    fn folder(&self, path: &Path) -> Option<FolderFact> {
        let seen = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
        let owner = Live.user_of(seen.uid()).ok().flatten();
        Some(FolderFact {
            owner: owner.map_or_else(|| seen.uid().to_string(), |user| user.name),
            // Only who may read it knows.
            full: fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()),
        })
    }

    fn has_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn host_name(&self) -> String {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    }
}
