//! The variables of tenants: their values, and whether each that is used is set.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::files::Contents;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Manifest, Overrides, Tenant};
use crate::manifest::suggest::closest;
use crate::manifest::template::{ALL, Name, OF_APP, OF_TENANT, Slot, Template};
use crate::manifest::text::{Environment, Vars};

/// At most this many tenants that lack a variable are named.
const NAMED: usize = 3;

/// Replaces the placeholders of a template. Returns `None` if the value of one is not known.
pub(super) fn fill<'a>(
    template: &Template,
    slot: impl Fn(Slot) -> Option<String>,
    var: impl Fn(&str) -> Option<&'a Template>,
) -> Option<String> {
    let unknown = Cell::new(false);
    let known = |value: Option<String>| {
        unknown.set(unknown.get() || value.is_none());
        value.unwrap_or_default()
    };
    let inner = |name: Name<'_>| match name {
        Name::Slot(it) => known(slot(it)),
        Name::Var(_) => known(None),
    };
    let text = template.fill(|name| match name {
        Name::Slot(it) => known(slot(it)),
        Name::Var(name) => known(var(name).map(|template| template.fill(inner))),
    });
    (!unknown.get()).then_some(text)
}

/// The value of a variable that is the same for all tenants.
pub(super) fn shared<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a Template> {
    let vars = manifest.app.vars.as_ref()?.get_ref();
    vars.get(name).map(Spanned::get_ref)
}

/// The value of a variable of a tenant.
pub(super) fn of<'a>(
    manifest: &'a Manifest,
    tenant: &'a Tenant,
    name: &str,
) -> Option<&'a Template> {
    of_layers(manifest, tenant, name).map(Spanned::get_ref)
}

/// The same, with the position of its name.
fn of_layers<'a>(
    manifest: &'a Manifest,
    tenant: &'a Tenant,
    name: &str,
) -> Option<&'a Spanned<Template>> {
    let mut layers = layers(manifest, tenant).rev();
    layers.find_map(|layer| layer.get(name))
}

/// The names of all variables of a tenant.
pub(super) fn names<'a>(manifest: &'a Manifest, tenant: &'a Tenant) -> BTreeSet<&'a str> {
    let layers = layers(manifest, tenant);
    layers
        .flat_map(BTreeMap::keys)
        .map(String::as_str)
        .collect()
}

/// The variables of the application, of the defaults and of a tenant; the later ones override.
fn layers<'a>(
    manifest: &'a Manifest,
    tenant: &'a Tenant,
) -> impl DoubleEndedIterator<Item = &'a Vars> {
    let app = manifest.app.vars.as_ref();
    let [defaults, own] = [&manifest.defaults, &tenant.overrides].map(|of| of.vars.value.as_ref());
    [app, defaults, own]
        .into_iter()
        .flatten()
        .map(Spanned::get_ref)
}

/// Who needs a value.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// The application: the value is the same for all tenants.
    App,
    /// All tenants.
    Tenants,
    /// All tenants that have no arguments of their own.
    Arguments,
    /// One tenant.
    One(&'a Tenant),
}

/// The use of a variable.
struct Use<'a> {
    name: &'a str,
    at: Span,
    /// The position in a template file, for the message.
    inside: String,
    scope: Scope<'a>,
    /// What the value of the variable may contain.
    slots: &'static [Slot],
}

