//! Builds a plan from its parts.

mod last;
mod people;
mod phases;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use people::each_person;

use super::datastore::{self, Source};
use super::facts::HostFacts;
use super::files::Contents;
use super::folders::{self, Folders};
use super::identity::{People, Person};
use super::idmap::Owner;
use super::model::{
    DatastorePlan, FolderPlan, HostAccess, Identity, LaunchPlan, LinkPlan, LogFiles, Mode,
    NetworkPlan, Plan, Policy, TenantPlan, ViewPlan,
};
use super::names;
use super::network::Given;
use super::notify::{NOTIFY_SOCKET, WATCHDOG_USEC};
use super::paths::{self, AppPaths};
use super::{
    control, derive, files, limits, logs, network, policy, process, rate, secrets, traffic, vars,
    view, wall,
};
use crate::layout;
use crate::manifest::engine::Engine;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Manifest, Tenant};
use crate::manifest::template::{Slot, Template};
use crate::manifest::text::Environment;
use crate::name::AppName;
use last::Last;

/// The `PATH` of all tenants, independent of the environment of tenantd.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds the plan. Returns `None` if a problem has been reported.
pub(super) fn plan(
    (manifest, given): (&Manifest, Given),
    folder: &str,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<Plan> {
    let app_paths = paths::app_paths(manifest, folder, host, problems);
    let network = network::network(manifest, host, problems);
    let control = control::control(manifest, host, problems);
    let policy = policy::policy(manifest, problems);
    let stores = datastore::stores(manifest, &app_paths, folder, problems);
    let folders = Folders {
        manifest,
        folder,
        app_paths: &app_paths,
        sources: &stores.sources,
    };
    let folders = folders.plan(host, problems);
    folders::check_placeholder(manifest, problems);
    let app = manifest.app.name.as_ref().map(Spanned::get_ref);
    let socket = app.map(layout::notify_socket);
    let notifies = policy.as_ref().is_some_and(Policy::notifies);
    if view::access(manifest) == HostAccess::Writable {
        paths::check_notify(&app_paths, socket.as_deref().filter(|_| notifies), problems);
    }
    limits::check(manifest, host, problems);
    let logs = logs::files(&app_paths, problems);
    let mut people = People::new(host);
    let phases = phases::read(manifest, folder, host, &mut people, problems);
    let target = target(manifest, &app_paths);
    let people = each_person(manifest, target.as_ref(), &mut people, problems);
    let files = files::read(manifest, &app_paths, folder, host, problems);
    vars::check(manifest, &files, folders::is_damaged(problems), problems);
    let parts = Parts {
        manifest,
        folder,
        target: target?,
        folders: folders?,
        program: app_paths.program.as_ref()?.get_ref(),
        working_directory: app_paths.working_directory.as_ref()?.get_ref(),
        pid_file: app_paths.pid_file(),
        phases: phases?,
        view: view::view(manifest, &app_paths, problems).into(),
        private: private(&app_paths),
        hidden: stores.hidden.into(),
        logs: logs.into(),
        files,
        app: app?,
        network: network.as_ref()?,
        policy: policy.as_ref()?,
        socket: socket?,
        lacking: RefCell::default(),
    };
    let tenants = parts.tenants(people, &stores.sources);
    network::lacking(parts.manifest, &parts.lacking.borrow(), problems);
    Some(Plan {
        app: parts.app.clone(),
        tenants: wall::checked(&manifest.app.wall, tenants?, problems),
        network: network?,
        control: control?,
        given,
    })
}

/// The path that the program expects. Returns `None` if it is not valid, which has been reported.
fn target(manifest: &Manifest, app_paths: &AppPaths) -> Option<Option<Arc<Path>>> {
    let target = app_paths.target.as_ref();
    let target = target.map(|path| path.get_ref().as_path().into());
    (target.is_some() || !manifest.app.datastore.path.is_set).then_some(target)
}

fn private(app_paths: &AppPaths) -> Arc<[PathBuf]> {
    let all = app_paths.private.iter().map(|path| path.get_ref().clone());
    paths::outermost(all.collect()).into()
}

/// The parts that all tenants of a plan share.
struct Parts<'a> {
    manifest: &'a Manifest,
    folder: &'a str,
    target: Option<Arc<Path>>,
    folders: Arc<[FolderPlan]>,
    program: &'a Path,
    working_directory: &'a Path,
    pid_file: Option<&'a Path>,
    phases: phases::Phases<'a>,
    view: Arc<ViewPlan>,
    private: Arc<[PathBuf]>,
    hidden: Arc<[PathBuf]>,
    logs: Arc<[LogFiles]>,
    files: Vec<Option<Contents>>,
    app: &'a AppName,
    network: &'a NetworkPlan,
    policy: &'a Policy,
    socket: PathBuf,
    /// Tenants that lack an IPv6 address for a placeholder.
    lacking: RefCell<Vec<(Span, Slot)>>,
}

