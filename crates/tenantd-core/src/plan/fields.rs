//! The one list of the fields of a plan, walked by all that compares or shows plans:
//! [`render`](super::render), [`diff`](super::diff) and [`fingerprints`](super::effect::fingerprints).
//!
//! A plan is taken apart here and nowhere else, without a rest pattern: a new field of the model
//! does not compile until it is listed, with what a change of it takes.
//!
//! # Fingerprints
//!
//! A launch is known after its supervisor's death by the fingerprints in its record, and the next
//! supervisor may be another version. So that no upgrade and no rollback relaunches a tenant:
//!
//! 1. A [`Key::First`] was in the fingerprints of commit 2157092. Its field contributes always; its
//!    key, the text of its value, what it takes and its place among the others never change.
//! 2. Every field that is added has a [`Key::Later`]. It contributes only where it is not at its
//!    default: it changes no fingerprint of a plan that does not use it. Its key and the text of its
//!    value never change either; its place does not matter. Nor does its default change where that
//!    takes more than a live change: nothing would tell the launches with the old one.
//!
//! Labels are for people and may change at any time. `tests/golden/fingerprints` holds us to this.

mod field;
mod words;

use std::path::Path;

use super::model::{
    DatastorePlan, Identity, LaunchPlan, Limits, LinkPlan, Measure, NetworkPlan, Policy,
    RestartPolicy, StopSignal, TenantPlan,
};
use super::policy;
use crate::name::AppName;
use field::{decides, limits_processes, relaunches, renews, touches_nothing};
use words::{Address, End, Groups, Span, yes};

pub use field::{Field, Key, See, Takes, Touches};

use Key::{First, Later};

/// The label of a tenant's addresses.
pub(super) const LABEL_ADDRESS: &str = "address";

/// The label of a tenant's datastore.
pub(super) const LABEL_DATASTORE: &str = "datastore";

/// The fields that all tenants share. No running supervisor can exchange them, so what a change of
/// them takes is never looked at, and they are in no fingerprint.
pub fn shared(app: &AppName, network: &NetworkPlan, see: See<'_>) {
    let NetworkPlan {
        mode,
        subnet,
        gateway,
        hub,
        mark,
        mtu,
    } = network;
    let mode = words::mode(*mode);
    see(renews(Later("name"), "name", app));
    see(renews(Later("mode"), "mode", &mode));
    see(renews(Later("subnet"), "subnet", subnet));
    see(renews(Later("gateway"), "gateway", gateway));
    see(renews(Later("hub"), "hub", &End(hub)));
    see(renews(Later("mark"), "mark", mark));
    see(renews(Later("mtu"), "mtu", mtu));
}

/// The fields of a tenant.
pub fn tenant(plan: &TenantPlan, see: See<'_>) {
    let TenantPlan {
        // By it two plans are those of the same tenant.
        name: _,
        link,
        datastore,
        launch,
        policy,
    } = plan;
    self::link(link, see);
    self::datastore(datastore, see);
    self::launch(launch, see);
    self::policy(policy, see);
}

fn link(link: &LinkPlan, see: See<'_>) {
    let LinkPlan {
        addresses,
        prefix,
        host,
        tenant,
        mark,
    } = link;
    let first = Address(addresses.first(), *prefix);
    see(renews(First("address"), LABEL_ADDRESS, &first));
    for (at, address) in addresses.others().iter().enumerate() {
        let (at, address) = (at + 2, Address(*address, *prefix));
        see(renews(Later("address"), LABEL_ADDRESS, &address).item(&at));
    }
    let (host, tenant) = (End(host), End(tenant));
    see(renews(First("host end"), "host end", &host));
    see(renews(First("tenant end"), "tenant end", &tenant));
    see(renews(First("mark"), "mark", mark));
}

fn datastore(datastore: &DatastorePlan, see: See<'_>) {
    let DatastorePlan {
        source,
        root,
        target,
        uid,
        gid,
        mode,
    } = datastore;
    let (source, root, target) = (source.display(), root.display(), target.display());
    let new = format_args!("owner {uid}:{gid}, mode {mode:04o}");
    // A release proves that nobody uses the one, and a provision makes the other.
    see(renews(First("datastore"), LABEL_DATASTORE, &source));
    see(relaunches(First("bound at"), "bound at", &target).nested());
    // These are of a datastore that is not there yet.
    see(touches_nothing(Later("made from"), "made from", &root).nested());
    see(touches_nothing(Later("if new"), "if new", &new).nested());
}

