//! The place in the manifest of what a launch would fail on.
//!
//! A failure names a stage and an object. The stage leads to the keys that can be at fault, and the
//! object to the one of them that is.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::model::TenantPlan;
use super::phase::CommandPlan;
use super::traffic::Publish;
use crate::manifest::problem::{Place, Problems, Span};
use crate::manifest::raw::{Known, Manifest, Tenant};
use crate::manifest::template::{Name, Slot, Template};
use crate::manifest::{self, Source};
use crate::stage::{Failure, Stage};

/// A manifest in which places are looked for.
#[derive(Debug)]
pub struct Places {
    manifest: Manifest,
    problems: Problems,
    folder: String,
}

impl Places {
    /// The places of a manifest without problems.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        let mut problems = Problems::new(&source.name, &source.text);
        Self {
            manifest: manifest::read(source, &mut problems),
            problems,
            folder: source.folder.to_string_lossy().into_owned(),
        }
    }

    /// Where the manifest says what this launch of a tenant failed on; `None` if it does not say it.
    #[must_use]
    pub fn find(&self, plan: &TenantPlan, failure: &Failure) -> Option<Place> {
        let tenants = self.manifest.tenants.iter();
        let mut named = tenants.filter(|one| one.name.as_ref() == Some(&plan.name));
        let looked = Looked {
            all: &self.manifest,
            tenant: named.next()?,
            plan,
            folder: &self.folder,
        };
        let span = looked.span(failure.stage, Path::new(&failure.object))?;
        Some(self.problems.place(&span))
    }
}

/// One tenant of a manifest.
struct Looked<'a> {
    all: &'a Manifest,
    tenant: &'a Tenant,
    plan: &'a TenantPlan,
    folder: &'a str,
}

