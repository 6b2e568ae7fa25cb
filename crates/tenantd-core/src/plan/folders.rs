//! Plans the folders of `folders`, and checks them against each other and against everything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use super::datastore::Source;
use super::facts::HostFacts;
use super::identity::{People, find_group};
use super::model::{FolderPlan, Seed};
use super::paths::{AppPaths, filled};
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Folder, Known, Manifest};
use crate::manifest::template::{Slot, Template};
use crate::manifest::value::{Account, Seed as Said};

/// How the message of a line that could not be parsed begins.
const INVALID: &str = "invalid TOML: ";

/// The help text of a folder that must not be one of the program.
const ELSEWHERE: &str = "list the folder in which the program keeps its data";

/// Reports folders that are invalid or conflict with other paths of the application.
pub(super) fn check(app_paths: &AppPaths, problems: &mut Problems) {
    for folder in &app_paths.folders {
        let path = folder.get_ref();
        let name = path.display();
        let meets = |other: &&Spanned<PathBuf>| {
            let other = other.get_ref();
            other.starts_with(path) || path.starts_with(other)
        };
        if path == Path::new("/") {
            problems
                .report(&folder.span(), "`/` cannot be a folder of the datastore")
                .help(ELSEWHERE);
        } else if app_paths.holds_program(path) {
            problems
                .report(&folder.span(), format!("{name} contains the program"))
                .help(ELSEWHERE);
        } else if let Some(other) = app_paths.datastores.iter().find(meets) {
            let message = format!("{name} and the folder of all datastores overlap");
            let note = format!("{} contains all datastores", other.get_ref().display());
            let problem = problems.report(&folder.span(), message);
            problem.also(&other.span(), note).help(
                "keep the datastores elsewhere, for example `root = \"/var/lib/tenantd/{app}\"`",
            );
        } else if let Some(other) = app_paths.private.iter().find(meets) {
            let message = format!("{name} and a private folder overlap");
            let problem = problems.report(&folder.span(), message);
            problem.also(&other.span(), "this folder is emptied at each start");
            problem.help("remove one of the two");
        }
    }
    check_apart(app_paths, problems);
}

/// Reports folders that are equal or nested, at the one that comes later in the text.
fn check_apart(app_paths: &AppPaths, problems: &mut Problems) {
    let mut sorted: Vec<_> = app_paths.data().collect();
    sorted.sort_by_key(|path| (path.get_ref(), path.span().start));
    let mut outer: Option<&Spanned<PathBuf>> = None;
    for folder in sorted {
        let Some(above) = outer.filter(|outer| folder.get_ref().starts_with(outer.get_ref()))
        else {
            outer = Some(folder).filter(|folder| folder.get_ref() != Path::new("/"));
            continue;
        };
        let (path, container) = (folder.get_ref().display(), above.get_ref().display());
        let (message, help) = if folder.get_ref() == above.get_ref() {
            (format!("{path} is listed twice"), "remove one of the two")
        } else {
            let message = format!("the folder {path} is inside another one, {container}");
            (message, "list only the outer one, which contains both")
        };
        let (first, second) = if above.span().start <= folder.span().start {
            (above, folder)
        } else {
            (folder, above)
        };
        let problem = problems.report(&second.span(), message);
        problem.also(&first.span(), "the other folder").help(help);
    }
}

/// What the plan of folders needs.
pub(super) struct Folders<'a> {
    pub(super) manifest: &'a Manifest,
    /// The folder of the manifest.
    pub(super) folder: &'a str,
    pub(super) app_paths: &'a AppPaths,
    /// The datastores of all tenants.
    pub(super) sources: &'a [Option<Source>],
}