fn launch(launch: &LaunchPlan, see: See<'_>) {
    let LaunchPlan {
        program,
        argv,
        environment,
        working_directory,
        identity,
        private,
        hidden,
        limits,
    } = launch;
    let program = program.display();
    see(relaunches(First("program"), "program", &program));
    for (at, text) in argv.iter().enumerate() {
        let value = format_args!("{text:?}");
        see(relaunches(First("argument"), "argument", &value).item(&at));
    }
    for (name, value) in &**environment {
        let value = format_args!("{value:?}");
        see(relaunches(First("environment"), "environment", &value).item(name));
    }
    let at_default = working_directory == Path::new("/");
    let start = working_directory.display();
    see(relaunches(First("starts in"), "starts in", &start).default_is(at_default));
    self::identity(identity, see);
    for path in &**private {
        let path = path.display();
        see(relaunches(First("private"), "private", &"empty").item(&path));
    }
    for path in &**hidden {
        let path = path.display();
        let field = relaunches(First("hidden"), "hidden", &"covered").item(&path);
        // A folder that holds no datastore any more may stay covered until the next launch.
        see(field.leaving(Takes::Live(Touches::Nothing)));
    }
    self::limits(limits, see);
}

/// One that is not said is not listed: it is what the supervisor itself was started with.
fn limits(limits: &Limits, see: See<'_>) {
    let Limits {
        open_files,
        core,
        locked_memory,
    } = limits;
    for (key, limit, measure) in [
        ("open files", open_files, Measure::Number),
        ("core", core, Measure::Bytes),
        ("locked memory", locked_memory, Measure::Bytes),
    ] {
        if let Some(limit) = limit {
            see(limits_processes(Later(key), key, &limit.said(measure)));
        }
    }
}

fn identity(identity: &Identity, see: See<'_>) {
    let Identity {
        user,
        uid,
        gid,
        groups,
    } = identity;
    let at_default = user == "root";
    see(relaunches(First("user"), "user", user).default_is(at_default));
    // The pipes of its output, which a provision makes, are the user's.
    see(renews(First("user number"), "user number", uid).nested());
    see(relaunches(First("group"), "group", gid).nested());
    see(relaunches(First("groups"), "groups", &Groups(groups)).nested());
}

fn policy(policy: &Policy, see: See<'_>) {
    let Policy {
        autostart,
        stop_signal,
        grace,
        restart,
        ready,
        ready_within,
        daemonizes,
    } = policy;
    let StopSignal { number, name } = stop_signal;
    let stop = format_args!("{name} ({number})");
    let default = policy::default();
    // Whether it is wanted up is for operators to say while the supervisor runs.
    let same = *autostart == default.autostart;
    see(decides(
        Later("autostart"),
        "autostart",
        &yes(*autostart),
        same,
    ));
    let same = *daemonizes == default.daemonizes;
    see(decides(
        Later("daemonizes"),
        "daemonizes",
        &yes(*daemonizes),
        same,
    ));
    let same = *stop_signal == default.stop_signal;
    see(decides(Later("stop"), "stop", &stop, same));
    let same = *grace == default.grace;
    see(decides(Later("grace"), "grace", &Span(*grace), same).nested());
    self::restart(restart, &default.restart, see);
    // The launch that runs is measured by the old one to its end.
    let same = *ready == default.ready;
    see(decides(Later("ready"), "ready", &words::ready(ready), same));
    let same = *ready_within == default.ready_within;
    see(decides(
        Later("ready within"),
        "ready within",
        &Span(*ready_within),
        same,
    )
    .nested());
}

fn restart(restart: &RestartPolicy, default: &RestartPolicy, see: See<'_>) {
    let RestartPolicy {
        when,
        delay,
        delay_max,
        healthy_after,
        strikes,
        window,
    } = restart;
    let same = *when == default.when;
    see(decides(
        Later("restart"),
        "restart",
        &words::restart(*when),
        same,
    ));
    let same = *delay == default.delay;
    see(decides(Later("delay"), "delay", &Span(*delay), same).nested());
    let same = *delay_max == default.delay_max;
    see(decides(
        Later("longest delay"),
        "longest delay",
        &Span(*delay_max),
        same,
    )
    .nested());
    let same = *healthy_after == default.healthy_after;
    see(decides(
        Later("healthy after"),
        "healthy after",
        &Span(*healthy_after),
        same,
    )
    .nested());
    let same = (*strikes, *window) == (default.strikes, default.window);
    let held = format_args!("{strikes} strikes within {}", Span(*window));
    see(decides(Later("failed after"), "failed after", &held, same).nested());
}