impl Looked<'_> {
    fn span(&self, stage: Stage, object: &Path) -> Option<Span> {
        let app = &self.all.app;
        match stage {
            Stage::Program | Stage::Exec | Stage::Init | Stage::Before => self.command(object),
            Stage::WorkingDirectory => match &app.working_directory {
                Some(set) => Some(set.span()),
                None => self.data(object),
            },
            Stage::Datastore | Stage::Tree => self.data(object).or_else(|| Some(self.datastore())),
            Stage::Attach | Stage::Owner => self.data(object),
            Stage::Private => self.private(object),
            Stage::Shared => self.listed(&app.shared, object),
            Stage::Visible => (self.secret(object)).or_else(|| self.listed(&app.visible, object)),
            Stage::Missing => (self.private(object))
                .or_else(|| self.listed(&app.shared, object))
                .or_else(|| self.listed(&app.visible, object))
                .or_else(|| self.data(object)),
            Stage::Files => {
                let files = app.files.iter();
                self.first(files.filter_map(|file| file.path.as_ref()), object)
            }
            Stage::Hide => self.hidden(object),
            Stage::User => self.overridden(
                |it| it.user.value.as_ref().map(Spanned::span),
                &app.user.value,
            ),
            Stage::Group | Stage::Groups => {
                let group = self.overridden(|it| it.group.as_ref().map(Spanned::span), &app.group);
                group.or_else(|| self.span(Stage::User, object))
            }
            Stage::Limits => set(&self.tenant.overrides.limits.at, &app.limits.at),
            Stage::Attributes => set(&self.tenant.overrides.process.at, &app.process.at),
            Stage::Landlock => set(&app.wall.at, &app.wall.at),
            Stage::Firewall => self.published(object),
            // What the host lacks, not what the manifest says.
            Stage::Netns
            | Stage::Link
            | Stage::Address
            | Stage::Route
            | Stage::Cgroup
            | Stage::Log
            | Stage::Lock
            | Stage::Clone
            | Stage::Signals
            | Stage::Session
            | Stage::EnterNetns
            | Stage::Propagation
            | Stage::Own
            | Stage::Capabilities
            | Stage::NoNewPrivs
            | Stage::SystemCalls
            | Stage::Stdio
            | Stage::Descriptors
            | Stage::Vanished
            | Stage::Ready
            | Stage::Alive
            | Stage::Mounted
            | Stage::Linked
            | Stage::Background
            | Stage::End
            | Stage::Release => None,
        }
    }

    /// The published port with this name.
    fn published(&self, object: &Path) -> Option<Span> {
        let mut published = self.tenant.publish.iter().flat_map(Spanned::get_ref);
        let is_it =
            |it: &&Spanned<Publish>| object == Path::new(&format!("port {}", it.get_ref().from()));
        published.find(is_it).map(Spanned::span)
    }

    /// The command with this program.
    fn command(&self, object: &Path) -> Option<Span> {
        let (app, commands) = (&self.all.app, &self.plan.launch.commands);
        let is_its =
            |command: &Option<CommandPlan>| command.as_ref().is_some_and(|it| it.program == object);
        let command = if self.plan.launch.program == object {
            &app.command
        } else if is_its(&commands.init) {
            &app.init.command.value
        } else if is_its(&commands.before) {
            &app.before.command.value
        } else {
            &app.command
        };
        Some(command.as_ref()?.get_ref().program.span())
    }

    /// A setting that a tenant, or `[defaults]`, may have instead of the application.
    fn overridden<T>(
        &self,
        set: impl Fn(&manifest::raw::Overrides) -> Option<Span>,
        app: &Known<T>,
    ) -> Option<Span> {
        let overrides = [&self.tenant.overrides, &self.all.defaults];
        let own = overrides.into_iter().find_map(set);
        own.or_else(|| app.as_ref().map(Spanned::span))
    }

    /// The folder of the datastore that is at `object`, contains it or is in it; or its template.
    fn data(&self, object: &Path) -> Option<Span> {
        let data = &self.all.app.datastore;
        let folders = data.folders.iter().flat_map(|folder| {
            let template = folder.template.iter();
            template.chain(&folder.path)
        });
        let all = data.path.value.iter().chain(folders);
        let store = &self.plan.datastore;
        // A failure names the folder in the datastore, or the path that the program expects.
        let object = match object.strip_prefix(&store.source) {
            Ok(below) if below == Path::new("") => return None,
            Ok(below) => Path::new("/").join(below),
            Err(_) => object.to_owned(),
        };
        self.first(all, &object)
    }

    /// Where the tenant's datastore is named.
    fn datastore(&self) -> Span {
        let own = self.tenant.datastore.as_ref().map(Spanned::span);
        own.unwrap_or_else(|| self.tenant.at.clone())
    }

    /// The secret that is the file `object`.
    fn secret(&self, object: &Path) -> Option<Span> {
        let all = [
            &self.tenant.overrides.secrets,
            &self.all.defaults.secrets,
            &self.all.app.secrets,
        ];
        let mut all = all.into_iter().flatten().flat_map(Spanned::get_ref);
        let is_it = |template: &Template| {
            Path::new(self.folder).join(self.filled(template, self.tenant)) == object
        };
        all.find_map(|(_, secret)| is_it(secret.get_ref()).then(|| secret.span()))
    }

    /// The private folder that is at `object`, contains it or is in it.
    fn private(&self, object: &Path) -> Option<Span> {
        let private = &self.all.app.private;
        let is_its = self.plan.launch.private.iter().any(|it| it == object);
        let usual = private.usual.clone().filter(|_| is_its);
        usual.or_else(|| self.first(private.paths(), object))
    }

    /// The entry of a list that is at `object`, contains it or is in it.
    fn listed(&self, list: &Known<Vec<Spanned<Template>>>, object: &Path) -> Option<Span> {
        self.first(list.iter().flat_map(Spanned::get_ref), object)
    }

    /// The path that is at `object`; or else the first that contains it or is in it.
    fn first<'t>(
        &self,
        paths: impl Iterator<Item = &'t Spanned<Template>>,
        object: &Path,
    ) -> Option<Span> {
        let mut near = None;
        for template in paths {
            let path = self.filled(template.get_ref(), self.tenant);
            if path == object {
                return Some(template.span());
            }
            if path.starts_with(object) || object.starts_with(&path) {
                near.get_or_insert_with(|| template.span());
            }
        }
        near
    }

    /// Whose datastore is in the hidden folder `object`.
    fn hidden(&self, object: &Path) -> Option<Span> {
        let mut set = self.all.tenants.iter().filter_map(|tenant| {
            let datastore = tenant.datastore.as_ref()?;
            let path = self.filled(datastore.get_ref(), tenant);
            path.starts_with(object).then(|| datastore.span())
        });
        let root = self.all.app.datastore.root.as_ref().map(Spanned::span);
        set.next().or(root).filter(|span| !span.is_empty())
    }

    fn filled(&self, template: &Template, tenant: &Tenant) -> PathBuf {
        let text = template.fill(|name| match name {
            Name::Slot(Slot::App) => {
                let name = self.all.app.name.as_ref();
                name.map(|name| name.get_ref().to_string())
                    .unwrap_or_default()
            }
            Name::Slot(Slot::Tenant) => {
                let name = tenant.name.as_ref();
                name.map(ToString::to_string).unwrap_or_default()
            }
            Name::Slot(Slot::ManifestDir) => self.folder.to_owned(),
            Name::Slot(Slot::Datastore) => {
                let target = self.plan.datastore.target.as_deref();
                target
                    .map(|target| target.display().to_string())
                    .unwrap_or_default()
            }
            // In no path that a launch fails on.
            Name::Slot(
                Slot::Ip
                | Slot::Gateway
                | Slot::Ip6
                | Slot::Gateway6
                | Slot::User
                | Slot::Uid
                | Slot::Gid,
            )
            | Name::Var(_) => String::new(),
        });
        Path::new(&text).components().collect()
    }
}

/// A table of the tenant or, if it has none, of the application.
fn set(tenant: &Span, app: &Span) -> Option<Span> {
    let mut tables = [tenant, app].into_iter();
    tables.find(|span| !span.is_empty()).cloned()
}