impl Folders<'_> {
    /// Plans all folders. Returns `None` if a problem has been reported.
    pub(super) fn plan(
        &self,
        host: &dyn HostFacts,
        problems: &mut Problems,
    ) -> Option<Arc<[FolderPlan]>> {
        let mut people = People::new(host);
        let each = self.manifest.app.datastore.folders.iter();
        // All of them, so that each problem is reported.
        let plans: Vec<_> = each
            .map(|folder| self.one(folder, &mut people, host, problems))
            .collect();
        plans.into_iter().collect()
    }

    fn one(
        &self,
        folder: &Folder,
        people: &mut People<'_>,
        host: &dyn HostFacts,
        problems: &mut Problems,
    ) -> Option<FolderPlan> {
        let owner = owner(&folder.user, &folder.group, people, host, problems);
        let seed = self.seed(folder, problems);
        let at = folder.path.as_ref()?.span();
        let found = self.app_paths.folders.iter().find(|it| it.span() == at);
        let target = found?.get_ref();
        if target != Path::new("/") {
            self.check_source(target, &at, "the folder", problems);
        }
        let seed = match seed? {
            Some(seed) => seed,
            None if target.starts_with("/etc") => Seed::Copy,
            None => Seed::Empty,
        };
        let (uid, gid) = owner?;
        Some(FolderPlan {
            target: target.clone(),
            seed,
            uid,
            gid,
            mode: folder.mode.as_ref().map(|mode| mode.get_ref().0),
        })
    }

    /// The seed that the manifest sets, if any. Returns `None` if a problem has been reported.
    fn seed(&self, folder: &Folder, problems: &mut Problems) -> Option<Option<Seed>> {
        let template = match &folder.template {
            Some(template) => {
                let path = filled(template, self.manifest, self.folder, None, problems)?;
                self.check_source(path.get_ref(), &path.span(), "the template", problems);
                Some(path)
            }
            None => None,
        };
        if let (Some(template), Some(seed)) = (&template, &folder.seed) {
            problems
                .report(&template.span(), "`seed` and `template` exclude each other")
                .also(&seed.span(), "the other one")
                .help("remove one of them");
            return None;
        }
        Some(match (template, &folder.seed) {
            (Some(template), _) => Some(Seed::Template(template.into_inner())),
            (None, Some(said)) => Some(match said.get_ref() {
                Said::Empty => Seed::Empty,
                Said::Copy => Seed::Copy,
                Said::Overlay => Seed::Overlay,
            }),
            (None, None) => None,
        })
    }

    /// Reports a folder that contains a datastore, or lies in one. A copy of it would contain the
    /// datastore of a tenant, perhaps the very one that it is copied to.
    fn check_source(&self, path: &Path, at: &Span, what: &str, problems: &mut Problems) {
        let meets =
            |source: &&Source| source.path.starts_with(path) || path.starts_with(&source.path);
        let Some(source) = self.sources.iter().flatten().find(meets) else {
            return;
        };
        let (name, datastore) = (path.display(), source.path.display());
        let message = format!("{what} {name} and the datastore {datastore} overlap");
        let problem = problems.report(at, message);
        problem.also(&source.at, "the tenant with this datastore");
        problem.help("keep the datastores in a folder that contains nothing else");
    }
}

/// The owner and the group that the manifest sets. Returns `None` if a problem has been reported.
pub(super) fn owner(
    user: &Known<Account>,
    group: &Known<Account>,
    people: &mut People<'_>,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<(Option<u32>, Option<u32>)> {
    match (user, group) {
        (Some(user), group) => {
            let person = people.resolve(user, group.as_ref(), problems)?;
            Some((Some(person.identity.uid), Some(person.identity.gid)))
        }
        (None, Some(group)) => match find_group(host, group.get_ref()) {
            Ok(gid) => Some((None, Some(gid))),
            Err(why) => {
                let help = "for example `group = \"www-data\"`";
                problems.report(&group.span(), why).help(help);
                None
            }
        },
        (None, None) => Some((None, None)),
    }
}

/// Whether a part of the manifest could not be parsed.
pub(super) fn is_damaged(problems: &Problems) -> bool {
    problems.iter().any(|it| it.message.starts_with(INVALID))
}

/// Reports every use of `{datastore}` if the program has no such path.
pub(super) fn check_placeholder(manifest: &Manifest, problems: &mut Problems) {
    let app = &manifest.app;
    // A line that could not be parsed may be that of `path`.
    if app.datastore.path.is_set || is_damaged(problems) {
        return;
    }
    let mut texts: Vec<&Spanned<Template>> = Vec::new();
    texts.extend(&app.working_directory);
    texts.extend(&app.pid_file);
    texts.extend(app.private.paths());
    texts.extend(app.logs.iter().flat_map(Spanned::get_ref));
    if let Some(command) = &app.command {
        texts.extend(&command.get_ref().arguments);
    }
    let tenants = manifest.tenants.iter().map(|tenant| &tenant.overrides);
    let overrides: Vec<_> = std::iter::once(&manifest.defaults).chain(tenants).collect();
    let arguments = overrides.iter().filter_map(|of| of.arguments.as_ref());
    texts.extend(arguments.flat_map(Spanned::get_ref));
    let of_texts = texts.into_iter().map(|it| (it.span(), it.get_ref()));
    let environments = overrides.iter().map(|of| &of.environment);
    let environments = environments.chain([&app.environment]).flatten();
    let of_environments = environments.flat_map(|all| {
        let span = all.span();
        all.get_ref().values().map(move |it| (span.clone(), it))
    });
    let vars = overrides.iter().map(|of| &of.vars.value);
    let vars = vars.chain([&app.vars]).flatten();
    let of_vars = vars.flat_map(|all| all.get_ref().values());
    let of_vars = of_vars.map(|it| (it.span(), it.get_ref()));
    for (at, template) in of_texts.chain(of_environments).chain(of_vars) {
        if template.has(Slot::Datastore) {
            problems
                .report(&at, "`{datastore}` is not known: `path` is not set")
                .help(
                    "set `path` in [app.datastore] to the folder that is meant, or write that \
                     folder here",
                );
        }
    }
}
