//! Derives each tenant's datastore, and the folders that are hidden because they contain one.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;

use super::paths::{AppPaths, HIDDEN_MAX, clean, outermost};
use super::vars;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Manifest, Tenant};
use crate::manifest::template::Slot;

/// The datastores of all tenants.
pub(super) struct Stores {
    /// One per tenant, in the order of the manifest; `None` where a problem was reported.
    pub(super) sources: Vec<Option<Source>>,
    /// The hidden folders, sorted.
    pub(super) hidden: Vec<PathBuf>,
}

/// The datastore of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Its folder on the host.
    pub(super) path: PathBuf,
    /// The topmost part of the path that tenantd may create.
    pub(super) root: PathBuf,
    /// Its position in the manifest.
    pub(super) at: Span,
}

/// Derives all datastores and reports those that are invalid or conflict.
pub(super) fn stores(
    manifest: &Manifest,
    app_paths: &AppPaths,
    folder: &str,
    problems: &mut Problems,
) -> Stores {
    let sources: Vec<Option<Source>> = manifest
        .tenants
        .iter()
        .map(|tenant| source(manifest, tenant, app_paths, folder, problems))
        .collect();
    check_apart(&sources, problems);
    Stores {
        hidden: hidden(&sources, app_paths, problems),
        sources,
    }
}

fn source(
    manifest: &Manifest,
    tenant: &Tenant,
    app_paths: &AppPaths,
    folder: &str,
    problems: &mut Problems,
) -> Option<Source> {
    let root = app_paths.root.as_ref()?.get_ref();
    let datastores = app_paths.datastores.as_ref()?.get_ref();
    let (text, at) = match &tenant.datastore {
        Some(template) => {
            let app = manifest.app.name.as_ref()?.get_ref();
            let name = tenant.name.as_ref()?;
            let slot = |slot| match slot {
                Slot::App => Some(app.to_string()),
                Slot::Tenant => Some(name.to_string()),
                Slot::ManifestDir => Some(folder.to_owned()),
                Slot::Datastore
                | Slot::Ip
                | Slot::Gateway
                | Slot::Ip6
                | Slot::Gateway6
                | Slot::User
                | Slot::Uid
                | Slot::Gid => None,
            };
            let var = |name: &str| vars::of(manifest, tenant, name);
            (vars::fill(template.get_ref(), slot, var)?, template.span())
        }
        None if tenant.datastore_said => return None,
        None => (tenant.name.as_ref()?.to_string(), tenant.at.clone()),
    };
    let written = Path::new(&text);
    if written.is_absolute() {
        let path = clean(&text, &at, problems)?;
        if path == Path::new("/") {
            problems
                .report(&at, "`/` cannot be a datastore")
                .help("use a folder below the root of the datastores");
            return None;
        }
        let inside = path.starts_with(datastores) && path != *datastores;
        let root = if inside { datastores } else { &path }.clone();
        return Some(Source { path, root, at });
    }
    if !written
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
        || text.is_empty()
    {
        problems
            .report(
                &at,
                format!("{text:?} is not a folder name below {}", root.display()),
            )
            .help("use a folder name such as `\"legacy-7\"`, or an absolute path");
        return None;
    }
    let path = clean(&root.join(written).to_string_lossy(), &at, problems)?;
    Some(Source {
        path,
        root: datastores.clone(),
        at,
    })
}

/// Reports datastores that are equal or nested. Sorted by path components, a folder is followed by
/// what it contains, so one pass with a stack of enclosing folders is enough.
fn check_apart(sources: &[Option<Source>], problems: &mut Problems) {
    let mut sorted: Vec<&Source> = sources.iter().flatten().collect();
    sorted.sort_by(|a, b| (&a.path, a.at.start).cmp(&(&b.path, b.at.start)));
    let mut above: Vec<&Source> = Vec::new();
    for source in sorted {
        while above
            .last()
            .is_some_and(|top| !source.path.starts_with(&top.path))
        {
            above.pop();
        }
        let Some(&outer) = above.last() else {
            above.push(source);
            continue;
        };
        let (path, folder) = (source.path.display(), outer.path.display());
        // The problem is reported at the one that comes later in the text.
        let (first, second) = if outer.at.start <= source.at.start {
            (outer, source)
        } else {
            (source, outer)
        };
        let message = if source.path == outer.path {
            format!("two tenants would share the datastore {path}")
        } else {
            format!("the datastore {path} is inside another tenant's, {folder}")
        };
        problems
            .report(&second.at, message)
            .also(&first.at, "the other tenant")
            .help("give each tenant a folder of its own");
        if source.path != outer.path {
            above.push(source);
        }
    }
}

/// The folders to hide: the datastores' folder, and the parents of absolute datastores outside it.
fn hidden(
    sources: &[Option<Source>],
    app_paths: &AppPaths,
    problems: &mut Problems,
) -> Vec<PathBuf> {
    let Some(datastores) = &app_paths.datastores else {
        return Vec::new();
    };
    let target = app_paths.target.as_ref().map(Spanned::get_ref);
    let mut parents: BTreeMap<PathBuf, &Source> = BTreeMap::new();
    for source in sources.iter().flatten() {
        // A datastore at the program's own data path is covered by every other tenant's mount
        // there. Its parent does not need to be hidden, and could not be.
        if source.path.starts_with(datastores.get_ref()) || Some(&source.path) == target {
            continue;
        }
        let Some(parent) = source.path.parent() else {
            continue;
        };
        if app_paths.covers(parent) {
            continue;
        }
        if let Some(what) = app_paths.needs(parent) {
            let message = format!(
                "{} contains this datastore and {what}, so it cannot be hidden from tenants",
                parent.display()
            );
            problems
                .report(&source.at, message)
                .help("keep datastores in a folder that contains nothing else");
            continue;
        }
        parents.entry(parent.to_owned()).or_insert(source);
    }
    let all = parents
        .keys()
        .cloned()
        .chain([datastores.get_ref().clone()]);
    let hidden = outermost(all.collect());
    if let Some(first_too_many) = hidden.get(HIDDEN_MAX) {
        let at = parents
            .get(first_too_many)
            .map_or(datastores.span(), |source| source.at.clone());
        let message = format!(
            "the datastores are in {} folders, but at most {HIDDEN_MAX} can be hidden",
            hidden.len()
        );
        problems
            .report(&at, message)
            .help("keep them in fewer folders");
    }
    hidden
}