impl Parts<'_> {
    fn tenants(
        &self,
        people: Vec<Option<(Person, Owner)>>,
        sources: &[Option<Source>],
    ) -> Option<Vec<TenantPlan>> {
        let mut last = Last::default();
        let each = self.manifest.tenants.iter().zip(people).zip(sources);
        each.map(|((tenant, person), source)| {
            self.tenant(tenant, person?, source.as_ref()?, &mut last)
        })
        .collect()
    }

    fn tenant(
        &self,
        tenant: &Tenant,
        (person, owner): (Person, Owner),
        source: &Source,
        last: &mut Last,
    ) -> Option<TenantPlan> {
        let name = tenant.name.clone()?;
        let hash = derive::tenant_hash(self.app, &name);
        let (defaults, datastore) = (&self.manifest.defaults, &self.manifest.app.datastore);
        let (own, of_all) = (&tenant.overrides, defaults);
        let autostart = own.autostart.as_ref().or(of_all.autostart.as_ref())?;
        let engine = own.engine.as_ref().or(of_all.engine.as_ref())?;
        let engine = *engine.get_ref();
        let storage = own.storage.as_ref().or(of_all.storage.as_ref())?;
        Some(TenantPlan {
            link: LinkPlan {
                addresses: network::addresses(tenant)?,
                prefix: match self.network.mode {
                    Mode::Routed => 32,
                    Mode::Bridge | Mode::Macvlan | Mode::Port => self.network.subnet.prefix(),
                },
                parent: self.network.parent.clone(),
                host: match self.network.mode {
                    Mode::Routed | Mode::Bridge => derive::host_end(hash),
                    Mode::Macvlan => derive::marker_end(hash),
                    Mode::Port => derive::port_end(hash),
                },
                tenant: network::macs::tenant_end(tenant, hash),
                mark: derive::link_mark(self.app, &name),
                sysctls: last.sysctls.keep(network::sysctls(self.manifest, tenant)),
                traffic: last.traffic.keep(traffic::of(self.manifest, tenant)),
                rate: rate::of(self.manifest, tenant),
                names: last
                    .names
                    .keep(names::of(self.manifest, tenant, self.network)),
            },
            datastore: DatastorePlan {
                source: source.path.clone(),
                root: last.root(&source.root),
                target: self.target.clone(),
                folders: people::folders(&self.folders, &person.identity, &owner),
                uid: owner.uid,
                gid: owner.gid,
                map: owner.map,
                mode: datastore.mode.as_ref()?.get_ref().0,
                must_exist: *datastore.must_exist.as_ref()?.get_ref(),
                mounted: *datastore.mounted.as_ref()?.get_ref(),
            },
            vars: last.vars.keep(self.vars(tenant, &person.identity)?),
            launch: self.launch(tenant, person, last)?,
            logs: Arc::clone(&self.logs),
            log_rate: logs::rate(self.manifest),
            policy: last.policy.keep(Policy {
                autostart: *autostart.get_ref() && engine == Engine::Tenantd,
                engine,
                storage: *storage.get_ref(),
                phases: self.phases.policies(),
                pid_file: self.pid_file.map(Path::to_path_buf),
                ..self.policy.clone()
            }),
            name,
        })
    }

    fn launch(&self, tenant: &Tenant, person: Person, last: &mut Last) -> Option<Arc<LaunchPlan>> {
        let identity = &person.identity;
        let command = self.manifest.app.command.as_ref()?.get_ref();
        let own = tenant.overrides.arguments.as_ref();
        let more = own.or(self.manifest.defaults.arguments.as_ref())?;
        let mut argv = vec![self.program.display().to_string()];
        for text in command.arguments.iter().chain(more.get_ref()) {
            argv.push(self.fill(text.get_ref(), tenant, identity)?);
        }
        let environment = last
            .environment
            .keep(self.environment(tenant, &person, identity)?);
        let commands = self.commands(tenant, &person)?;
        let commands = last.commands.keep(commands);
        let files = files::plan(&self.files, |text| self.fill(text, tenant, identity))?;
        let files = people::files(files, identity);
        Some(last.launch.keep(LaunchPlan {
            program: self.program.to_path_buf(),
            argv,
            environment,
            secrets: last.secrets.keep(self.secrets(tenant, identity)?),
            working_directory: self.working_directory.to_path_buf(),
            identity: last.identity.keep(person.identity),
            view: Arc::clone(&self.view),
            private: Arc::clone(&self.private),
            hidden: Arc::clone(&self.hidden),
            files: last.files.keep(files),
            limits: limits::of(self.manifest, tenant),
            group: last.group.keep(limits::group(self.manifest, tenant)),
            process: process::of(self.manifest, tenant),
            wall: wall::of(&self.manifest.app.wall),
            commands,
            visits: last.visits.keep(self.policy.visits()),
        }))
    }

    /// The environment of a process that runs as `person`. Placeholders stand for the tenant's user.
    fn environment(
        &self,
        tenant: &Tenant,
        person: &Person,
        identity: &Identity,
    ) -> Option<BTreeMap<String, String>> {
        let user = &person.identity.user;
        let fixed = [
            ("PATH", PATH),
            ("HOME", &person.home),
            ("USER", user),
            ("LOGNAME", user),
        ];
        let mut whole: BTreeMap<String, String> = fixed
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let layers: [&Known<Environment>; 3] = [
            &self.manifest.app.environment,
            &self.manifest.defaults.environment,
            &tenant.overrides.environment,
        ];
        for (name, value) in layers.into_iter().flatten().flat_map(Spanned::get_ref) {
            whole.insert(name.clone(), self.fill(value, tenant, identity)?);
        }
        if self.policy.notifies() {
            let socket = self.socket.display().to_string();
            whole.insert(NOTIFY_SOCKET.to_owned(), socket);
        }
        if !self.secrets(tenant, identity)?.is_empty() {
            let folder = layout::credentials(self.app).display().to_string();
            whole.insert(secrets::CREDENTIALS_DIRECTORY.to_owned(), folder);
        }
        if let Some(time) = self.policy.watchdog {
            let time = time.as_micros().to_string();
            whole.insert(WATCHDOG_USEC.to_owned(), time);
        }
        Some(whole)
    }

    fn secrets(&self, tenant: &Tenant, identity: &Identity) -> Option<BTreeMap<String, PathBuf>> {
        secrets::of(self.manifest, tenant, self.folder, |text| {
            self.fill(text, tenant, identity)
        })
    }

    /// The variables of a tenant.
    fn vars(&self, tenant: &Tenant, identity: &Identity) -> Option<BTreeMap<String, String>> {
        let names = vars::names(self.manifest, tenant).into_iter();
        names
            .map(|name| {
                let template = vars::of(self.manifest, tenant, name)?;
                Some((name.to_owned(), self.fill(template, tenant, identity)?))
            })
            .collect()
    }

    fn fill(&self, template: &Template, tenant: &Tenant, identity: &Identity) -> Option<String> {
        let name = tenant.name.as_ref()?;
        let addresses = network::addresses(tenant)?;
        let ip = addresses.first();
        let ip6 = addresses.iter().find(IpAddr::is_ipv6);
        // It is reported.
        let of_ip6 = |slot: Slot, address: Option<IpAddr>| {
            if ip6.is_none() {
                self.lacking.borrow_mut().push((tenant.at.clone(), slot));
            }
            address.map_or_else(String::new, |address| address.to_string())
        };
        let slot = |slot| {
            Some(match slot {
                Slot::App => self.app.to_string(),
                Slot::ManifestDir => self.folder.to_owned(),
                Slot::Datastore => {
                    let target = self.target.as_ref();
                    target.map_or_else(String::new, |path| path.display().to_string())
                }
                Slot::Tenant => name.to_string(),
                Slot::Ip => ip.to_string(),
                Slot::Gateway => {
                    let gateway = self.network.gateway_of(ip);
                    gateway.map_or_else(String::new, |gateway| gateway.to_string())
                }
                Slot::Ip6 => of_ip6(slot, ip6),
                Slot::Gateway6 => of_ip6(slot, self.network.ipv6.map(|it| it.gateway.into())),
                Slot::User => identity.user.clone(),
                Slot::Uid => identity.uid.to_string(),
                Slot::Gid => identity.gid.to_string(),
            })
        };
        vars::fill(template, slot, |name| vars::of(self.manifest, tenant, name))
    }
}