/// Reports variables that are used and not set, or set and not used.
pub(super) fn check(
    manifest: &Manifest,
    contents: &[Option<Contents>],
    is_damaged: bool,
    problems: &mut Problems,
) {
    let tenants = manifest.tenants.iter().map(|it| &it.overrides);
    let mut all = std::iter::once(&manifest.defaults).chain(tenants);
    let is_invalid = |of: &Overrides| of.vars.is_set && of.vars.value.is_none();
    // What is not known may set or use any variable.
    if is_damaged || manifest.app.vars.is_none() || all.any(is_invalid) {
        return;
    }
    let mut uses = uses(manifest);
    for file in contents.iter().flatten() {
        uses.extend(file.template.vars().map(|(name, at)| Use {
            name,
            at: file.place(at),
            inside: file.inside(at),
            scope: Scope::Tenants,
            slots: ALL,
        }));
    }
    let known: BTreeSet<&str> = self::all(manifest)
        .flat_map(BTreeMap::keys)
        .map(String::as_str)
        .collect();
    for one in &uses {
        let lacking: Vec<&Tenant> = match one.scope {
            Scope::App => {
                check_shared(manifest, one, problems);
                continue;
            }
            Scope::Tenants => lacking(manifest, one, manifest.tenants.iter()),
            Scope::Arguments => {
                let tenants = manifest.tenants.iter();
                let without = tenants.filter(|it| it.overrides.arguments.is_none());
                lacking(manifest, one, without)
            }
            Scope::One(tenant) => {
                if let Some(value) = of_layers(manifest, tenant, one.name) {
                    check_slots(value, one, problems);
                }
                lacking(manifest, one, std::iter::once(tenant))
            }
        };
        report_lacking(one, &lacking, &known, problems);
    }
    // The contents of the others are not known.
    if contents.iter().all(Option::is_some) {
        check_unused(manifest, &uses, problems);
    }
}

/// The uses of variables in the manifest.
fn uses(manifest: &Manifest) -> Vec<Use<'_>> {
    let app = &manifest.app;
    let (folders, files) = (app.datastore.folders.iter(), app.files.iter());
    let folders = folders.flat_map(|it| [&it.path, &it.template]);
    let files = files.flat_map(|it| [&it.path, &it.template.value]);
    let single = [
        &app.working_directory,
        &app.pid_file,
        &app.datastore.path.value,
        &app.datastore.root,
    ];
    let single = single.into_iter().chain(folders).chain(files).flatten();
    let lists = [&app.shared, &app.visible, &app.logs];
    let lists = lists.into_iter().flatten().flat_map(Spanned::get_ref);
    let lists = lists.chain(app.private.paths());
    let command = app.command.iter().map(Spanned::get_ref);
    let program = command.clone().map(|it| &it.program);
    let mut uses = Uses::default();
    for template in single.chain(lists).chain(program) {
        uses.add(template.get_ref(), Scope::App, OF_APP);
    }
    for template in command.flat_map(|it| &it.arguments) {
        uses.add(template.get_ref(), Scope::Tenants, ALL);
    }
    uses.environment(&app.environment, Scope::Tenants);
    uses.secrets(&app.secrets, Scope::Tenants);
    uses.overrides(&manifest.defaults, Scope::Tenants, Scope::Arguments);
    for tenant in &manifest.tenants {
        let scope = Scope::One(tenant);
        uses.overrides(&tenant.overrides, scope, scope);
        if let Some(template) = &tenant.datastore {
            uses.add(template.get_ref(), scope, OF_TENANT);
        }
    }
    uses.0
}

#[derive(Default)]
struct Uses<'a>(Vec<Use<'a>>);

impl<'a> Uses<'a> {
    fn add(&mut self, template: &'a Template, scope: Scope<'a>, slots: &'static [Slot]) {
        self.0.extend(template.vars().map(|(name, at)| Use {
            name,
            at: at.clone(),
            inside: String::new(),
            scope,
            slots,
        }));
    }

    fn environment(&mut self, environment: &'a Known<Environment>, scope: Scope<'a>) {
        for template in environment.iter().flat_map(|all| all.get_ref().values()) {
            self.add(template, scope, ALL);
        }
    }

    fn secrets(&mut self, secrets: &'a Known<Vars>, scope: Scope<'a>) {
        for template in secrets.iter().flat_map(|all| all.get_ref().values()) {
            self.add(template.get_ref(), scope, OF_TENANT);
        }
    }

    fn overrides(&mut self, overrides: &'a Overrides, scope: Scope<'a>, arguments: Scope<'a>) {
        self.environment(&overrides.environment, scope);
        self.secrets(&overrides.secrets, scope);
        for template in overrides.arguments.iter().flat_map(Spanned::get_ref) {
            self.add(template.get_ref(), arguments, ALL);
        }
    }
}

