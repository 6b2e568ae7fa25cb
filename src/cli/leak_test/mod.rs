//! `leak-test`: enters a tenant with exactly the rights of its program, tries one by one what would hurt a
//! neighbour, the supervisor or the host, and says what closes each way.
//!
//! An attempt concerns only objects that the command has placed for it, in the tenants' datastores and on the
//! host, and processes of its own: in a neighbour one that has entered it, and for the supervisor one of root
//! that is in no domain, as it is.
//!
//! | module | its one job |
//! |---|---|
//! | `way` | what a way is, the guards that can close it, and what follows from a result |
//! | `ways` | the list of all ways |
//! | `place` | the objects on which they are tried |
//! | `visit` | the processes that enter tenants |
//! | `show` | the output |

mod aim;
mod place;
mod show;
mod visit;
mod way;
mod ways;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, bail};

use self::aim::{Aim, Placed};
use self::place::Places;
use self::show::Report;
pub use self::visit::asked;
use self::visit::{Holder, Inside};
use self::way::{Against, Facts, Judged, Way};
use super::args::LeakTest;
use super::{End, applied, plan, starting};
use tenantd_api::client::Connection;
use tenantd_api::client::app::Selector;
use tenantd_api::wire::ExecTarget;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::{DatastorePlan, Mode, Plan, Seed, TenantPlan};
use tenantd_host::sealed::SealedCopy;

/// Where the objects on the host are placed: tenants see it, unless the manifest hides it.
const ON_HOST: &str = "/var/lib";

/// Where an open socket is placed that tenants must not see.
const RUNTIME: &str = "/run";

/// Tries all ways, and prints what they are found to be.
pub(super) fn leak_test(selector: &Selector, what: &LeakTest) -> anyhow::Result<End> {
    if !rustix::process::geteuid().is_root() {
        bail!("`leak-test` enters a tenant, which needs root: try again with sudo");
    }
    let app = starting::find(selector)?;
    let (manifest, tenants) = applied::running(&app, &[])?;
    let running = tenants.into_iter().map(|it| it.name).collect();
    let (plan, _) = plan::read(&manifest)?;
    let (tenant, neighbours) = chosen(&app, running, what)?;
    let mut report = Report::new(app.clone(), tenant.clone());
    let test = Test::begin(app, &plan, &tenant)?;
    let tried = test.all(&neighbours, &mut report);
    test.end()?;
    tried?;
    match what.json {
        true => report.json()?,
        false => report.text(&plan)?,
    }
    match report.is_good() {
        true => Ok(End::Done),
        false => Ok(End::NotAsWanted),
    }
}

/// The tenant whose rights are tried, and its neighbours: the named one, or all that run; without names the
/// first two that run.
fn chosen(
    app: &AppName,
    running: Vec<TenantName>,
    what: &LeakTest,
) -> anyhow::Result<(TenantName, Vec<TenantName>)> {
    for named in what.tenant.iter().chain(&what.neighbour) {
        if !running.contains(named) {
            bail!("{named} does not run: start it, see `tenantd status --app {app}`");
        }
    }
    let tenant = what.tenant.as_ref().or(running.first());
    let Some(tenant) = tenant.cloned() else {
        bail!("no tenant of {app} runs: start one, see `tenantd status --app {app}`");
    };
    if what.neighbour.as_ref() == Some(&tenant) {
        bail!("{tenant} is no neighbour of itself: name another tenant");
    }
    let mut others: Vec<TenantName> = match &what.neighbour {
        Some(named) => vec![named.clone()],
        None => running.into_iter().filter(|it| *it != tenant).collect(),
    };
    if what.tenant.is_none() {
        others.truncate(1);
    }
    Ok((tenant, others))
}

/// A test under way.
struct Test<'p> {
    app: AppName,
    plan: &'p Plan,
    tenant: &'p TenantPlan,
    inside: Inside,
    own: Holder,
    host: Holder,
    program: Rc<SealedCopy>,
    ways: Vec<Way>,
}

impl<'p> Test<'p> {
    fn begin(app: AppName, plan: &'p Plan, name: &TenantName) -> anyhow::Result<Self> {
        let tenant = planned(plan, name)?;
        let program = SealedCopy::make().context("cannot copy the program for the tenants")?;
        let program = Rc::new(program);
        let mut on_host = places(0, Path::new(ON_HOST), Path::new(ON_HOST));
        on_host.open = true;
        on_host.runtime = Some(Path::new(RUNTIME).join(&on_host.id));
        let host = visit::place_on_host(on_host)?;
        let begun = Self::enter(&app, tenant, (1, &program), &host);
        let (inside, own) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                host.end()?;
                return Err(error);
            }
        };
        Ok(Self {
            app,
            plan,
            tenant,
            inside,
            own,
            host,
            program,
            ways: ways::all(),
        })
    }

    /// Enters a tenant, and places objects in it.
    fn enter(
        app: &AppName,
        tenant: &TenantPlan,
        (number, program): (i32, &Rc<SealedCopy>),
        host: &Holder,
    ) -> anyhow::Result<(Inside, Holder)> {
        let target = enter(app, &tenant.name)?;
        let inside = Inside::new(&tenant.name, target, &tenant.launch, program)?;
        let placed = store(&tenant.datastore).and_then(|(within, on_host)| {
            let mut places = places(number, within, &on_host);
            places.link = Some(host.placed.proc("root"));
            inside.place(places)
        });
        match placed.with_context(|| tenant.name.to_string()) {
            Ok(holder) => Ok((inside, holder)),
            Err(error) => {
                inside.end()?;
                Err(error)
            }
        }
    }

    fn all(&self, neighbours: &[TenantName], report: &mut Report) -> anyhow::Result<()> {
        for name in neighbours {
            let neighbour = planned(self.plan, name)?;
            let (inside, mut holder) =
                Self::enter(&self.app, neighbour, (2, &self.program), &self.host)?;
            holder.placed.addresses = neighbour.link.addresses.iter().collect();
            let tried = self.against(Against::Neighbour, Some(neighbour), &holder.placed);
            let ended = [holder.end(), inside.end()];
            ended.into_iter().collect::<anyhow::Result<()>>()?;
            report.add(Some(name.clone()), tried?);
        }
        for against in [Against::Supervisor, Against::Host] {
            report.add(None, self.against(against, None, &self.host.placed)?);
        }
        Ok(())
    }

    /// Tries all ways against one.
    fn against(
        &self,
        against: Against,
        neighbour: Option<&TenantPlan>,
        to: &Placed,
    ) -> anyhow::Result<Vec<Judged>> {
        let facts = Facts::new(self.plan, self.tenant, neighbour);
        let network = &self.plan.network;
        let aim = Aim {
            own: self.own.placed.clone(),
            to: to.clone(),
            app: self.app.to_string(),
            gateway: (!matches!(network.mode, Mode::Macvlan | Mode::Port))
                .then_some(network.gateway),
        };
        let ways = self.ways.iter().enumerate();
        let is_due = |way: &Way| aim.gateway.is_some() || !way.needs_gateway;
        let ways = ways.filter(|(_, way)| way.against == against && is_due(way));
        let judged = ways.map(|(place, way)| {
            let link = || self.own.placed.folder.join(Placed::LINK);
            let folder = way.enters.then(link);
            let attempted = self.inside.attempt(place, &aim, folder)?;
            Ok(facts.judge(way, attempted))
        });
        judged.collect()
    }

    fn end(self) -> anyhow::Result<()> {
        let Self {
            inside, own, host, ..
        } = self;
        let ended = [own.end(), host.end(), inside.end()];
        ended.into_iter().collect()
    }
}

fn planned<'p>(plan: &'p Plan, name: &TenantName) -> anyhow::Result<&'p TenantPlan> {
    let mut tenants = plan.tenants.iter();
    let found = tenants.find(|tenant| tenant.name == *name);
    found.with_context(|| {
        format!("{name} is not in the manifest any more: try again after `tenantd reload`")
    })
}

fn enter(app: &AppName, tenant: &TenantName) -> anyhow::Result<ExecTarget> {
    super::converse(async { Ok(Connection::open(app).await?.enter(tenant).await?) })
}

/// A folder of a datastore that a tenant can write to: as the tenant sees it, and as the host does.
fn store(datastore: &DatastorePlan) -> anyhow::Result<(&Path, PathBuf)> {
    let is_overlay = |target: &&Path| {
        let mut folders = datastore.folders.iter();
        folders.any(|it| it.target == **target && it.seed == Seed::Overlay)
    };
    let target = datastore.targets().find(|target| !is_overlay(target));
    let target = target.context("it has no folder in which objects can be placed")?;
    let on_host = datastore.place_of(target);
    Ok((
        target,
        on_host.context("its folder is not in its datastore")?,
    ))
}

/// Names and keys that no other test has at the same time.
fn places(number: i32, within: &Path, on_host: &Path) -> Places {
    let pid = std::process::id();
    let id = format!(".tenantd-leak-test-{pid}-{number}");
    Places {
        key: (i32::try_from(pid).unwrap_or_default() & 0x003f_ffff) << 8 | number,
        within: within.to_owned(),
        on_host: on_host.join(&id),
        id,
        runtime: None,
        open: false,
        link: None,
    }
}