/// All that set variables: the application, the defaults and the tenants.
fn all(manifest: &Manifest) -> impl Iterator<Item = &Vars> {
    let tenants = manifest.tenants.iter().map(|it| &it.overrides);
    let overrides = std::iter::once(&manifest.defaults).chain(tenants);
    let overrides = overrides.map(|it| &it.vars.value);
    let app = std::iter::once(&manifest.app.vars);
    app.chain(overrides).flatten().map(Spanned::get_ref)
}

/// Checks the use of a variable in a value that is the same for all tenants.
fn check_shared(manifest: &Manifest, one: &Use<'_>, problems: &mut Problems) {
    let name = one.name;
    let own = manifest.app.vars.as_ref().map(Spanned::get_ref);
    let Some(value) = own.and_then(|vars| vars.get(name)) else {
        problems
            .report(&one.at, format!("the variable `{name}` is not set in [app]"))
            .help(format!(
                "this value is the same for all tenants: set `vars = {{ {name} = \"...\" }}` in [app]"
            ));
        return;
    };
    let others = all(manifest).skip(1).filter_map(|vars| vars.get(name));
    if let Some(other) = others.min_by_key(|other| other.span().start) {
        problems
            .report(
                &one.at,
                format!("the variable `{name}` is not the same for all tenants, but this value is"),
            )
            .also(&other.span(), "it is set here too")
            .help("use a variable that is only set in [app]");
        return;
    }
    check_slots(value, one, problems);
}

/// Reports placeholders in the value of a variable that are not available where it is used.
fn check_slots(value: &Spanned<Template>, one: &Use<'_>, problems: &mut Problems) {
    let excess = |slot: &&Slot| value.get_ref().has(**slot) && !one.slots.contains(slot);
    if let Some(slot) = ALL.iter().find(excess) {
        let (name, word) = (one.name, slot.word());
        problems
            .report(
                &one.at,
                format!("the variable `{name}` contains `{{{word}}}`, which is not available here"),
            )
            .also(&value.span(), "its value")
            .help(format!("available here: {}", Slot::list(one.slots)));
    }
}

/// The tenants that lack a variable which they use.
fn lacking<'a>(
    manifest: &Manifest,
    one: &Use<'_>,
    tenants: impl Iterator<Item = &'a Tenant>,
) -> Vec<&'a Tenant> {
    tenants
        .filter(|tenant| of(manifest, tenant, one.name).is_none())
        .collect()
}

/// Reports a variable that tenants use and lack.
fn report_lacking(
    one: &Use<'_>,
    lacking: &[&Tenant],
    known: &BTreeSet<&str>,
    problems: &mut Problems,
) {
    let Use { name, inside, .. } = one;
    let Some(first) = lacking.first() else {
        return;
    };
    let set = format!("vars = {{ {name} = \"...\" }}");
    if !known.contains(name) {
        let help = match closest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{{vars.{near}}}`?"),
            None => format!("set it for each tenant, or in [defaults]: `{set}`"),
        };
        problems
            .report(&one.at, format!("{inside}the variable `{name}` is not set"))
            .help(help);
        return;
    }
    let names = lacking.iter().filter_map(|tenant| tenant.name.as_ref());
    let names: Vec<String> = names.take(NAMED).map(ToString::to_string).collect();
    let mut names = names.join(", ");
    if lacking.len() > NAMED {
        names += &format!(" and {} more", lacking.len() - NAMED);
    }
    let s = if lacking.len() == 1 { "" } else { "s" };
    problems
        .report(
            &one.at,
            format!("{inside}the variable `{name}` is not set for tenant{s} {names}"),
        )
        .also(&first.at, "this tenant has no value for it")
        .help(format!("add `{set}` to the tenant{s}, or to [defaults]"));
}

/// Reports variables that nothing uses.
fn check_unused(manifest: &Manifest, uses: &[Use<'_>], problems: &mut Problems) {
    let used: BTreeSet<&str> = uses.iter().map(|one| one.name).collect();
    for (name, value) in all(manifest).flatten() {
        if used.contains(name.as_str()) {
            continue;
        }
        let help = match closest(name, used.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write `{{vars.{name}}}` where it is to be used, or remove it"),
        };
        problems
            .report(&value.span(), format!("nothing uses the variable `{name}`"))
            .help(help);
    }
}
